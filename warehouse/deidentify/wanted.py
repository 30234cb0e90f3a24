"""The values of people that a warehouse holds → the bytes that would show them in an export.

In: a warehouse, and what the export keeps by choice. Out: values with their attributes, why others
are passed over, and every way in which the text of one may be written. Nothing of an export is read
here: ``check`` searches it.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from warehouse.catalog.connect import open_catalog
from warehouse.deidentify.identity import says_who
from warehouse.deidentify.values import words
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from warehouse.deidentify.profile import Profile

CHARSETS = (
    "utf-8", "latin-1", "iso8859-2", "iso8859-3", "iso8859-4", "iso8859-5", "iso8859-6",
    "iso8859-7", "iso8859-8", "iso8859-9", "iso8859-15", "tis-620", "shift_jis", "iso2022_jp",
    "iso2022_jp_2", "euc_jp", "iso2022_kr", "euc_kr", "gb18030", "gbk", "cp1252",
)  # fmt: skip
_WIDE = ("utf-16-le", "utf-16-be")
SHORTEST = 5
_SHORTEST_DIGITS, _SHORTEST_UID, _SHORTEST_BASE64 = 6, 9, 6
LONGEST = 200
"""Characters of a value that are searched for; longer ones by their beginning."""
_NAMES = re.compile(r"[\^= ,]+")


@dataclass(slots=True)
class Patterns:
    """Bytes to look for, as text in Latin-1, with what they are."""

    folded: dict[str, tuple[str, str, bool]] = field(default_factory=dict)
    """Lower case: attribute, encoding, and whether digits may not stand beside it."""
    exact: dict[str, tuple[str, str, bool]] = field(default_factory=dict)


def wanted_values(root: Path, chosen: Profile) -> tuple[dict[str, str], Counter[str]]:
    """Return the values to search for with their attribute, and what is passed over and why."""
    connection = open_catalog(root).connection
    wanted: dict[str, str] = {}
    passed_over: Counter[str] = Counter()
    known, keywords = words(), set(chosen.keywords.values())
    creators = {creator for creator, *_ in chosen.safe_private}
    harmless = "\n".join(
        text for (text,) in connection.execute(statement("harmless_values", "runs")).fetchall()
    )
    rows = connection.sql(statement("identifying_values", "runs")).to_arrow_reader(50_000)
    for batch in rows:
        for row in batch.to_pylist():
            vr, text = row["vr"], row["text"]
            attribute = row["keyword"] or row["tag"]
            action = chosen.actions.get(int(row["tag"], 16))
            is_private = int(row["tag"][3], 16) % 2 == 1
            if is_private and _is_safe(row, chosen, creators):
                passed_over["safe private elements"] += 1
                continue
            if not is_private and action is None and attribute in keywords:
                passed_over["kept by an option, or in a sequence that goes"] += 1
                if vr != "PN":
                    continue
            if action is not None and action.code == "C" and vr in {"DA", "DT", "TM"}:
                passed_over["shifted dates"] += 1
                continue
            # A name that stands where it should not is what is searched for.
            may_stand = not says_who(int(row["tag"], 16), row["keyword"] or "", vr)
            for one in _parts(vr, text):
                if why := _why_not(
                    one, vr, known, is_elsewhere=may_stand and one.lower() in harmless
                ):
                    passed_over[why] += 1
                else:
                    wanted.setdefault(one, attribute)
    return wanted, passed_over


def _is_safe(row: dict[str, str], chosen: Profile, creators: set[str]) -> bool:
    """Return whether a private element, or the name of its block, is one that is kept."""
    tag = int(row["tag"], 16)
    element = (row["creator"] or "", tag >> 16, tag & 0xFF)
    return element in chosen.safe_private or (tag & 0xFF00 == 0 and row["text"] in creators)


def _parts(vr: str, text: str) -> list[str]:
    """Return what is searched for of a value: of a name its components, and each group whole."""
    if vr != "PN":
        return [text]
    parts: list[str] = []
    for group in json.loads(text).values():
        components = [str(one) for one in group.values()]
        parts += [part for one in components for part in _NAMES.split(one) if part]
        parts.append("^".join(components))
    return list(dict.fromkeys(parts))


def _why_not(text: str, vr: str, known: frozenset[str], *, is_elsewhere: bool) -> str:
    plain = text.strip()
    if len(plain) < SHORTEST:
        return f"shorter than {SHORTEST} characters"
    if vr in {"DS", "IS", "AS", "TM"}:
        return "numbers, ages and times"
    if plain.isdigit() and len(plain) < _SHORTEST_DIGITS:
        return f"fewer than {_SHORTEST_DIGITS} digits"
    if vr == "UI" and (len(plain) < _SHORTEST_UID or plain.startswith("1.2.840.10008.")):
        return "UIDs of the standard, or too short"
    parts = [part for part in re.split(r"\W+", plain.lower()) if part]
    if all(part in known or (part.isdigit() and len(part) < 4) for part in parts) and any(
        part in known for part in parts
    ):
        return "words of imaging"
    if plain.upper() in {"REMOVED", "UNKNOWN", "ANONYMOUS", "ANONYMIZED"}:
        return "words that name nobody"
    return "stands where it identifies nobody" if is_elsewhere else ""


def patterns_of(values: dict[str, str]) -> Patterns:
    """Return every way in which values may be written, with the attribute of each."""
    made = Patterns()
    for text, attribute in values.items():
        cut = text.strip()[:LONGEST]
        is_bounded = bool(re.fullmatch(r"[\d.]+", cut))
        plain: dict[bytes, str] = {}
        for charset in ("utf-8",) if cut.isascii() else CHARSETS:
            try:
                plain.setdefault(cut.encode(charset), charset)
            except UnicodeEncodeError:
                continue
        for wide in _WIDE:
            plain.setdefault(cut.encode(wide, "replace"), wide)
        for content, charset in plain.items():
            if len(content) >= SHORTEST:
                shown = content.decode("latin-1")
                made.folded.setdefault(folded(shown), (attribute, charset, is_bounded))
        for content, charset in plain.items():
            for coded in _base64(content):
                made.exact.setdefault(coded, (attribute, f"Base64 of {charset}", False))
    return made


def _base64(content: bytes) -> Iterator[str]:
    """Yield what is certain of the Base64 of some bytes, wherever they begin."""
    for before, first in ((0, 0), (1, 2), (2, 3)):
        coded = base64.b64encode(bytes(before) + content).decode("ascii")
        last = (before + len(content)) // 3 * 4
        if last - first >= _SHORTEST_BASE64:
            yield coded[first:last]


def folded(text: str) -> str:
    """Return a text with ASCII letters in lower case, and others as they are."""
    return "".join(c.lower() if c.isascii() else c for c in text)
