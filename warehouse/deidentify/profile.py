"""``Profile``: the action per attribute by PS3.15 Table E.1-1 and the chosen options.

In: ``sql/rules/deidentification.csv`` and names of options. Out: ``Profile``, the action for every
attribute of the dictionary. Attributes that are not in the table but may identify a person are
determined by the macro ``is_identifying``, as in lists and views.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from warehouse.catalog.dictionaries import make_dictionaries, rule_rows
from warehouse.dicom.dictionary import elements
from warehouse.errors import UsageError
from warehouse.inputs import read_text
from warehouse.sqlfiles import by_name, sql_folder
from warehouse.store.duck import connect

if TYPE_CHECKING:
    from collections.abc import Iterable

BASIC = "basic"
PROFILES = (BASIC,)


@dataclass(frozen=True, slots=True)
class Option:
    """An option of PS3.15 Table E.1-1: its column of the table, and its code of CID 7050."""

    name: str
    column: str
    code: str
    meaning: str


PROFILE_CODE = ("113100", "Basic Application Confidentiality Profile")
PIXELS_CODE = ("113101", "Clean Pixel Data Option")
RETAIN = (
    Option("uids", "retain_uids", "113110", "Retain UIDs Option"),
    Option("device", "retain_device", "113109", "Retain Device Identity Option"),
    Option("institution", "retain_institution", "113112", "Retain Institution Identity Option"),
    Option("patient", "retain_patient", "113108", "Retain Patient Characteristics Option"),
    Option(
        "dates", "full_dates", "113106",
        "Retain Longitudinal Temporal Information Full Dates Option",
    ),
    Option(
        "dates-shifted", "shifted_dates", "113107",
        "Retain Longitudinal Temporal Information Modified Dates Option",
    ),
    Option("safe-private", "safe_private", "113111", "Retain Safe Private Option"),
)  # fmt: skip
CLEAN = (
    Option("descriptors", "clean_descriptors", "113105", "Clean Descriptors Option"),
    Option("structured", "clean_structured", "113104", "Clean Structured Content Option"),
    Option("graphics", "clean_graphics", "113103", "Clean Graphics Option"),
)
_DATES = {"DA", "DT", "TM"}
_TEXTS = {"LO", "LT", "SH", "ST", "UC", "UT"}

# Compound codes depend on the type of an attribute in its IOD, which is not looked up: the action
# is valid for all of the types. An empty value is valid for types 2 and 3, a dummy for all.
_SIMPLE = {"X/Z": "Z", "X/D": "D", "X/Z/D": "D", "Z/D": "D", "X/Z/U*": "S"}


@dataclass(frozen=True, slots=True)
class Action:
    """The action for an attribute.

    ``code`` is X removed, Z emptied, D replaced by a dummy, U replaced UID, C cleaned, K kept, or
    S: a sequence that is kept with its UIDs replaced (X/Z/U* of the table).
    """

    code: str
    option: str
    """Option that determined it; ``basic`` for the profile, ``beyond`` if not in the table."""
    basic: str = "X"
    """Code of the profile without options, for values of which nothing can be kept."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The actions for all attributes; picklable."""

    name: str
    options: tuple[str, ...]
    actions: dict[int, Action]
    """Tag → action; other attributes are kept."""
    vrs: dict[int, str]
    """Tag → VR in the dictionary; elements that are not in it are removed."""
    keywords: dict[int, str]
    safe_private: dict[tuple[str, int, int], tuple[str, str]]
    """Creator, group and last byte → VR and VM of private elements kept by ``safe-private``."""
    codes: tuple[tuple[str, str], ...]
    """Code and meaning of CID 7050 of the profile and its options."""

    @property
    def dates(self) -> str:
        """Value of Longitudinal Temporal Information Modified (0028,0303)."""
        if "dates" in self.options:
            return "UNMODIFIED"
        return "MODIFIED" if "dates-shifted" in self.options else "REMOVED"


def profile(name: str = BASIC, *, retain: Iterable[str] = (), clean: Iterable[str] = ()) -> Profile:
    """Return a profile with options.

    Parameters
    ----------
    name
        ``basic``: the Basic Application Level Confidentiality Profile.
    retain
        Any of ``uids``, ``device``, ``institution``, ``patient``, ``dates``, ``dates-shifted``,
        ``safe-private``.
    clean
        Any of ``descriptors``, ``structured``, ``graphics``: kept as far as they can be cleaned.

    Raises
    ------
    UsageError

    Examples
    --------
    >>> profile(retain=["dates-shifted"]).actions[0x00080020]
    Action(code='C', option='dates-shifted', basic='Z')
    """
    if name not in PROFILES:
        raise UsageError(f"unknown profile {name!r}; choose one of: {', '.join(PROFILES)}")
    kept = _select_options("retain", retain, RETAIN)
    cleaned = _select_options("clean", clean, CLEAN)
    if {"dates", "dates-shifted"} <= {option.name for option in kept}:
        raise UsageError(
            "retain either dates or dates-shifted: a date cannot be both kept and shifted"
        )
    return _profile(name, kept, cleaned)


def _select_options(
    what: str, requested: Iterable[str], known: tuple[Option, ...]
) -> tuple[Option, ...]:
    requested_names = set(requested)
    names = [option.name for option in known]
    if unknown := requested_names - set(names):
        raise UsageError(
            f"unknown option to {what}: {', '.join(sorted(unknown))}; known: {', '.join(names)}"
        )
    return tuple(option for option in known if option.name in requested_names)


@cache
def _profile(name: str, kept: tuple[Option, ...], cleaned: tuple[Option, ...]) -> Profile:
    options = kept + cleaned
    actions: dict[int, Action] = {}
    for row in rules():
        if len(row["tag"]) == 8 and "X" not in row["tag"]:
            actions[int(row["tag"], 16)] = action_of(row, options)
    entries = elements()
    for tag, vr in _identifying_vrs().items():
        if tag not in actions and (tag >> 16) != 2:
            actions[tag] = _action_beyond(vr, entries.get(tag, ("",) * 5)[4], options)
    safe = any(option.name == "safe-private" for option in kept)
    return Profile(
        name,
        tuple(option.name for option in options),
        {tag: action for tag, action in actions.items() if action.code != "K"},
        {tag: row[0] for tag, row in entries.items()},
        {tag: row[4] for tag, row in entries.items()},
        safe_private() if safe else {},
        (PROFILE_CODE, *((option.code, option.meaning) for option in options)),
    )


@cache
def rules() -> tuple[dict[str, str], ...]:
    """Return the rows of Table E.1-1."""
    text = read_text(sql_folder() / "rules" / "deidentification.csv")
    return tuple(csv.DictReader(io.StringIO(text)))


def action_of(row: dict[str, str], options: Iterable[Option]) -> Action:
    """Return the action for a row of the table; options that clean take precedence."""
    basic = _SIMPLE.get(row["basic"], row["basic"])
    allowed = [(row[option.column], option.name) for option in options if row[option.column]]
    for code, name in sorted(allowed):  # C before K
        # Ages are capped, so that many people share the highest one: see ``values.capped_age``.
        is_age = elements().get(int(row["tag"], 16), ("",))[0] == "AS"
        return Action("C" if is_age else code, name, basic)
    return Action(basic, BASIC, basic)


@cache
def safe_private() -> dict[tuple[str, int, int], tuple[str, str]]:
    """Return the elements of PS3.15 Table E.3.10-1: creator, group and last byte → VR and VM."""
    rows = rule_rows("safe_private.csv")
    return {(row[0], int(row[1], 16), int(row[2], 16)): (row[3], row[4]) for row in rows}


@cache
def _identifying_vrs() -> dict[int, str]:
    """Return tag → VR of the attributes that may identify a person by the macro."""
    connection = connect()
    make_dictionaries(connection)
    connection.execute(by_name("is_identifying").sql)
    attributes = connection.execute((sql_folder() / "runs" / "identifying.sql").read_text("utf-8"))
    return {int(tag, 16): vr for tag, vr in attributes.fetchall()}


def _action_beyond(vr: str, keyword: str, options: tuple[Option, ...]) -> Action:
    """Return the action for an attribute that may identify but is not in the table."""
    names = {option.name for option in options}
    if vr == "UI":
        return Action("K", "uids") if "uids" in names else Action("U", "beyond")
    if vr in _DATES and "dates" in names:
        return Action("K", "dates")
    if vr in _DATES and "dates-shifted" in names:
        return Action("C", "dates-shifted")
    if vr in _TEXTS and "descriptors" in names:
        return Action("C", "descriptors")
    # Other values refer to identifiers, as frames to their stack: pseudonyms preserve references.
    is_name = vr in _TEXTS and keyword.endswith(("ID", "IDs", "Identifier"))
    return Action("D" if is_name else "X", "beyond")
