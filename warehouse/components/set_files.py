"""Import and export sets of values: folders, and the JSON of Grand Challenge's API.

In: a folder of ``<item>/<relative_path>``, a list of archive items or of reader-study answers. Out:
values in one commit and their set in another; refused values are reported and not stored. The JSON
of the API has values, but only the URLs of files: these are not downloaded, but reported as
missing.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.components import json_text, ledger
from warehouse.components.files import opened
from warehouse.components.images import suffix_of
from warehouse.components.kinds import find_kind
from warehouse.components.sets import put_items
from warehouse.components.socket_store import create_socket, known_sockets
from warehouse.components.stored import read_value
from warehouse.components.values import Given, add_values
from warehouse.errors import ComponentError, SourceNotFound, ValueRefused
from warehouse.outputs import draft_of, refuse_existing
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from warehouse.components.sockets import Socket

LISTING = "archive_items.json"
"""File of an exported set: its items in the format of Grand Challenge's API."""

MAX_LISTING = 256 << 20

IMAGE_SUFFIXES = (".nii.gz", ".mha", ".nii", ".tiff", ".tif")


@dataclass(frozen=True, slots=True)
class Imported:
    """Result of importing one file or value of a set."""

    item: str
    path: str
    """Path in the item, slug of the socket, or id of the question."""
    value_id: str | None
    why_not: str | None


def import_set(
    root: Path, set_name: str, source: Path, *, by: str = "", keep_going: bool = False
) -> list[Imported]:
    """Import a set from a folder or from JSON.

    Parameters
    ----------
    root
        Folder of a warehouse.
    set_name
        Name of the set; values of its items that are not imported stay.
    source
        A folder with a folder per item, or a JSON file: a list of archive items. Sockets that do
        not exist are created as the JSON describes them, even if values are refused.
    by
        Who imports them.
    keep_going
        Import the valid values, and only report the others.

    Returns
    -------
    list of Imported
        One for each file or value.

    Raises
    ------
    SourceNotFound
    ValueRefused
        A value is invalid, and ``keep_going`` is false; no value is stored.
    """
    if not os.path.exists(source):
        raise SourceNotFound(str(source))
    if source.is_dir():
        entries = list(_read_folder(root, source, by))
    else:
        entries = list(_read_items(root, source, by))
    checked = _validated(root, entries)
    failed = [result for result in checked if result.why_not]
    if failed and not keep_going:
        raise ValueRefused(
            f"{len(failed)} of {len(checked)} values of the set cannot be imported; "
            f"{failed[0].item}/{failed[0].path}: {failed[0].why_not}"
        )
    valid = [
        (item, new_value) for (item, _, new_value), result in zip(entries, checked, strict=True)
        if result.why_not is None and isinstance(new_value, Given)
    ]  # fmt: skip
    added = iter(add_values(root, [new_value for _, new_value in valid]))
    imported = [
        result if result.why_not else Imported(result.item, result.path, next(added).value_id, None)
        for result in checked
    ]
    items: dict[str, dict[str, str | None]] = {}
    value_ids = [result.value_id for result in imported if result.why_not is None]
    for (item, new_value), value_id in zip(valid, value_ids, strict=True):
        items.setdefault(item, {})[new_value.slug] = value_id
    if items:
        put_items(root, set_name, items, by=by)
    return imported


def _validated(root: Path, entries: list[_Entry]) -> list[Imported]:
    """Validate values without storing them: together, or one by one if any is invalid."""
    values = [
        value_or_reason for _, _, value_or_reason in entries if isinstance(value_or_reason, Given)
    ]
    try:
        add_values(root, values, store=False)
    except (ComponentError, SourceNotFound):
        return [_validate_one(root, *entry) for entry in entries]
    return [
        Imported(item, path, None, value_or_reason if isinstance(value_or_reason, str) else None)
        for item, path, value_or_reason in entries
    ]


def _validate_one(root: Path, item: str, path: str, value_or_reason: Given | str) -> Imported:
    """Validate one value without storing it."""
    if isinstance(value_or_reason, str):
        return Imported(item, path, None, value_or_reason)
    try:
        add_values(root, [value_or_reason], store=False)
    except (ComponentError, SourceNotFound) as error:
        return Imported(item, path, None, str(error))
    return Imported(item, path, None, None)


_Entry = tuple[str, str, "Given | str"]
"""Item, path in it, and the value, or the reason why there is none."""


def _read_folder(root: Path, source: Path, by: str) -> Iterator[_Entry]:
    paths = {socket.relative_path: socket for socket in known_sockets(root).values()}
    for item in sorted(entry.name for entry in os.scandir(source)):
        folder = source / item
        if item == LISTING:
            continue
        if folder.is_symlink() or not folder.is_dir():
            yield item, ".", "it is not the folder of an item"
            continue
        for place, folders, names in os.walk(folder):
            folders.sort()
            links = [name for name in folders if os.path.islink(os.path.join(place, name))]
            for name in sorted([*names, *links]):
                file = Path(place, name)
                path = file.relative_to(folder).as_posix()
                yield item, path, _value_of_file(file, path, names, paths, by)


def _value_of_file(
    file: Path, path: str, names: Sequence[str], paths: dict[str, Socket], by: str
) -> Given | str:
    """Return the value in a file, or the reason why there is none."""
    if file.is_symlink() or not file.is_file():
        return "it is a link or not a regular file, and is not read"
    socket = paths.get(path)
    if socket is None:
        socket = paths.get(os.path.dirname(path)) if "/" in path else None
        if socket is None or not socket.of_kind.is_image:
            return "no socket has this path"
        if len(names) != 1:
            return "the folder of an image has to hold one file"
    return Given(socket.slug, file=file, added_by=by)


def _read_items(root: Path, source: Path, by: str) -> Iterator[_Entry]:
    items = read_listing(source)
    sockets = known_sockets(root)
    names: set[str] = set()
    for number, item in enumerate(items):
        name = str(item.get("title") or item.get("pk") or number)
        entries = item.get("values") or []
        if name in names:
            yield name, "?", "another item of the listing has the same title"
            continue
        names.add(name)
        if not isinstance(entries, list):
            yield name, "?", "its values are not a list"
            continue
        slugs: set[str] = set()
        for entry in entries:
            described = _socket_of(entry)
            if described is None:
                yield name, "?", "the value names no socket"
                continue
            slug = str(described["slug"])
            if slug in slugs:
                yield name, slug, "the item has another value of the same socket"
                continue
            slugs.add(slug)
            if slug not in sockets:
                sockets[slug] = _create_socket(root, described, by)
            yield name, slug, _value_of_entry(sockets[slug], entry, by)


def _socket_of(entry: Any) -> dict[str, Any] | None:
    """Return the socket that an entry of JSON describes, if it has a slug."""
    described = entry.get("socket") or entry.get("interface") if isinstance(entry, dict) else None
    return described if isinstance(described, dict) and "slug" in described else None


def _value_of_entry(socket: Socket, entry: dict[str, Any], by: str) -> Given | str:
    """Return the value in an entry of JSON, or the reason why there is none."""
    for key in ("file", "image"):
        if entry.get(key):
            return f"its {key} is on the platform; download it, and import the folder"
    if socket.super_kind == "V":
        return Given(socket.slug, entry.get("value"), added_by=by)
    return "it has neither a value nor a file"


def read_listing(source: Path) -> list[dict[str, Any]]:
    """Read a list of objects from a JSON file: the top level, or ``results`` as in pages.

    Raises
    ------
    ValueRefused
    """
    with opened(source) as file:
        content = file.read(MAX_LISTING + 1)
    if len(content) > MAX_LISTING:
        raise ValueRefused(f"a listing may have at most {MAX_LISTING >> 20} MiB")
    entries = json_text.parse(content)
    if isinstance(entries, dict) and "results" in entries:
        entries = entries["results"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueRefused("it is not a list of objects, as Grand Challenge's API returns")
    return entries


def _create_socket(root: Path, described: dict[str, Any], by: str) -> Socket:
    """Create the socket that the JSON of the API describes."""
    fields = {
        name: described[name]
        for name in ("title", "description", "relative_path", "overlay_segments", "look_up_table")
        if described.get(name) is not None
    }
    kind = find_kind(str(described.get("kind", "")))
    fields |= {"kind": kind.code, "store_in_database": described.get("super_kind") == "Value"}
    if fields["store_in_database"]:
        fields["default_value"] = described.get("default_value")
    return create_socket(root, fields, by=by, slug=str(described["slug"]))


def import_answers(
    root: Path, source: Path, sockets: dict[str, str], *, series: dict[str, str] | None = None,
    keep_going: bool = False,
) -> list[Imported]:  # fmt: skip
    """Import the answers of a reader study, as Grand Challenge's API lists them.

    Parameters
    ----------
    root
        Folder of a warehouse.
    source
        JSON: a list of answers with ``answer``, ``creator``, ``display_set``, ``question``.
    sockets
        Question (its URL, or the id at the end of it) → slug of the socket of its answers.
    series
        Display set (likewise) → SeriesInstanceUID that its answers are about.
    keep_going
        Import the valid values, and only report the others.

    Returns
    -------
    list of Imported
        One for each answer; answers to questions without a socket have a reason.

    Raises
    ------
    ValueRefused
    """
    entries: list[_Entry] = []
    for number, answer in enumerate(read_listing(source)):
        slug = sockets.get(_id_of_url(answer.get("question"))) or sockets.get(
            str(answer.get("question"))
        )
        display_set = answer.get("display_set")
        about = (series or {}).get(_id_of_url(display_set)) or (series or {}).get(str(display_set))
        answer_id = _id_of_url(answer.get("pk") or number)
        value_or_reason: Given | str = "no socket was given for its question"
        if slug is not None:
            value_or_reason = Given(
                slug, answer.get("answer"), about="series" if about else None, about_key=about,
                added_by=str(answer.get("creator") or ""), tool="grand-challenge",
            )  # fmt: skip
        entries.append((answer_id, _id_of_url(answer.get("question")), value_or_reason))
    checked = _validated(root, entries)
    failed = [result for result in checked if result.why_not]
    if failed and not keep_going:
        raise ValueRefused(
            f"{len(failed)} of {len(checked)} answers cannot be imported; answer {failed[0].item}: "
            f"{failed[0].why_not}"
        )
    valid = [
        g for (_, _, g), result in zip(entries, checked, strict=True) if result.why_not is None
    ]
    added = iter(
        add_values(
            root,
            [value_or_reason for value_or_reason in valid if isinstance(value_or_reason, Given)],
        )
    )
    return [
        result if result.why_not else Imported(result.item, result.path, next(added).value_id, None)
        for result in checked
    ]


def _id_of_url(address: Any) -> str:
    """Return the id at the end of a URL.

    >>> _id_of_url("https://example.org/api/v1/question/12/")
    '12'
    """
    return str(address).rstrip("/").rsplit("/", 1)[-1]


def export_set(root: Path, set_name: str, target: Path) -> int:
    """Export a set as a folder with ``<item>/<relative_path>`` and a listing.

    Returns
    -------
    int
        Number of values.

    Raises
    ------
    ComponentError
        The set is empty, or a folder cannot have the name of an item.
    TargetExists, ExportFailed
    """
    refuse_existing(target)
    rows = set_rows(root, set_name)
    if not rows:
        raise ComponentError(f"there is no set {set_name!r}, or it is empty")
    sockets = known_sockets(root)
    items: dict[str, list[dict[str, Any]]] = {}
    with draft_of(target) as draft:
        draft.mkdir()
        for row in rows:
            item, socket = row["item"], sockets[row["slug"]]
            if item != os.path.basename(item) or item in {".", "..", LISTING} or "\0" in item:
                raise ComponentError(f"an item named {item!r} cannot be a folder")
            written = _write_value(root, row, socket, draft / item)
            items.setdefault(item, []).append(_listing_entry(row, socket, written))
        listing: list[dict[str, Any]] = [
            {"pk": item, "archive": set_name, "title": item, "values": values,
             "hanging_protocol": None, "optional_hanging_protocols": [], "view_content": {}}
            for item, values in items.items()
        ]  # fmt: skip
        (draft / LISTING).write_text(json.dumps(listing, ensure_ascii=False, indent=1))
        draft.rename(target)
    return len(rows)


def set_rows(root: Path, set_name: str) -> list[dict[str, Any]]:
    """Return the current values of a set, sorted as in listings."""
    ranks = {slug: s.listing_rank for slug, s in known_sockets(root).items()}
    with ledger.connected(root) as connection:
        rows = ledger.dictionaries(connection, statement("set_values", "components"), set_name)
    return sorted(rows, key=lambda row: (row["item"], ranks[row["slug"]], row["slug"]))


def _write_value(root: Path, row: dict[str, Any], socket: Socket, folder: Path) -> str | None:
    """Write one value to the folder of its item; return its relative path if it is a file."""
    if row["form"] == "series":
        return None
    target = folder / socket.relative_path
    if row["form"] == "image":
        suffix = suffix_of(ledger.open_value(root, row["sha256"]))
        target /= f"{row['sha256'][:16]}{suffix}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if row["form"] == "value":
        text = json_text.canonical(read_value(root, row["value_id"]))
        target.write_text(text, encoding="utf-8")
        return None
    shutil.copyfile(ledger.open_value(root, row["sha256"]), target)
    return target.relative_to(folder).as_posix()


def _listing_entry(row: dict[str, Any], socket: Socket, written: str | None) -> dict[str, Any]:
    described = socket.serialized()
    is_image = row["form"] in {"image", "series"}
    return {
        "socket": described,
        "interface": described,
        "value": json.loads(row["value"]) if row["form"] == "value" else None,
        "file": written if row["form"] == "file" else None,
        "image": {"pk": row["value_id"], "name": written or row["series_key"]}
        if is_image
        else None,
        "pk": row["value_id"],
    }
