"""Detect a damaged store, and report the damage and its repair in one sentence.

In: the folder of a warehouse. Out: nothing, or ``StoreDamaged``. Cheap checks run whenever a
version is opened. They detect gaps and empty entries in the logs, counts of parts, rows and bytes
that differ from the committed ones, and parts that are missing, truncated or links. The content of
parts is read only after an engine has failed.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError

from warehouse.errors import QueryFailed, StoreDamaged, StoreUnreadable, WarehouseError
from warehouse.store import layout, tables
from warehouse.store.logs import totals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from warehouse.store.logs import Totals

_FAILURES: tuple[type[Exception], ...] = (
    duckdb.Error, pa.ArrowException, DeltaError, QueryFailed,
)  # fmt: skip

_OF_THE_CALLER = (
    duckdb.BinderException, duckdb.CatalogException, duckdb.ConversionException,
    duckdb.ParserException,
)  # fmt: skip

_Answer = TypeVar("_Answer")
_Asked = ParamSpec("_Asked")


def require_totals(
    root: Path, noted: Totals, parts: Mapping[str, Mapping[str, tuple[int, int]]]
) -> None:
    """Check that the logs list as many parts, rows and bytes as were committed.

    Raises
    ------
    StoreDamaged
    """
    for table, wanted in noted.items():
        if table in parts and totals(parts[table]) != wanted:
            found = totals(parts[table])
            raise StoreDamaged(
                root,
                f"the log {table}/_delta_log names {found[0]:,} parts with {found[1]:,} rows, and "
                f"{wanted[0]:,} with {wanted[1]:,} were committed",
            )


def require_parts(root: Path, table: str, parts: Mapping[str, tuple[int, int]]) -> None:
    """Check that the parts of a table are regular files of the committed size.

    Raises
    ------
    StoreDamaged, StoreUnreadable
    """
    folder = str(layout.table_folder(root, table))
    for below in {part.split("/", 1)[0] for part in parts}:
        if os.path.islink(f"{folder}/{below}"):
            raise StoreDamaged(root, f"{table}/{below} is a link, which a warehouse never creates")
    for part, (size, _) in parts.items():
        try:
            status = os.lstat(f"{folder}/{part}")
        except PermissionError as error:
            raise StoreUnreadable(root, f"{table}/{part}") from error
        except OSError as error:
            raise StoreDamaged(
                root, f"{table}/{part} cannot be opened ({error.strerror})"
            ) from error
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            raise _not_as_committed(root, f"{table}/{part}", status, size)
    empty = layout.empty_part(root, table)
    if not empty.is_file() or empty.is_symlink():
        raise StoreDamaged(
            root, f"{empty.relative_to(root)} is missing",
            "any ingest creates it again: dicom-warehouse ingest SOURCE -w DIR",
        )  # fmt: skip


def _not_as_committed(root: Path, part: str, status: os.stat_result, size: int) -> StoreDamaged:
    if not stat.S_ISREG(status.st_mode):
        return StoreDamaged(root, f"{part} is a link or not a regular file")
    return StoreDamaged(root, f"{part} has {status.st_size:,} bytes, {size:,} were committed")


def failures() -> tuple[type[Exception], ...]:
    """Return the exceptions that engines raise when they read the store."""
    # Not imported here: importing Polars takes longer than many queries.
    polars = sys.modules.get("polars.exceptions")
    return _FAILURES if polars is None else (*_FAILURES, polars.PolarsError)


@contextmanager
def failures_named(root: Path) -> Iterator[None]:
    """Replace an engine's error that a damaged part caused by ``StoreDamaged``."""
    try:
        yield
    except failures() as error:
        found = explained(root, error)
        if found is None:
            raise
        raise found from error
    except FileNotFoundError as error:
        gone = _gone(root)
        if gone is None or isinstance(error, WarehouseError):
            raise
        raise gone from error


def _gone(root: Path) -> StoreDamaged | None:
    """Return an error if the folder of an open warehouse no longer exists, else None."""
    if os.path.exists(root / layout.MARKER):
        return None
    return StoreDamaged(
        root, f"{layout.MARKER} is missing",
        "if the folder was moved, open it where it is now; else restore it from a backup",
    )  # fmt: skip


def names_failures(method: Callable[_Asked, _Answer]) -> Callable[_Asked, _Answer]:
    """Decorate a method of an object with a ``root``: run it inside ``failures_named``."""

    @functools.wraps(method)
    def call(*args: _Asked.args, **kwargs: _Asked.kwargs) -> _Answer:
        owner: Any = args[0]
        with failures_named(owner.root):
            return method(*args, **kwargs)

    return call


def explained(root: Path, error: BaseException) -> StoreDamaged | StoreUnreadable | None:
    """Return the damaged or unreadable part that made an engine fail; None if no part is damaged.

    This is slow: parts are read until one is unreadable.
    """
    if isinstance(error, QueryFailed):
        # Follow __context__ too, as ``raise ... from None`` hides the engine's error.
        error = error.__cause__ or error.__context__ or error
    if not isinstance(error, failures()) or isinstance(error, _OF_THE_CALLER):
        return None
    named = re.search(re.escape(str(root)) + r"/([^\"'\n]+?\.parquet)", str(error))
    if gone := _gone(root):
        return gone
    # A missing part was vacuumed while an old version was open; otherwise opening had failed.
    if named and (root / named[1]).exists() and not _is_readable(root / named[1]):
        return _unreadable(root, named[1])
    return next(
        (
            _unreadable(root, os.path.relpath(path, root))
            for path in _every_part(root)
            if not _is_readable(path)
        ),
        None,
    )


def _unreadable(root: Path, part: str) -> StoreDamaged | StoreUnreadable:
    if not os.access(root / part, os.R_OK):
        return StoreUnreadable(root, part)
    if part.startswith("_cache/"):
        return StoreDamaged(
            root, f"{part} cannot be read", f"delete {root}/_cache, whose content is made again"
        )
    return StoreDamaged(root, f"{part} cannot be read")


def _every_part(root: Path) -> Iterable[Path]:
    for table in (*reversed(tables.names()), "_cache", "cohorts/runs"):
        yield from sorted((root / table).glob("*/*.parquet"))


def _is_readable(path: Path) -> bool:
    """Read a whole part in small groups of rows; return whether that succeeds."""
    try:
        with pq.ParquetFile(path) as parquet:
            for _ in parquet.iter_batches(10_000):
                pass
    except (OSError, pa.ArrowException, ValueError):
        return False
    return True
