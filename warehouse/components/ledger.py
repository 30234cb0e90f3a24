"""Append rows of components, and store the files of values by digest.

In: rows computed under the writer lock from the version they are added to. Out: one commit. Files
of values are ``values/ab/abcd…``, named by their SHA-256. A file is copied before it is validated,
so that the validated content is stored, and is flushed to disk before a version references it.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from contextlib import contextmanager
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa

from warehouse.errors import StoreDamaged, ValueRefused, WriteFailed
from warehouse.store import delta, layout, locks
from warehouse.store.delta import Change, Snapshot
from warehouse.store.duck import lent
from warehouse.store.making import reach_disk
from warehouse.store.stage import write_small
from warehouse.store.tables import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from warehouse.store.layout import Part

TABLES = (
    "socket_versions", "socket_values", "value_uses", "annotations", "value_set_entries",
    "algorithm_interfaces",
)  # fmt: skip
"""Stored tables of components."""

_BLOCK = 1 << 20

Rows = list[dict[str, Any]]


@contextmanager
def connected(
    root: Path, snapshot: Snapshot | None = None, tables: Sequence[str] = TABLES
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection with stored tables, by default those of components, of one version."""
    version = snapshot or delta.snapshot(root)
    with lent({table: version.paths(table) for table in tables}) as connection:
        yield connection


def dictionaries(connection: duckdb.DuckDBPyConnection, query: str, *parameters: Any) -> Rows:
    """Return the rows of a query as dictionaries."""
    rows: Rows = connection.sql(query, params=list(parameters)).to_arrow_table().to_pylist()
    return rows


def all_rows(root: Path, snapshot: Snapshot | None, table: str, order: str) -> Rows:
    """Return all rows of a small stored table as dictionaries, sorted.

    Results are cached by the paths of the parts, which are never changed: each change looks up
    sockets and algorithms several times.
    """
    version = snapshot or delta.snapshot(root)
    query = f"select * exclude batch from {table} order by {order}"
    return [dict(row) for row in _cached_rows(table, query, tuple(version.paths(table)))]


@lru_cache(maxsize=64)
def _cached_rows(table: str, query: str, parts: tuple[str, ...]) -> Rows:
    with lent({table: parts}) as connection:
        return dictionaries(connection, query)


def add_rows(
    root: Path, make: Callable[[Snapshot], Mapping[str, Rows | pa.Table]], operation: str,
    staged: Callable[[], Mapping[str, Sequence[Part]]] | None = None,
) -> None:  # fmt: skip
    """Append rows that are computed under the writer lock.

    Parameters
    ----------
    root
        Folder of the warehouse.
    make
        Returns the rows of each table, given the version that they are added to.
    operation
        Operation that the commit records.
    staged
        Returns the parts that are already written for the rows that ``make`` added; called after
        it. The caller has held ``locks.writing`` since they were written.

    Raises
    ------
    WriteFailed
        Nothing was added.
    """
    with locks.writing(root), locks.locked(root):
        base = delta.snapshot(root)
        tables = {name: _as_table(name, rows) for name, rows in make(base).items()}
        staged_parts = staged() if staged else {}
        changes = {name: Change(add=list(parts)) for name, parts in staged_parts.items() if parts}
        written: list[tuple[str, Part]] = []
        try:
            for name, table in tables.items():
                if table.num_rows:
                    order = [(column, "ascending") for column in named(name).order]
                    part = write_small(root, name, layout.OF_NO_BATCH, 0, table.sort_by(order))
                    written.append((name, part))
        except BaseException:
            drop_parts(root, written)
            raise
        for name, part in written:
            changes.setdefault(name, Change()).add.append(part)
        if changes:
            # From here on the parts may belong to a version, so they are never deleted.
            delta.commit(root, changes, base, operation)


def _as_table(name: str, rows: Rows | pa.Table) -> pa.Table:
    schema = named(name).schema
    return rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema)


def drop_parts(root: Path, parts: Sequence[tuple[str, Part]]) -> None:
    """Delete parts that no version references."""
    for table, part in parts:
        (layout.table_folder(root, table) / part.path).unlink(missing_ok=True)


# -- files of values ------------------------------------------------------------------------------


def values_folder(root: Path) -> Path:
    """Return the folder with the files of values."""
    return root / layout.VALUES


def value_file(root: Path, sha256: str) -> Path:
    """Return the path of the file with a digest.

    >>> from pathlib import Path
    >>> value_file(Path("w"), "abcd").as_posix()
    'w/values/ab/abcd'
    """
    return values_folder(root) / sha256[:2] / sha256


@contextmanager
def copied(root: Path, source: IO[bytes]) -> Iterator[tuple[Path, str, int]]:
    """Copy a stream to a draft in the warehouse; yield its path, digest and size.

    The draft is deleted when the context ends, unless ``store_file`` renamed it.

    Raises
    ------
    WriteFailed
    """
    draft = values_folder(root) / f".{uuid.uuid4().hex}"
    digest = hashlib.sha256()
    size = 0
    try:
        try:
            draft.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as target:
                for block in iter(lambda: source.read(_BLOCK), b""):
                    digest.update(block)
                    size += len(block)
                    target.write(block)
                target.flush()
                os.fsync(target.fileno())
        except OSError as error:
            raise WriteFailed("the file of a value", error) from error
        yield draft, digest.hexdigest(), size
    finally:
        draft.unlink(missing_ok=True)


def store_file(root: Path, draft: Path, sha256: str) -> None:
    """Rename a draft to its digest, replacing a file of that name.

    Raises
    ------
    WriteFailed
    """
    target = value_file(root, sha256)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.chmod(0o444)
        draft.replace(target)
        reach_disk([target])
    except OSError as error:
        raise WriteFailed("the file of a value", error) from error


def open_value(root: Path, sha256: str) -> Path:
    """Return the path of the file with a digest, which must exist.

    Raises
    ------
    StoreDamaged
    """
    path = value_file(root, sha256)
    if path.is_symlink() or not path.is_file():
        raise StoreDamaged(root, f"{path.relative_to(root)} is gone, or not a regular file")
    return path


def require_digest(path: Path, sha256: str) -> None:
    """Check the digest of a stored file.

    Raises
    ------
    ValueRefused
    """
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ValueRefused("its file has changed: the digest differs")
