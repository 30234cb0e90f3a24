"""Names of private elements added by users: ``dictionary.json`` in the folder of the warehouse.

In: CSV or JSON files of creator, tag, VR and name. Out: entries by creator and tag without block.
Names are looked up by queries; no stored row depends on them.
"""

from __future__ import annotations

import csv
import json
import os
import re
from typing import TYPE_CHECKING, Any

from warehouse.dicom.private_names import Dictionary, PrivateEntry, block_free
from warehouse.errors import UsageError
from warehouse.inputs import read_text
from warehouse.store.marker import require
from warehouse.store.whole import write_whole

if TYPE_CHECKING:
    from pathlib import Path

FILE = "dictionary.json"

_TAG = re.compile(
    r"\(?([0-9a-f]{3}[13579bdf]),?\s?(?:[0-9a-f]{2}|xx)([0-9a-f]{2})\)?", re.IGNORECASE
)
_GROUP = re.compile(r"(?:0x)?([0-9a-f]{3}[13579bdf])", re.IGNORECASE)
_BYTE = re.compile(r"(?:0x)?(?:[0-9a-f]{2}|xx)?([0-9a-f]{1,2})", re.IGNORECASE)


def read_dictionary(root: Path) -> Dictionary:
    """Return the entries of a warehouse; empty if no dictionary was added."""
    path = root / FILE
    if not os.path.exists(path):
        return {}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {(e["creator"], e["tag"]): PrivateEntry(e["vr"], e["name"]) for e in stored}
    except (ValueError, LookupError, TypeError):
        raise UsageError(f"{path} is damaged; delete it and add your dictionaries again") from None


def add_dictionary(root: Path, source: Path) -> int:
    """Add the entries of a file, replacing those with the same creator and tag.

    Parameters
    ----------
    root
        Folder of an existing warehouse.
    source
        CSV with a header line, or JSON with a list of objects: ``creator``, ``tag`` (``0019xx9c``,
        or any block) or ``group`` and ``byte``, ``vr``, ``name``.

    Returns
    -------
    int
        Number of entries read.

    Raises
    ------
    UsageError
        The file cannot be read, or a line is not a valid entry; nothing is added.
    """
    require(root)
    added = dict(_entry(row, f"{source}, entry {n}") for n, row in enumerate(_rows(source), 1))
    merged = sorted((read_dictionary(root) | added).items())
    stored = [
        {"creator": creator, "tag": tag, "vr": entry.vr, "name": entry.name}
        for (creator, tag), entry in merged
    ]
    write_whole(root / FILE, json.dumps(stored, ensure_ascii=False, indent=1).encode(), FILE)
    return len(added)


def _rows(source: Path) -> list[dict[str, Any]]:
    text = read_text(source)
    if text.lstrip()[:1] not in {"[", "{"}:
        return list(csv.DictReader(text.splitlines()))
    try:
        rows = json.loads(text)
    except ValueError:
        raise UsageError(f"{source}: neither CSV nor valid JSON") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{source}: expected a list of objects")
    return rows


def _entry(row: dict[str, Any], where: str) -> tuple[tuple[str, str], PrivateEntry]:
    given = {str(k).strip().lower(): str(v).strip() for k, v in row.items() if v is not None}
    missing = [field for field in ("creator", "vr", "name") if not given.get(field)]
    if missing:
        raise UsageError(f"{where}: has no {', '.join(missing)}")
    if not re.fullmatch("[A-Za-z]{2}", given["vr"]):
        raise UsageError(f"{where}: a VR must have two letters")
    tag = _TAG.fullmatch(given.get("tag", ""))
    group, byte = _GROUP.fullmatch(given.get("group", "")), _BYTE.fullmatch(given.get("byte", ""))
    if tag:
        text = f"{tag[1]}00{tag[2]}"
    elif group and byte:
        text = f"{group[1]}00{byte[1]:0>2}"
    else:
        raise UsageError(
            f"{where}: needs a tag such as 0019xx9c, or an odd group and a byte, in hex"
        )
    return (given["creator"], block_free(text.upper())), PrivateEntry(
        given["vr"].upper(), given["name"]
    )
