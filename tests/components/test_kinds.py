"""The kinds of sockets, as Grand Challenge's components.models documents them (two editions)."""

from __future__ import annotations

import pytest

import warehouse
from warehouse.components.kinds import InterfaceKind, find_kind, groups, kinds
from warehouse.errors import UnknownKind

MULTIPLE = {"M2DB", "MDIS", "MPOI", "MPOL", "MLIN", "MANG", "MELL", "M3AN"}


@pytest.mark.acceptance("G1")
def test_forty_kinds_in_their_groups(sample: warehouse.Warehouse) -> None:
    asked = sample.sql(
        "select count(*), count(*) filter (family = 'json'), count(*) filter (family = 'image'), "
        "count(*) filter (family = 'file'), count(*) filter (is_shown_alone), "
        "count(*) filter (is_undisplayable), count(*) filter (is_panimg) from kinds"
    ).fetchall()
    assert asked == [(40, 25, 5, 10, 5, 5, 4)]
    assert {name: len(codes) for name, codes in groups().items()} == {
        "json": 25, "image": 5, "file": 10, "mandatory_isolation": 5, "undisplayable": 5,
        "panimg": 4,
    }  # fmt: skip
    assert groups()["mandatory_isolation"] == {"CHART", "PDF", "JPEG", "PNG", "MP4"}
    assert groups()["undisplayable"] == {"CSV", "ZIP", "OBJ", "NEWCK", "BIOM"}


def test_the_view_says_what_python_says(sample: warehouse.Warehouse) -> None:
    rows = sample.sql(
        "select code, label, coalesce(extension, ''), upload_types, item_kind is not null, "
        "is_annotation, listing_rank from kinds"
    ).fetchall()
    assert rows == [
        (k.code, k.label, k.extension, list(k.upload_types), bool(k.item_kind), k.is_annotation,
         k.listing_rank)
        for k in kinds().values()
    ]  # fmt: skip
    assert sum(k.is_annotation for k in kinds().values()) == 16
    assert {k.code for k in kinds().values() if k.is_previewable} == {"BOOL", "FLT", "INT", "STR"}
    assert {k.code for k in kinds().values() if k.is_thumbnail} == {"JPEG", "PNG"}
    newick = find_kind("Newick tree-format file")
    assert newick.upload_types == (
        "text/x-nh", "application/octet-stream", ".newick", ".nwk", ".tree",
    )  # fmt: skip


@pytest.mark.acceptance("G2")
@pytest.mark.parametrize("code", list(kinds()))
@pytest.mark.parametrize("stored", [True, False])
def test_super_kinds(code: str, stored: bool) -> None:
    family = find_kind(code).family
    wanted = "I" if family == "image" else "V" if family == "json" and stored else "F"
    assert find_kind(code).super_kind(store_in_database=stored) == wanted


@pytest.mark.acceptance("G7")
def test_where_values_of_each_kind_may_lie() -> None:
    allowed = {code for code, kind in kinds().items() if kind.may_be_in_database}
    assert allowed == groups()["json"] - MULTIPLE
    assert "MCHO" in allowed


@pytest.mark.acceptance("G67")
def test_the_older_edition_has_39_kinds_under_its_own_names(sample: warehouse.Warehouse) -> None:
    assert len(InterfaceKind.interface_type_json()) == 25
    assert InterfaceKind.interface_type_image() == {"IMG", "SEG", "HMAP", "DSPF"}
    assert len(InterfaceKind.interface_type_file()) == 10
    assert InterfaceKind.interface_type_mandatory_isolation() == groups()["mandatory_isolation"]
    assert InterfaceKind.interface_type_undisplayable() == groups()["undisplayable"]
    counted = sample.sql("select count(*) from kinds where in_old_edition").fetchall()
    assert counted == [(39,)]


def test_an_unknown_kind_names_those_that_are_like_it() -> None:
    with pytest.raises(UnknownKind, match="view kinds"):
        find_kind("POLYGONE")
    assert find_kind("polygon").code == find_kind("poly").code == "POLY"
