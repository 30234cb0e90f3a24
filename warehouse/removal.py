"""Remove files from the warehouse that no longer exist in the sources.

In: sources that were ingested. Out: ``RemovalReport``. An ingest adds and replaces files but never
removes any, because an unmounted disk looks like deleted files. Removal is this separate,
explicit operation.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from warehouse.dicom.objects import find_objects, is_object
from warehouse.dicom.open import local_path
from warehouse.dicom.scan import ARCHIVE_SEPARATOR, Unreadable, discover, path_text
from warehouse.dicom.source import holding_file
from warehouse.errors import SourceNotFound, SourcesVanished
from warehouse.read_batches import promote_duplicates
from warehouse.settings import IngestSettings
from warehouse.sqlfiles import statement
from warehouse.store import delta, locks
from warehouse.store.commit import commit_removal
from warehouse.store.duck import lent, view_files
from warehouse.store.marker import require

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import duckdb

    from warehouse.settings import S3Access

_ROWS = 10_000
"""Rows of ``files`` checked at a time."""

_KNOWN = pa.schema(
    [
        ("path", pa.string()),
        ("batch", pa.string()),
        ("size_bytes", pa.int64()),
        ("modified_at", pa.timestamp("us")),
    ]
)


@dataclass(frozen=True, slots=True)
class RemovalReport:
    """Number of vanished files, and what was removed with them."""

    known: int = 0
    """Known files below the sources."""
    vanished: int = 0
    """Known files that no longer exist."""
    removed: int = 0
    """Files marked as removed."""
    instances: int = 0
    """Instances that were stored from these files."""
    taken_over: int = 0
    """Instances that are now stored from a duplicate."""
    version: int = 0
    """Version of the warehouse afterwards."""
    is_done: bool = False
    """False if the files were only counted."""


def remove(
    root: str | os.PathLike[str],
    sources: Iterable[str | os.PathLike[str]],
    settings: IngestSettings | None = None,
    *,
    delete: bool = False,
    even_all: bool = False,
) -> RemovalReport:
    """Find known files that no longer exist; with ``delete`` mark them as removed.

    Their rows stay in ``files`` with the status ``removed``. The rows of their instances in all
    other tables are deleted, unless a duplicate of the instance exists; the duplicate is then read
    again and becomes the holder. A file that reappears is ingested like a new one. A file that
    cannot be checked, because of permissions or a failing disk, counts as existing. A rejected
    archive or folder that can be listed now counts as vanished, as its files have rows instead.

    Parameters
    ----------
    root
        Folder of the warehouse.
    sources
        Folders, archives, files or ``s3://bucket/prefix``; known files below them are checked.
    settings
        How to read duplicates that become holders; each is read in the same mode as before.
    delete
        Remove the files; otherwise they are only counted.
    even_all
        Remove them even if no file of a source is left.

    Returns
    -------
    RemovalReport

    Raises
    ------
    BucketUnreachable
        A bucket does not answer, so it is unknown whether its objects exist.
    SourceNotFound
        A source does not exist, and ``even_all`` is false.
    SourcesVanished
        No known file of a source is left, and ``even_all`` is false: it may not be mounted.
    NotAWarehouse, LayoutMismatch, WriteFailed
    """
    root = Path(os.path.abspath(root))
    require(root)
    settings = settings or IngestSettings(workers=1)
    places = [
        str(source) if is_object(source) else os.path.abspath(os.fspath(source))
        for source in sources
    ]
    if not even_all:
        for place in places:
            if not is_object(place) and not os.path.lexists(place):
                raise SourceNotFound(path_text(place))
    with lent() as connection:
        known = dict.fromkeys(places, 0)
        vanished = dict.fromkeys(places, 0)
        missed = [
            _missed(rows, known, vanished, settings.s3) for rows in _known_files(connection, root)
        ]
        for place, count in known.items():
            if count and count == vanished[place] and not even_all:
                raise SourcesVanished(path_text(place), count)
    gone = pa.concat_tables([_KNOWN.empty_table(), *missed])
    total, count = sum(known.values()), gone.num_rows
    if not delete or not count:
        return RemovalReport(total, count, version=delta.newest_files(root)[0], is_done=delete)
    with locks.writing(root):
        removed = commit_removal(root, gone)
    batches = promote_duplicates(root, settings)
    return RemovalReport(
        known=total,
        vanished=count,
        removed=removed.total(),
        instances=removed["ingested"],
        taken_over=_instances_of(root, batches),
        version=delta.newest_files(root)[0],
        is_done=True,
    )


def _known_files(connection: duckdb.DuckDBPyConnection, root: Path) -> Iterator[pa.Table]:
    view_files(connection, delta.newest_files(root)[1])
    # In Arrow, as Python has no dates before year 1 and after 9999, which a file may have.
    for rows in connection.sql(statement("known_files")).to_arrow_reader(_ROWS):
        yield pa.Table.from_batches([rows]).cast(_KNOWN)


def _missed(
    rows: pa.Table, known: dict[str, int], vanished: dict[str, int], s3: S3Access
) -> pa.Table:
    """Return the rows of files that have vanished; count known and vanished files per source."""
    missing = []
    members: dict[str, frozenset[str] | None] = {}
    paths = rows["path"].to_pylist()
    objects = [
        path for path in paths if is_object(path) and any(_is_beneath(path, p) for p in known)
    ]
    found = dict(zip(objects, find_objects(objects, s3) if objects else (), strict=True))
    for path in paths:
        local = path if is_object(path) else os.fsdecode(local_path(path))
        # The innermost source, so that a file counts once if sources overlap.
        place = max((p for p in known if _is_beneath(local, p)), key=len, default=None)
        if place is None:
            missing.append(False)
            continue
        is_missing = found[path] is None if path in found else not _is_there(path, members)
        known[place] += 1
        vanished[place] += is_missing
        missing.append(is_missing)
    return rows.filter(pa.array(missing, pa.bool_()))


def _is_beneath(path: str, place: str) -> bool:
    return path == place or path.startswith((place.rstrip("/") + "/", place + "!/"))


def _is_there(path: str, members: dict[str, frozenset[str] | None]) -> bool:
    """Return whether a file or archive member exists; True if that cannot be determined.

    The row of a folder or archive that could not be listed, and can be now, has vanished, and so
    has a file in whose place there is a folder.
    """
    holding = holding_file(path)
    if holding == path:
        try:
            os.lstat(local_path(path))
        except (FileNotFoundError, NotADirectoryError):
            return _is_in_unread_archive(path)
        except OSError:
            return True
        if os.path.isdir(local_path(path)):
            return not _is_listed(path)
        # The row of an archive itself states why none of its members could be listed.
        if not path.lower().endswith(".zip"):
            return True
    if holding not in members:
        # Rows are sorted by path, so the members of an archive are consecutive.
        members.clear()
        members[holding] = _members(holding)
    found = members[holding]
    return found is None or path in found


def _is_listed(folder: str) -> bool:
    """Return whether an ingest lists the files of a folder, and so has no row of the folder."""
    place = local_path(folder)
    try:
        with os.scandir(place):
            return not os.path.islink(place)
    except OSError:
        return False


def _is_in_unread_archive(path: str) -> bool:
    """Return whether a path may be a member of an archive that exists but cannot be reached."""
    end = -1
    while (end := path.find(ARCHIVE_SEPARATOR, end + 1)) > 0:
        try:
            status = os.lstat(local_path(path[:end]))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return True
        if not stat.S_ISDIR(status.st_mode):
            return True
    return False


def _members(archive: str) -> frozenset[str] | None:
    """Return the paths of all members of an archive; None if it cannot be read."""
    try:
        found = list(discover([os.fsdecode(local_path(archive))]))
    except FileNotFoundError:
        return frozenset()
    if any(isinstance(item, Unreadable) and item.path == archive for item in found):
        return None
    return frozenset(item.path for item in found)


def _instances_of(root: Path, batches: list[str]) -> int:
    """Return the number of instances stored from the files of these batches."""
    with lent() as connection:
        view_files(connection, delta.newest_files(root)[1])
        connection.execute("set variable batches = $1", [batches])
        count: int = connection.execute(statement("holders_of_batches")).fetchall()[0][0]
        return count
