"""Answers of views, kept as Parquet, so that asking them costs milliseconds.

In: a warehouse. Out: ``_cache/<version of instances>-<key of sql/>/series.parquet`` and others, of
the entities and of what ``catalog.summaries`` sums. The views stay the definition: a kept answer is
used for exactly the version it was made from, is never needed, and may be deleted at any time. Made
after an ingest, never by a reader.

The answer of the version before is taken over for entities whose instances did not change, so that
a small ingest into a large warehouse costs a scan of one column and not of all.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

import duckdb

from warehouse.catalog.summaries import PARTS, READ, SUMMARIES, added, make_summaries, note_parts
from warehouse.errors import StoreDamaged, WriteFailed
from warehouse.sqlfiles import Model, by_name, read_models, sql_folder
from warehouse.store import delta, layout, logs
from warehouse.store.duck import copy_to, lent, literal, set_stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from warehouse.store.delta import Snapshot

WORTHWHILE = 5_000
"""Instances from which an ingest keeps the answers: below, the views answer as fast."""

WORTHWHILE_ROWS = 1_000_000
"""Rows of ``elements`` from which they are kept too: one object may have thousands of frames."""

SAME_ANSWERS = ("compact", "move", "relocate")
"""Operations that change no answer: rows in other parts, files at other paths, which no view that
is kept reads. Asking all views of a million instances again takes longer than moving them."""

_READ = ("elements", "files", "utc_offsets", "unread", "group_elements")
"""Views that these views read besides ``instances``, and not kept themselves.

What stands in them of an instance changes only with its row in ``instances``, whose version is
therefore enough of a key.
"""


@cache
def kept_models() -> tuple[Model, ...]:
    """Return the views whose answers are kept."""
    return tuple(model for model in read_models() if model.is_kept)


def _entities() -> Iterator[Model]:
    """Yield those with one row per ``grain``, a key of `instances`."""
    return (model for model in kept_models() if model.name not in SUMMARIES)


def kept_files(snapshot: Snapshot) -> dict[str, str] | None:
    """Return view → Parquet file of its answer for this version; None if there is none."""
    folder = _folder(snapshot)
    files = {model.name: folder / _name(model) for model in kept_models()}
    if not all(path.exists() for path in files.values()):
        return None
    return {name: str(path) for name, path in files.items()}


def keep_answers(root: Path) -> bool:
    """Keep the answers for the newest version; return whether there was anything to do.

    Raises
    ------
    NotAWarehouse, LayoutMismatch
    WriteFailed
        The answers could not be written; the views answer as before.
    """
    snapshot = delta.snapshot(root)
    target = _folder(snapshot)
    if target.exists():
        return False
    draft = layout.cache_folder(root) / f".{uuid.uuid4().hex}"
    try:
        draft.mkdir(parents=True)
        before = _before(snapshot)
        if before is not None and _has_same_answers(snapshot, before):
            shutil.copytree(before, draft, dirs_exist_ok=True)
            note_parts(snapshot, draft)
        else:
            _make(snapshot, before, draft)
            make_summaries(snapshot, before, draft)
        # In one step: a reader finds all of it or none. Another may have been faster.
        draft.rename(target)
    except OSError as error:
        if not target.exists():
            raise WriteFailed("kept answers", error) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return True


def keep_if_worthwhile(root: Path) -> None:
    """Keep the answers if the warehouse is so large that it pays."""
    if (
        delta.stored_rows(root, "instances") >= WORTHWHILE
        or delta.stored_rows(root, "elements") >= WORTHWHILE_ROWS
    ):
        keep_answers(root)


def _has_same_answers(snapshot: Snapshot, before: Path) -> bool:
    """Tell whether all that was done since the older answers leaves them as they are."""
    then = int(before.name.split("-", 1)[0])
    try:
        return all(
            logs.operation(snapshot.root, "instances", version) in SAME_ANSWERS
            for version in range(then + 1, snapshot.versions["instances"] + 1)
        )
    except (FileNotFoundError, StoreDamaged):
        return False


def _make(snapshot: Snapshot, before: Path | None, draft: Path) -> None:
    with lent() as connection:
        for model in read_models():
            if model.is_plain_macro:
                connection.execute(model.sql)
        set_stored(connection, _stored(snapshot))
        for name in ("instances", *_READ):
            connection.execute(by_name(name).sql)
        if before is None:
            for model in _entities():
                connection.execute(model.sql)
                copy_to(connection, f"from {model.name} order by all", draft, _name(model))
                _read_kept(connection, model, draft)
            return
        old = json.loads((before / "instances.json").read_text())
        changed = set(old) ^ set(snapshot.parts["instances"])
        paths = [str(layout.table_folder(snapshot.root, "instances") / part) for part in changed]
        connection.execute("set variable changed = $1", [paths or [snapshot.empty("instances")]])
        for model in _entities():
            _make_touched(connection, model, snapshot)
            connection.execute("set variable kept = $1", [str(before / _name(model))])
            (key,) = model.grain
            select = (
                f"from read_parquet(getvariable('kept')) anti join touched using ({key}) "
                f"union all from {model.name} order by all"
            )
            copy_to(connection, select, draft, _name(model))
            _read_kept(connection, model, draft)


def _stored(snapshot: Snapshot) -> dict[str, list[str]]:
    return {table: snapshot.paths(table) for table in ("elements", "files", "instances")}


def _make_touched(connection: duckdb.DuckDBPyConnection, model: Model, snapshot: Snapshot) -> None:
    """Make a view over the entities alone of which instances are in changed parts."""
    (key,) = model.grain
    connection.execute(
        f"create or replace temp table touched as "
        f"select distinct {key} from read_parquet(getvariable('changed'))"
    )
    # Of a large warehouse most parts hold none of them, and stay closed.
    connection.execute("set variable all_instances = $1", [snapshot.paths("instances")])
    found = connection.execute(
        f"select distinct filename from read_parquet(getvariable('all_instances'), "
        f"filename = true) semi join touched using ({key})"
    ).fetchall()
    paths = [path for (path,) in found] or [snapshot.empty("instances")]
    set_stored(connection, _stored(snapshot) | {"instances": paths})
    instances = by_name("instances").query
    connection.execute(
        f"create or replace view instances as from ({instances}) where {key} in (from touched)"
    )
    if key == "instance_id":
        # Row groups of other instances are not read.
        first, last = connection.execute(
            "select min(instance_id), max(instance_id) from touched"
        ).fetchall()[0]
        for name in ("elements", "files"):
            connection.execute(
                f"create or replace view {name} as from ({by_name(name).query}) "
                f"where instance_id between {first or 0} and {last or 0}"
            )
    connection.execute(model.sql)


def _read_kept(connection: duckdb.DuckDBPyConnection, model: Model, draft: Path) -> None:
    """Let the views that read this one read its answer."""
    source = f"read_parquet({literal(str(draft / _name(model)))})"
    connection.execute(f"create or replace view {model.name} as from {source}")


def _before(snapshot: Snapshot) -> Path | None:
    """Return the newest older answer, if what went since can still be read."""
    suffix = _folder(snapshot).name.split("-", 1)[1]
    for folder in sorted(layout.cache_folder(snapshot.root).glob(f"*-{suffix}"), reverse=True):
        gone: list[Path] = []
        try:
            for name, table in PARTS.items():
                parts = set(json.loads((folder / name).read_text())) - set(snapshot.parts[table])
                gone += [layout.table_folder(snapshot.root, table) / part for part in parts]
        except (OSError, ValueError):
            continue
        answers = [folder / _name(model) for model in kept_models()]
        if all(path.exists() for path in (*answers, *gone)):
            return folder
    return None


def _folder(snapshot: Snapshot) -> Path:
    version = snapshot.versions["instances"]
    return layout.cache_folder(snapshot.root) / f"{version:012d}-{_key()}"


def _name(model: Model) -> str:
    return f"{model.name}.parquet"


@cache
def _key() -> str:
    """Return what changes when an answer may: the SQL behind it, and who computes it."""
    macros = [model.sql for model in read_models() if model.is_plain_macro]
    text = [duckdb.__version__, *(by_name(name).sql for name in ("instances", *_READ)), *macros]
    text += [model.sql for model in kept_models()]
    text += [*(by_name(name).sql for name in READ), *(added(name) for name in SUMMARIES)]
    # What is withheld as identifying.
    text += [metadata.version("pydicom"), by_name("is_identifying").sql]
    text += [(sql_folder() / "rules" / "deidentification.csv").read_text("utf-8")]
    return hashlib.sha256("\0".join(text).encode()).hexdigest()[:16]
