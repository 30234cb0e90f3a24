r"""The rules of the view ``sequence_types``: those in ``sql/rules/`` and those of users.

In: CSV with one line per condition. Out: rules in the order of evaluation. Users' rules are stored
in ``sequence_types.csv`` in the folder of the warehouse; a rule with the name of an existing one
replaces it. The rules are applied when the view ``sequence_types`` is queried; no stored row
depends on them.

The fields of a line are: ``rank`` (rules are evaluated in ascending order), ``rule`` (all lines
with the same name form one rule, and all must hold), ``sequence_type`` (empty disables the rule),
``modality`` (MR by default), ``attribute``, ``test`` (one of ``TESTS``) and ``values``
(alternatives separated by ``|``; multiple values of one alternative by ``\`` as in DICOM).
``confidence`` may be left out; a user's rule then has ``high``.
"""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from warehouse.dicom.dictionary import keyword_tags
from warehouse.errors import UsageError
from warehouse.inputs import read_text
from warehouse.sqlfiles import sql_folder
from warehouse.store.marker import require
from warehouse.store.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE = "sequence_types.csv"

FIELDS = (
    "rank", "rule", "sequence_type", "confidence", "modality", "attribute", "test", "values",
)  # fmt: skip
OPTIONAL = {"modality", "confidence"}

CONFIDENCES = {
    "high": "the header states it: an attribute of the standard, or the scanner's own word for it",
    "medium": "several attributes of the acquisition imply it, or one and a word of a text",
    "low": "only words of a free text, or times that other acquisitions may have too",
}
"""Confidence of a sequence type → its meaning."""

TESTS = {
    "is": "the values are one of the alternatives, in order; an empty alternative: there is none",
    "has": "all values of one of the alternatives are among them, in any order",
    "has not": "there are values, and no alternative has all of its own among them",
    "contains": "the text contains one of the alternatives, in any case",
    "contains not": "there is a text, and it contains none of the alternatives",
    "word": "one of the alternatives is among the words of the text, in any case",
    "word not": "no alternative is among the words of the text; true without a text",
    "above": "the first number is larger",
    "below": "the first number is smaller",
}

DERIVED = (
    "phase_encoding_direction",
    "description", "sequence", "sequence_file", "echo_planar", "spin_echo", "inversion",
    "image_part", "acquisition_contrast", "is_derived", "is_asl", "asl_contrast", "contrast_agent",
    "phase_contrast", "time_of_flight", "echo_time_ms", "repetition_time_ms", "inversion_time_ms",
    "flip_angle_deg", "echo_count", "inversion_time_count", "plane_count", "position_count",
    "volume_count", "b_value_max",
)  # fmt: skip
"""Columns of ``sequence_facts`` that a rule may test, in addition to DICOM attributes."""

Alternatives = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule."""

    attribute: str
    """Keyword, tag as eight hex digits, or one of ``DERIVED``."""
    tag: str | None
    """Eight hex digits; None for a derived attribute."""
    test: str
    alternatives: Alternatives

    @property
    def values(self) -> str:
        """The alternatives as written in the CSV."""
        return "|".join("\\".join(values) for values in self.alternatives)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: a sequence type, and conditions that must all hold for it."""

    name: str
    rank: float
    sequence_type: str
    """Sequence type; empty if the rule disables an existing one of its name."""
    confidence: str
    """One of ``CONFIDENCES``."""
    modality: str
    conditions: tuple[Condition, ...]
    source: str
    """``package`` or ``user``."""


def read_rules(root: Path | None = None) -> list[Rule]:
    """Return the rules in the order of evaluation.

    Parameters
    ----------
    root
        Folder of a warehouse; without one, only the rules of the package are read.

    Raises
    ------
    UsageError
        The stored rules of users are damaged.
    """
    rules = {rule.name: rule for rule in _packaged()}
    if root is not None and (root / FILE).exists():
        try:
            rules |= {
                rule.name: rule for rule in _parse(read_text(root / FILE), root / FILE, "user")
            }
        except UsageError as error:
            raise UsageError(
                f"{error}; repair the file, or delete it and add your rules again"
            ) from None
    tried = [rule for rule in rules.values() if rule.sequence_type]
    return sorted(tried, key=lambda rule: (rule.rank, rule.source != "user", rule.name))


def add_rules(root: Path, source: Path) -> int:
    """Add the rules of a file; a rule with the name of an existing one replaces it.

    Parameters
    ----------
    root
        Folder of an existing warehouse.
    source
        CSV with the fields of ``FIELDS`` in its header line; ``modality`` may be left out.

    Returns
    -------
    int
        Number of rules read.

    Raises
    ------
    UsageError
        The file cannot be read, or a line is not a valid condition; nothing is added.
    """
    require(root)
    added = _parse(read_text(source), source, "user")
    if not added:
        raise UsageError(f"{source}: has no rule")
    own = {}
    if (root / FILE).exists():
        own = {rule.name: rule for rule in _parse(read_text(root / FILE), root / FILE, "user")}
    own |= {rule.name: rule for rule in added}
    write_whole(root / FILE, written(own.values()).encode(), FILE)
    return len(added)


def written(rules: Iterable[Rule]) -> str:
    """Return rules as the CSV that ``add_rules`` reads."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for rule in sorted(rules, key=lambda rule: (rule.rank, rule.name)):
        head = (
            f"{rule.rank:g}", rule.name, rule.sequence_type, rule.confidence, rule.modality,
        )  # fmt: skip
        for condition in rule.conditions:
            writer.writerow((*head, condition.attribute, condition.test, condition.values))
        if not rule.conditions:
            writer.writerow((*head, "", "", ""))
    return text.getvalue()


@cache
def _packaged() -> tuple[Rule, ...]:
    path = sql_folder() / "rules" / FILE
    return tuple(_parse(read_text(path), path, "package"))


def _parse(text: str, where: Path, source: str) -> list[Rule]:
    reader = csv.DictReader(io.StringIO(text))
    missing = [f for f in FIELDS if f not in (reader.fieldnames or ()) and f not in OPTIONAL]
    if missing:
        raise UsageError(f"{where}: the header line has no {', '.join(missing)}")
    rules: dict[str, Rule] = {}
    for number, row in enumerate(reader, 2):
        line = f"{where}, line {number}"
        given = {field: (row.get(field) or "").strip() for field in FIELDS}
        if not any(given.values()):
            continue
        rule = _rule(given, line, source)
        known = rules.setdefault(rule.name, rule)
        if known is not rule:
            if replace(known, conditions=()) != replace(rule, conditions=()):
                raise UsageError(
                    f"{line}: lines of one rule differ in rank, sequence_type, confidence "
                    "or modality"
                )
            rules[rule.name] = replace(known, conditions=known.conditions + rule.conditions)
    return list(rules.values())


def _rule(given: dict[str, str], line: str, source: str) -> Rule:
    if not given["rule"]:
        raise UsageError(f"{line}: the rule has no name")
    try:
        rank = float(given["rank"])
    except ValueError:
        rank = math.nan
    if not math.isfinite(rank):
        raise UsageError(f"{line}: rank must be a number")
    confidence = given["confidence"] or "high"
    if confidence not in CONFIDENCES:
        raise UsageError(
            f"{line}: {confidence!r} is not a confidence; choose one of {', '.join(CONFIDENCES)}"
        )
    conditions = (_condition(given, line),) if given["sequence_type"] else ()
    return Rule(
        given["rule"], rank, given["sequence_type"], confidence, given["modality"] or "MR",
        conditions, source,
    )  # fmt: skip


def _condition(given: dict[str, str], line: str) -> Condition:
    attribute, test = given["attribute"], given["test"]
    tag = None
    if attribute not in DERIVED:
        number = keyword_tags().get(attribute)
        if number is not None:
            tag = f"{number:08X}"
        elif re.fullmatch("[0-9A-Fa-f]{8}", attribute):
            tag = attribute = attribute.upper()
        else:
            raise UsageError(
                f"{line}: {attribute!r} is neither a DICOM keyword, nor a tag of eight hex digits, "
                f"nor {' or '.join(DERIVED)}"
            )
    if test not in TESTS:
        raise UsageError(f"{line}: {test!r} is not a test; choose one of {', '.join(TESTS)}")
    alternatives = tuple(
        tuple(value.strip() for value in text.split("\\")) if text.strip() else ()
        for text in given["values"].split("|")
    )
    if test in {"above", "below"}:
        try:
            ((number_text,),) = alternatives
            float(number_text)
        except ValueError:
            raise UsageError(f"{line}: {test} needs one number") from None
    elif test != "is" and not all(alternatives):
        raise UsageError(f"{line}: {test} needs values")
    return Condition(attribute, tag, test, alternatives)
