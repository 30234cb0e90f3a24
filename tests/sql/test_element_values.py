"""``element_values`` counts by bits of 64 instances: it says what counting all rows at once says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.asking import answer_of
from tests.small_tables import View
from warehouse.sqlfiles import by_name

if TYPE_CHECKING:
    import warehouse

VALUES = """
select
    tag, any_value(elements.keyword), creator, vr,
    coalesce(
        if(vr = 'PN', person_name_text(text), text), "integer"::varchar,
        if("real" = 0, 0.0, "real")::varchar, sha256
    ) as value,
    count(*), count(distinct row(elements.instance_id, elements.path)),
    count(distinct elements.instance_id),
    count(distinct elements.instance_id) filter (pixel_offset is not null),
    count(distinct series_key)
from normal_elements as elements join instances using (instance_id)
where vm > 0 and vr != 'SQ' and coalesce(text, "integer"::varchar, "real"::varchar, sha256) is not null
group by all order by all
"""
"""Distinct values counted at once, as plainly as SQL says it."""

SAID = "select * from element_values order by all"

IDS = [(1 << 24) + n for n in (0, 1, 2, 62, 63, 64, 65, 128)] + [(2 << 24) + n for n in (0, 63)]
"""On both sides of what is counted together, and in two batches."""

KINDS = [
    ("00080060", "Modality", "CS", None), ("00080008", "ImageType", "CS", None),
    ("00080008", "ImageType", "LT", None), ("00100010", "PatientName", "PN", None),
    ("00280010", "Rows", "US", None), ("00180050", "SliceThickness", "DS", None),
    ("00209161", "x", "FD", None), ("00081140", "ReferencedImageSequence", "SQ", None),
    ("7FE00010", "PixelData", "OB", None), ("00191001", None, "LO", "A"),
    ("00191001", None, "LO", "B"), ("00191001", None, "UN", None),
]  # fmt: skip
PATHS = ["", "S[0]", "S[1]", "S[1].T[0]"]

TEXTS = [" CT", "CT", "", None]
NAMES = ['{"alphabetic":{"family_name":" A "}}', '{"alphabetic":{"family_name":"A"}}', "", None]


def cell(vr: str, drawn: int) -> dict[str, Any]:
    """Return what a row has of one of four values, of which some are equal and some are none."""
    if vr == "SQ":
        return {"integer": drawn}
    if vr in {"OB", "UN"}:
        return {"length": drawn, "sha256": ["a", "a", "b", None][drawn]}
    if vr == "US":
        return {"integer": [1, 1, 2, None][drawn]}
    if vr == "FD":
        return {"real": [0.0, -0.0, 0.1, None][drawn]}
    if vr == "PN":
        return {"text": NAMES[drawn], "sha256": ["a", None, "b", "b"][drawn]}
    if vr == "DS":
        return {"text": ["1.0", " 1.0", "1", None][drawn], "real": 1.0}
    return {"text": TEXTS[drawn]}


# Neighbors agree in most of what they state: some of them have the same values of an element.
element = st.tuples(
    st.lists(st.sampled_from(IDS), min_size=1, max_size=4), st.sampled_from(PATHS),
    st.sampled_from(KINDS), st.lists(st.integers(0, 3), max_size=3),
)  # fmt: skip
instance = st.tuples(st.sampled_from(["a", "a", "b", None]), st.sampled_from([132, 132, None]))


@pytest.fixture(scope="module")
def tables() -> View:
    """Tables to be filled, and the views over them."""
    view = View()
    view.given("instances", "instance_id")
    view.given("elements", "instance_id")
    view.given("element_summaries", "tag")
    view.make("normal_elements")
    view.make("element_values")
    return view


def fill(view: View, name: str, rows: list[dict[str, Any]]) -> None:
    """Replace the rows of a table; columns that are not given are null."""
    view.connection.execute(f"delete from {name}")
    known = [column.name for column in by_name(name).columns]
    used = [column for column in known if any(column in row for row in rows)]
    if rows:
        columns = ", ".join(f'"{column}"' for column in used)
        lines = ", ".join(f"({', '.join('?' * len(used))})" for _ in rows)
        cells = [row.get(column) for row in rows for column in used]
        view.connection.execute(f"insert into {name} ({columns}) values {lines}", cells)


@pytest.mark.parametrize(
    "part",
    [
        8,
        pytest.param(2, marks=pytest.mark.long("test_values_are_counted_as_if_all_at_once")),
    ],
)
def test_values_are_counted_as_if_all_at_once(tables: View, part: int) -> None:
    """With an eighth, or half, of the examples of the profile."""

    @settings(max_examples=settings().max_examples // part)
    @given(
        elements=st.lists(element, min_size=4, max_size=16),
        instances=st.lists(instance, min_size=len(IDS), max_size=len(IDS)),
        missing=st.sets(st.sampled_from(IDS), max_size=2), data=st.data(),
    )  # fmt: skip
    def count(
        elements: list[Any], instances: list[Any], missing: set[int], data: st.DataObject
    ) -> None:
        require_the_same(tables, elements, instances, missing, data)

    count()


def require_the_same(
    tables: View, elements: list[Any], instances: list[Any], missing: set[int], data: st.DataObject
) -> None:
    """Values stated twice, by items and by indexes; instances that are not there or of no series."""
    drawn = {
        (key, path, kind[0]): (kind, values)
        for ids, path, kind, values in elements
        for key in ids
    }  # fmt: skip
    rows = [
        {
            "instance_id": key, "path": path, "tag": tag, "keyword": keyword, "vr": vr,
            "creator": creator, "vm": len(values), "index": index,
            **({} if value is None else cell(vr, value)),
        }
        for (key, path, tag), ((_, keyword, vr, creator), values) in drawn.items()
        for index, value in enumerate(values or [None])
    ]  # fmt: skip
    # In the order of parts, which is that of no tag over all.
    fill(tables, "elements", data.draw(st.permutations(rows)))
    fill(tables, "instances", [
        {"instance_id": key, "series_key": series, "pixel_offset": offset}
        for key, (series, offset) in zip(IDS, instances, strict=True)
        if key not in missing
    ])  # fmt: skip
    tags = {(row["tag"], row["creator"], row["vr"]): row["keyword"] for row in rows}
    fill(tables, "element_summaries", [
        {"tag": tag, "creator": creator, "vr": vr, "keyword": keyword}
        for (tag, creator, vr), keyword in tags.items()
    ])  # fmt: skip
    exact = tables.connection.execute(VALUES).fetchall()
    assert tables.connection.execute(SAID).fetchall() == exact


@pytest.mark.parametrize("archive", ["sample", "corpus"])
def test_values_are_counted_as_often_as_they_are_there(
    request: pytest.FixtureRequest, archive: str
) -> None:
    """Items of sequences, vendors, names in several scripts, DICOMDIR."""
    wh: warehouse.Warehouse = request.getfixturevalue(archive)
    rows = answer_of(wh, SAID)
    assert rows == answer_of(wh, VALUES)
    assert len(rows) > 3_000
    for keywords in (("ImageType",), ("Modality", "Rows")):
        some = [row for row in rows if row[1] in keywords]
        asked = (
            f"select * from element_values where list_contains({[*keywords]}, keyword) order by all"
        )
        assert answer_of(wh, asked) == some != []


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("keyword = 'ImageType'", "tag = '00080008'"),
        ("keyword in ('ImageType', 'Modality')", r"tag IN \('000800(08|60)', '000800(08|60)'\)"),
        ("tag = '00080008'", "tag = '00080008'"),
    ],
)
def test_a_scan_is_told_the_tags(sample: warehouse.Warehouse, condition: str, told: str) -> None:
    """So that it reads the rows of these, whether the tags or their keywords are asked for."""
    asked = f"explain analyze from element_values where {condition}"
    plan = answer_of(sample, asked)[0][1]
    scans = [each.split("Filename")[0] for each in plan.split("Table Scan")]
    (scan,) = (each for each in scans if "vm > 0" in each)
    assert re.search(told, scan), scan
