"""Create a ``Header`` from a file, or from the rows of a stored instance.

In: a path, or a catalog and a UID. Out: ``Header``, with its elements in the order of the data set.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from warehouse.catalog.entities import ids_of_batch
from warehouse.catalog.few import is_noted, session_about, session_within
from warehouse.catalog.header import Header
from warehouse.catalog.header_element import HeaderElement, Stored
from warehouse.dicom.element import join_path, path_step
from warehouse.dicom.open import local_path
from warehouse.dicom.private_names import Dictionary, private_name
from warehouse.dicom.scan import SourceFile, path_text
from warehouse.elements.extract import extract
from warehouse.errors import InstanceNotFound, UsageError
from warehouse.inputs import require_names
from warehouse.store.layout import ID_BITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from warehouse.catalog.connect import Catalog
    from warehouse.catalog.spans import Span

PLACE = ("path", "tag", "keyword", "vr", "creator", "vm", "index")
COLUMNS = (*PLACE, *Stored._fields)

ONE_INSTANCE = (
    f"""select {", ".join(f'"{c}"' for c in COLUMNS)} from elements where instance_id = $1"""
)
_INSTANCE = "select instance_id, file_path, pixel_offset, pixel_length from instances where "
FIND_KEY = f"{_INSTANCE} instance_key = $1"
FIND_INSTANCE = f"{_INSTANCE} SOPInstanceUID = $1 or instance_key = $1 or file_path = $1 limit 1"
_LAST: WeakKeyDictionary[Catalog, Span] = WeakKeyDictionary()
"""Id range of the batch of the last header that a search of all instances found."""
LONG_VALUES = "select sha256, bytes from blobs where list_contains($1, sha256)"


def header_of_file(path: str | os.PathLike[str], names: Dictionary | None = None) -> Header:
    """Read the header of any DICOM file.

    Parameters
    ----------
    path
        DICOM file.
    names
        Names of private elements, which override pydicom's.

    Raises
    ------
    UsageError
        The file is damaged or not DICOM.
    """
    path = os.fspath(path)
    if not os.path.isfile(local_path(path)):
        what = "is a folder; name a file in it" if os.path.isdir(path) else "no such file"
        raise UsageError(f"{path}: {what}")
    status = os.stat(local_path(path))
    source = SourceFile(
        path_text(os.path.abspath(path)), status.st_size, status.st_mtime_ns // 1000
    )
    portions = list(extract([source], 0, 1 << 30))
    why = portions[-1].outcomes[-1]
    if why.instance_id is None:
        raise UsageError(f"{path}: {why.reason}")
    columns = ["time_us" if name == "time" else name for name in COLUMNS]
    rows = [row for portion in portions for row in portion.rows.select(columns).to_pylist()]
    for row in rows:
        row["time"] = _time_of_day(row.pop("time_us"))
    long = {
        blob["sha256"]: blob["bytes"] for portion in portions for blob in portion.blobs.to_pylist()
    }
    place = (why.pixels.offset, why.pixels.length) if why.pixels else None
    return _header(rows, long, names, _uri(source.path, place))


def header_of_instance(catalog: Catalog, uid: str) -> Header:
    """Return the header of a stored instance, with the elements that its import mode stored.

    Parameters
    ----------
    catalog
        Open catalog.
    uid
        SOPInstanceUID, ``instance_key`` or path of the file.

    Raises
    ------
    InstanceNotFound
    """
    require_names(uid)
    # Usually it is the key; also matching UIDs and paths reads three columns of all instances.
    named = path_text(uid)
    found = _with_key(catalog, named) if "/" not in named else []
    return _stored(
        catalog, named, found or catalog.connection.execute(FIND_INSTANCE, [named]).fetchall()
    )


def header_of_key(catalog: Catalog, key: str) -> Header:
    """Return the header of a stored instance by its ``instance_key``, usually its SOPInstanceUID.

    Raises
    ------
    InstanceNotFound
    """
    return _stored(catalog, key, _with_key(catalog, key))


def _with_key(catalog: Catalog, key: str) -> list[Any]:
    """Find the instance with a key, first in the batch of the previously found one.

    Keys are unique, so a match in that batch is final. For the headers of a series, only the first
    search reads the keys of all instances.
    """
    last = _LAST.get(catalog)
    if last is not None:
        near = session_within(catalog, [last]).execute(FIND_KEY, [key]).fetchall()
        if near:
            return near
    found = catalog.connection.execute(FIND_KEY, [key]).fetchall()
    if found and is_noted(catalog):
        _LAST[catalog] = ids_of_batch(found[0][0] >> ID_BITS)
    return found


def _stored(catalog: Catalog, uid: str, found: list[Any]) -> Header:
    if not found:
        raise InstanceNotFound(uid)
    instance_id, path, *place = found[0]
    answer = session_about(catalog, [instance_id]).execute(ONE_INSTANCE, [instance_id]).fetchall()
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in answer]
    digests = [row["sha256"] for row in rows if row["sha256"] and row["bytes"] is None]
    long = dict(catalog.connection.execute(LONG_VALUES, [digests]).fetchall() if digests else [])
    return _header(rows, long, catalog.names, _uri(path, place if place[0] is not None else None))


def _uri(path: str, pixels: tuple[int, int] | list[int] | None) -> str:
    uri = "file://" + quote(path, safe="/!", errors="surrogateescape")
    return f"{uri}?offset={pixels[0]}&length={pixels[1]}" if pixels else uri


def _time_of_day(micros: int | None) -> dt.time | None:
    if micros is None:
        return None
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros)).time()


Tree = dict[str, dict[str, list[dict[str, Any]]]]


def _header(
    rows: list[dict[str, Any]], long: Mapping[str, bytes], names: Dictionary | None, uri: str
) -> Header:
    """Sort rows into the order of the data set and nest items in their sequences."""
    tree: Tree = {}
    for row in rows:
        if row["bytes"] is None:
            row["bytes"] = long.get(row["sha256"])
        tree.setdefault(row["path"], {}).setdefault(row["tag"], []).append(row)
    return Header(_elements(tree, "", names), uri)


def _elements(tree: Tree, path: str, names: Dictionary | None) -> tuple[HeaderElement, ...]:
    elements = []
    for tag, rows in sorted(tree.get(path, {}).items()):
        rows.sort(key=lambda row: row["index"])
        first = rows[0]
        count = (first["integer"] or 0) if first["vr"] == "SQ" else 0
        values = [Stored(*(row[name] for name in Stored._fields)) for row in rows]
        items = (
            _elements(tree, join_path(path, path_step(tag, item)), names) for item in range(count)
        )
        elements.append(HeaderElement(
            tag, first["keyword"], private_name(tag, first["creator"], names), first["vr"],
            first["vm"], first["creator"], tuple(values) if first["vm"] else (), tuple(items),
        ))  # fmt: skip
    return tuple(elements)
