"""One header, as people read it: from a file, or from the rows of a stored instance.

In: a path, or a catalog and a UID. Out: ``Entry``s in the order of the data set, each with its
depth, and their text. Rows of the long table are the only source, so what is printed is what is
stored.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom.datadict import private_dictionary_description

from warehouse.dicom.element import join_path
from warehouse.dicom.open import local_path
from warehouse.dicom.scan import SourceFile, path_text
from warehouse.elements.extract import extract
from warehouse.elements.values import person_name_text
from warehouse.errors import InstanceNotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.catalog.connect import Catalog

COLUMNS = (
    "path", "tag", "keyword", "vr", "creator", "vm", "index", "text", "integer", "real", "bytes",
    "length",
)  # fmt: skip

ONE_INSTANCE = f"select {', '.join(COLUMNS)} from elements where instance_id = $1"
FIND_INSTANCE = (
    "select instance_id from instances "
    "where SOPInstanceUID = $1 or instance_key = $1 or path = $1 limit 1"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One element of a header, or the head of a sequence item."""

    depth: int
    """Sequences above it."""
    tag: str
    """Eight hex digits; empty for the head of an item."""
    keyword: str
    """DICOM keyword, or the name from the private dictionary in brackets."""
    vr: str
    vm: int
    value: str
    is_private: bool
    """It, or the sequence around it, is of an odd group."""


def header_of_file(path: str) -> list[Entry]:
    """Read the header of a file that need not be in any warehouse.

    Raises
    ------
    UsageError
        The file is not DICOM, or broken.
    """
    status = os.stat(local_path(path))
    source = SourceFile(
        path_text(os.path.abspath(path)), status.st_size, status.st_mtime_ns // 1000
    )
    portions = list(extract([source], 0, 1 << 30))
    why = portions[-1].outcomes[-1]
    if why.instance_id is None:
        raise UsageError(f"{path}: {why.reason}")
    rows = [row for portion in portions for row in portion.rows.select(COLUMNS).to_pylist()]
    return _entries(rows)


def header_of_instance(catalog: Catalog, uid: str) -> list[Entry]:
    """Return the header of a stored instance; what its import mode left out is missing.

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
    found = catalog.connection.execute(FIND_INSTANCE, [uid]).fetchall()
    if not found:
        raise InstanceNotFound(uid)
    rows = catalog.connection.execute(ONE_INSTANCE, [found[0][0]]).fetchall()
    return _entries([dict(zip(COLUMNS, row, strict=True)) for row in rows])


def _entries(rows: list[dict[str, Any]]) -> list[Entry]:
    """Put rows back into the order of the data set: sequences before what is in them."""
    tree: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        tree.setdefault(row["path"], {}).setdefault(row["tag"], []).append(row)
    return list(_walk(tree, "", 0, inside_private=False))


def _walk(
    tree: dict[str, dict[str, list[dict[str, Any]]]], path: str, depth: int, *, inside_private: bool
) -> Iterator[Entry]:
    for tag, values in sorted(tree.get(path, {}).items()):
        values.sort(key=lambda row: row["index"])
        first = values[0]
        is_private = inside_private or int(tag[:4], 16) % 2 == 1
        items = first["integer"] or 0 if first["vr"] == "SQ" else 0
        if first["vr"] == "SQ" and first["length"] is None:
            value = f"{items} item{'' if items == 1 else 's'}"
        else:
            value = "\\".join(_text(row) for row in values)
        yield Entry(depth, tag, _name(first), first["vr"], first["vm"], value, is_private)
        for item in range(items):
            yield Entry(depth + 1, "", f"item {item}", "", 0, "", is_private)
            yield from _walk(tree, join_path(path, tag, item), depth + 1, inside_private=is_private)


def _name(row: dict[str, Any]) -> str:
    if row["keyword"]:
        return str(row["keyword"])
    tag = row["tag"]
    if int(tag[:4], 16) % 2 == 1 and tag[4:6] == "00" and tag[6:] >= "10":
        return "[private creator]"
    if row["creator"]:
        try:
            return f"[{private_dictionary_description(int(tag, 16), row['creator'])}]"
        except KeyError:
            return f"[{row['creator']}]"
    return "[group length]" if tag[4:] == "0000" else ""


def _text(row: dict[str, Any]) -> str:
    if row["vm"] == 0:
        return ""
    if row["text"] is not None:
        return person_name_text(row["text"]) if row["vr"] == "PN" and row["text"] else row["text"]
    for column in ("integer", "real"):
        if row[column] is not None:
            return str(row[column])
    return f"<{row['length']} bytes>" if row["length"] is not None else ""


def lines(entries: list[Entry], width: int | None) -> Iterator[tuple[str, str]]:
    """Lay entries out as a table: ``(kind, line)``, kind is title, item, public or private.

    Parameters
    ----------
    entries
        A header.
    width
        Characters per line; longer values are cut. None leaves them whole.
    """
    name_width = max([len(e.keyword) + 2 * e.depth for e in entries], default=0)
    name_width = min(max(name_width, len("Keyword")), 44)
    head = f"{'Tag':<11}  {'Keyword':<{name_width}}  VR  {'VM':>3}  Value"
    for title, wanted in (("Data Elements", False), ("Private Data Elements", True)):
        section = [e for e in entries if e.is_private is wanted]
        if not section:
            continue
        yield "title", title
        yield "title", head
        for entry in section:
            indent = "  " * entry.depth
            if not entry.tag:
                yield "item", f"{'':<11}  {indent}{entry.keyword}"
                continue
            name = (indent + entry.keyword)[:name_width]
            value = entry.value.replace("\r", " ").replace("\n", " ")
            line = (
                f"({entry.tag[:4]},{entry.tag[4:]})  {name:<{name_width}}  {entry.vr:<2}  "
                f"{entry.vm:>3}  {value}"
            )
            if width is not None and len(line) > width:
                line = line[: width - 1] + "…"
            yield "private" if wanted else "public", line.rstrip()
        yield "public", ""
