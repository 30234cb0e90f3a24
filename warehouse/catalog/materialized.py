"""Materialized views: their rows as Parquet in ``_cache``, so that queries take milliseconds.

In: a warehouse. Out: ``_cache/<version of instances>-<key of sql/>/series-….parquet`` and other
files, for the entities (``catalog.entities``) and the summaries (``catalog.summaries``). The views
remain the definition: materialized rows are valid only for the version they were computed from, are
optional, and may be deleted at any time. They are written after an ingest, never by a reader.

Rows that did not change are reused from an older version (``catalog.pieces``), so the cost of an
ingest depends only on the data it adds.
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
"""Number of instances above which an ingest materializes the views; below, they are as fast."""

WORTHWHILE_ROWS = 1_000_000
"""Rows of ``elements`` above which views are materialized, too: an object may have many frames."""

SAME_ANSWERS = ("compact", "move", "relocate")
"""Operations that change no materialized row: they move rows to other parts or change file paths,
which no materialized view reads. Computing all views of a million instances again would take longer
than such an operation."""

_FORMAT = "pieces 1"
"""Format of a cache folder; folders in another format are not read."""


def materialized_files(snapshot: Snapshot) -> dict[str, list[str]] | None:
    """Return view → Parquet files of its rows at this version; None if not materialized."""
    folder = _folder(snapshot)
    pieces = read_pieces(folder)
    if pieces is None or pieces.keys() != {model.name for model in materialized_views()}:
        return None
    return {name: paths(folder, some) for name, some in pieces.items()}


def cached_spans(snapshot: Snapshot) -> dict[str, Spans]:
    """Return table → instance id ranges of its parts; empty if they are not cached."""
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
        A part that the views read is missing.
    WriteFailed
        The rows could not be written; the views still work without them.
    """
    # Only a few of many parts are read; opening a catalog checks that all parts exist.
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

    Folders of newer versions, which a faster process may have written, are ignored: the log tells
    only what changed between a version and an older one.
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
    """Return a digest of everything the rows depend on: the SQL and the versions of the engines."""
    macros = [model.sql for model in read_models() if model.is_plain_macro]
    text = [_FORMAT, duckdb.__version__, *macros]
    text += [by_name(name).sql for name in ("instances", *READ_OF_ENTITIES)]
    text += [model.sql for model in materialized_views()]
    text += [*(by_name(name).sql for name in READ), *(added(name) for name in SUMMARIES)]
    # The definition of identifying elements, whose values are withheld.
    text += [metadata.version("pydicom"), by_name("is_identifying").sql]
    text += [(sql_folder() / "rules" / "deidentification.csv").read_text("utf-8")]
    return hashlib.sha256("\0".join(text).encode()).hexdigest()[:16]
