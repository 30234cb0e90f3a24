"""Collect identifying values of a warehouse as byte patterns for the search of an export.

In: a warehouse, and the profile of the export. Out: values with their attributes, the number of
values that are passed over by reason, and patterns for every encoding of a value. Exports are not
read here: ``check`` searches them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from warehouse.catalog.connect import open_catalog
from warehouse.deidentify.identity import in_base64, is_identifying
from warehouse.deidentify.key import is_of_standard
from warehouse.deidentify.needles import SHORTEST
from warehouse.deidentify.spellings import CHARSETS
from warehouse.deidentify.values import words
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

    from warehouse.deidentify.profile import Profile

_WIDE = ("utf-16-le", "utf-16-be")
_SHORTEST_DIGITS, _SHORTEST_UID = 6, 9
_AUTOMATON_VALUES = 200_000
"""Number of values that one automaton searches for."""
LONGEST = 200
"""Number of characters of a value that are searched for; longer values are cut."""
_NAMES = re.compile(r"[\^= ,]+")
_INNER = re.compile(r"[-'\u2019`]+")


class Pattern(NamedTuple):
    """Origin of a pattern."""

    attribute: str
    encoding: str
    is_bounded: bool
    """Whether digits next to it exclude a match."""


@dataclass(slots=True)
class Patterns:
    """Byte patterns to search for, with their origin."""

    folded: dict[bytes, Pattern] = field(default_factory=dict)
    """In lower case, matched in any ASCII case."""
    exact: dict[bytes, Pattern] = field(default_factory=dict)


def identifying_values(root: Path, chosen: Profile) -> tuple[dict[str, str], Counter[str]]:
    """Return values to search for → attribute, and reason → number of values passed over."""
    connection = open_catalog(root).connection
    wanted: dict[str, str] = {}
    passed_over: Counter[str] = Counter()
    known, keywords = words(), set(chosen.keywords.values())
    creators = {creator for creator, *_ in chosen.safe_private}
    doubtful: list[tuple[str, str]] = []
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
                passed_over["kept by an option, or in a removed sequence"] += 1
                if vr != "PN":
                    continue
            if action is not None and action.code == "C" and vr in {"DA", "DT", "TM"}:
                passed_over["shifted dates"] += 1
                continue
            # Values of other attributes may also occur where they identify nobody.
            is_doubtful = not is_identifying(int(row["tag"], 16), row["keyword"] or "", vr)
            for part in _search_texts(vr, text):
                if reason := _reason_to_skip(part, vr, known):
                    passed_over[reason] += 1
                elif is_doubtful:
                    doubtful.append((part, attribute))
                else:
                    wanted.setdefault(part, attribute)
    harmless = _in_harmless_texts(connection, {part.lower() for part, _ in doubtful})
    for part, attribute in doubtful:
        if part.lower() in harmless:
            passed_over["also in an element that identifies nobody"] += 1
        else:
            wanted.setdefault(part, attribute)
    return wanted, passed_over


def _in_harmless_texts(connection: duckdb.DuckDBPyConnection, values: set[str]) -> set[str]:
    """Return the values, in lower case, that occur in a text that identifies nobody."""
    harmless: set[str] = set()
    remaining = sorted(values)
    texts = connection.sql(statement("harmless_values", "runs")).to_arrow_reader(1_000_000)
    for batch in texts:
        if not remaining:
            break
        column = pl.Series(batch["harmless"])
        for start in range(0, len(remaining), _AUTOMATON_VALUES):
            chunk = remaining[start : start + _AUTOMATON_VALUES]
            hits = column.str.extract_many(chunk, overlapping=True)
            harmless.update(hits.explode().drop_nulls().unique().to_list())
        remaining = [value for value in remaining if value not in harmless]
    return harmless


def _is_safe(row: dict[str, str], chosen: Profile, creators: set[str]) -> bool:
    """Return whether a private element is kept, or is the creator of kept elements."""
    tag = int(row["tag"], 16)
    element = (row["creator"] or "", tag >> 16, tag & 0xFF)
    return element in chosen.safe_private or (tag & 0xFF00 == 0 and row["text"] in creators)


def _search_texts(vr: str, text: str) -> list[str]:
    """Return the texts to search for: the value; or the parts of a name, and its groups."""
    if vr != "PN":
        return [text]
    parts: list[str] = []
    for group in json.loads(text).values():
        components = [str(component) for component in group.values()]
        parts += [part for component in components for part in _NAMES.split(component) if part]
        parts += [inner for part in parts for inner in _INNER.split(part) if inner != part]
        parts.append("^".join(components))
    return list(dict.fromkeys(parts))


def _reason_to_skip(text: str, vr: str, known: frozenset[str]) -> str:
    """Return why a text is not searched for; empty if it is."""
    plain = text.strip()
    # Two Chinese characters can be a name, of six bytes.
    if len(plain.encode("utf-8", "surrogatepass")) < SHORTEST:
        return f"shorter than {SHORTEST} characters"
    if vr in {"DS", "IS", "AS", "TM"}:
        return "numbers, ages and times"
    if plain.isdigit() and len(plain) < _SHORTEST_DIGITS:
        return f"fewer than {_SHORTEST_DIGITS} digits"
    if vr == "UI" and (len(plain) < _SHORTEST_UID or is_of_standard(plain)):
        return "UIDs of the standard, or too short"
    parts = [part for part in re.split(r"\W+", plain.lower()) if part]
    if all(part in known or (part.isdigit() and len(part) < 4) for part in parts) and any(
        part in known for part in parts
    ):
        return "words of imaging"
    if plain.upper() in {"REMOVED", "UNKNOWN", "ANONYMOUS", "ANONYMIZED"}:
        return "words that name nobody"
    return ""


def patterns_of(values: dict[str, str]) -> Patterns:
    """Return patterns for every encoding of values, with the attribute of each."""
    patterns = Patterns()
    for text, attribute in values.items():
        searched = text.strip()[:LONGEST]
        is_bounded = bool(re.fullmatch(r"[\d.]+", searched))
        encodings: dict[bytes, str] = {}
        # Bytes are compared ignoring case for ASCII letters only.
        forms = (
            {searched}
            if searched.isascii()
            else {searched, searched.lower(), searched.upper(), searched.title()}
        )
        for form in sorted(forms):
            for charset in ("utf-8",) if searched.isascii() else CHARSETS:
                with suppress(UnicodeEncodeError):
                    encodings.setdefault(form.encode(charset), charset)
            for wide in _WIDE:
                encodings.setdefault(form.encode(wide, "replace"), wide)
        for content, charset in encodings.items():
            if len(content) >= SHORTEST:
                patterns.folded.setdefault(content.lower(), Pattern(attribute, charset, is_bounded))
            pattern = Pattern(attribute, f"Base64 of {charset}", is_bounded=False)
            for base64_part in in_base64(content):
                patterns.exact.setdefault(base64_part, pattern)
    return patterns
