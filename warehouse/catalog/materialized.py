"""Materialized views: their rows as Parquet in ``_cache``, so that queries take milliseconds.

In: a warehouse. Out: ``_cache/<version of instances>-<key of sql/>/series-….parquet`` and others,
of the entities (``catalog.entities``) and of what ``catalog.summaries`` sums. The views stay the
definition: a kept answer is used for exactly the version it was made from, is never needed, and
may be deleted at any time. Made after an ingest, never by a reader.

The answers of a version before are taken over for what did not change, by ``catalog.pieces``: so
the cost of an ingest depends on what it brings.
"""

from __future__ import annotations

import hashlib
import shutil
import uuid
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

import duckdb

from warehouse.catalog.entities import READ as READ_OF_ENTITIES
from warehouse.catalog.entities import make_entities, materialized_views
from warehouse.catalog.pieces import (
    Answers,
    link_all,
    note_answers,
    paths,
    read_answers,
    read_pieces,
)
from warehouse.catalog.spans import TABLES, drop_spans, read_spans, spans_of
from warehouse.catalog.summaries import READ, SUMMARIES, added, make_summaries
from warehouse.errors import StoreDamaged, WriteFailed
from warehouse.sqlfiles import by_name, read_models, sql_folder
from warehouse.store import delta, layout, logs

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.catalog.spans import Spans
    from warehouse.store.delta import Snapshot

WORTHWHILE = 5_000
"""Instances from which an ingest keeps the answers: below, the views answer as fast."""

WORTHWHILE_ROWS = 1_000_000
"""Rows of ``elements`` from which they are kept too: one object may have thousands of frames."""

SAME_ANSWERS = ("compact", "move", "relocate")
"""Operations that change no answer: rows in other parts, files at other paths, which no view that
is kept reads. Asking all views of a million instances again takes longer than moving them."""

_FORMAT = "pieces 1"
"""How answers lie in a folder: those in another way are not read."""


def materialized_files(snapshot: Snapshot) -> dict[str, list[str]] | None:
    """Return view → Parquet files of its rows at this version; None if it is not materialized."""
    folder = _folder(snapshot)
    pieces = read_pieces(folder)
    if pieces is None or pieces.keys() != {model.name for model in materialized_views()}:
        return None
    return {name: paths(folder, some) for name, some in pieces.items()}


def cached_spans(snapshot: Snapshot) -> dict[str, Spans]:
    """Return table → ranges of instance ids of its parts; empty if they are not cached."""
    try:
        return {table: read_spans(_folder(snapshot), table) for table in TABLES}
    except (OSError, ValueError, TypeError):
        return {}


def materialize(root: Path) -> bool:
    """Materialize the views of the newest version; return whether there was anything to do.

    Raises
    ------
    NotAWarehouse, LayoutMismatch
    StoreDamaged
        A part is gone that they are to be made of.
    WriteFailed
        The answers could not be written; the views answer as before.
    """
    # Few of ten thousand parts are read: that all exist is checked when a catalog is opened.
    snapshot = delta.snapshot(root, parts_are_here=False)
    target = _folder(snapshot)
    if target.exists():
        return False
    draft = layout.cache_folder(root) / f".{uuid.uuid4().hex}"
    try:
        draft.mkdir(parents=True)
        before = _before(snapshot)
        if before is None:
            delta.snapshot(root)
        note_answers(_make_answers(snapshot, before, draft))
        # Renamed in one step: readers see all or nothing. Another process may have been first.
        draft.rename(target)
    except OSError as error:
        if not target.exists():
            raise WriteFailed("kept answers", error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    # Keep two versions, as another process may still read the previous one.
    for folder in _older(snapshot)[1:]:
        if not drop_spans(folder):
            break
    return True


def _make_answers(snapshot: Snapshot, before: Answers | None, draft: Path) -> Answers:
    known = before.spans if before else {}
    spans = {table: spans_of(snapshot, table, known.get(table, {})) for table in TABLES}
    if before is not None and _has_same_answers(snapshot, before.folder):
        pieces = link_all(before.pieces, before.folder, draft)
    else:
        pieces = make_entities(snapshot, before, spans, draft)
        pieces |= make_summaries(snapshot, before, spans, draft)
    return Answers(draft, pieces, spans)


def materialize_if_worthwhile(root: Path) -> None:
    """Materialize the views if the warehouse is large enough."""
    if (
        delta.stored_rows(root, "instances") >= WORTHWHILE
        or delta.stored_rows(root, "elements") >= WORTHWHILE_ROWS
    ):
        materialize(root)


def _has_same_answers(snapshot: Snapshot, before: Path) -> bool:
    """Return whether no commit since the older materialization changes its rows."""
    then = int(before.name.split("-", 1)[0])
    try:
        return all(
            logs.operation(snapshot.root, "instances", version) in SAME_ANSWERS
            for version in range(then + 1, snapshot.versions["instances"] + 1)
        )
    except (FileNotFoundError, StoreDamaged):
        return False


def _before(snapshot: Snapshot) -> Answers | None:
    """Return the newest older materialization, if the parts removed since still exist."""
    names = {model.name for model in materialized_views()}
    for folder in _older(snapshot):
        answers = read_answers(folder)
        if answers is None or answers.pieces.keys() != names:
            continue
        gone = [
            layout.table_folder(snapshot.root, table) / part
            for table in ("instances", "elements")
            for part in answers.spans[table].keys() - set(snapshot.parts[table])
        ]
        if all(path.exists() for path in gone):
            return answers
    return None


def _older(snapshot: Snapshot) -> list[Path]:
    """Return the cache folders of older versions, the newest first.

    There may be newer ones, if another process was faster: what was done between a version and one
    before it is known from the log, and nothing else is.
    """
    target = _folder(snapshot)
    suffix = target.name.split("-", 1)[1]
    folders = layout.cache_folder(snapshot.root).glob(f"[0-9]*-{suffix}")
    return sorted((folder for folder in folders if folder.name < target.name), reverse=True)


def _folder(snapshot: Snapshot) -> Path:
    version = snapshot.versions["instances"]
    return layout.cache_folder(snapshot.root) / f"{version:012d}-{_key()}"


@cache
def _key() -> str:
    """Return a digest of everything that the rows depend on: SQL, and versions of the engines."""
    macros = [model.sql for model in read_models() if model.is_plain_macro]
    text = [_FORMAT, duckdb.__version__, *macros]
    text += [by_name(name).sql for name in ("instances", *READ_OF_ENTITIES)]
    text += [model.sql for model in materialized_views()]
    text += [*(by_name(name).sql for name in READ), *(added(name) for name in SUMMARIES)]
    # Files that are withheld as identifying.
    text += [metadata.version("pydicom"), by_name("is_identifying").sql]
    text += [(sql_folder() / "rules" / "deidentification.csv").read_text("utf-8")]
    return hashlib.sha256("\0".join(text).encode()).hexdigest()[:16]
