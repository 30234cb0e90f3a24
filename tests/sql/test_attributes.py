"""The macros that make the long table pleasant: attribute, attributes, private, sequence_items."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

import warehouse
from tests.asking import answer_of
from tests.dicom_files import dataset, image, write
from warehouse.errors import QueryFailed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.small_tables import View

ROWS = """
    instance_id | path | tag      | vr | creator | vm | index | text | integer | real
    1           | ''   | 00180050 | DS |         | 1  | 0     | 1.50 |         | 1.5
    2           | ''   | 00180050 | DS |         | 0  | 0     |      |         |
    1           | S[0] | 00180050 | DS |         | 1  | 0     | 9    |         | 9
    1           | ''   | 00280030 | DS |         | 2  | 0     | .5   |         | 0.5
    1           | ''   | 00280030 | DS |         | 2  | 1     | .6   |         | 0.6
    1           | ''   | 00191002 | SL | A       | 1  | 0     |      | 7       |
    2           | ''   | 00191102 | SL | A       | 1  | 0     |      | 7       |
    3           | ''   | 00191002 | SL | B       | 1  | 0     |      | 8       |
    3           | S[0] | 00191002 | SL | A       | 1  | 0     |      | 9       |
"""


def test_an_attribute_is_one_row_per_instance_that_has_it(view: View) -> None:
    view.given("elements", ROWS)
    columns = "instance_id, vr, vm, text, integer, real, texts, integers, reals"
    ask = f"select {columns} from attribute('{{}}') order by all"
    assert view.ask("attribute", ask.format("SliceThickness")) == [
        (1, "DS", 1, "1.50", None, 1.5, ["1.50"], None, [1.5]),
        (2, "DS", 0, None, None, None, None, None, None),
    ]
    assert view.ask("attribute", ask.format("00280030")) == [
        (1, "DS", 2, ".5", None, 0.5, [".5", ".6"], None, [0.5, 0.6])
    ]
    assert view.ask("attribute", ask.format("EchoTime")) == []


def test_attributes_are_one_column_each_for_every_instance(view: View) -> None:
    view.given("instances", "instance_id\n1\n2\n3")
    view.given("elements", ROWS)
    asked = "from attributes(['PixelSpacing', 'SliceThickness', '00191002']) order by all"
    assert view.ask("attributes", asked) == [
        (1, [0.5, 0.6], 1.5, "7"),
        (2, None, None, None),
        (3, None, None, "8"),
    ]


def test_a_date_time_is_in_the_clock_of_the_dates_beside_it(view: View) -> None:
    """PS3.3 C.12.1.1.8: DA, TM, and DT without an offset, are of TimezoneOffsetFromUTC."""
    view.given("instances", "instance_id\n1\n2\n3")
    view.given("utc_offsets", "instance_id | utc_offset_minutes\n1 | 540")
    view.given("elements", """
        instance_id | path | tag      | vr | vm | index | text                | timestamp
        1           | ''   | 0008002A | DT | 1  | 0     | 20240102091600+0900 | 2024-01-02 00:16:00
        2           | ''   | 0008002A | DT | 1  | 0     | 20240102091600+0900 | 2024-01-02 00:16:00
        3           | ''   | 0008002A | DT | 1  | 0     | 20240102091600      | 2024-01-02 09:16:00
    """)  # fmt: skip
    local = dt.datetime(2024, 1, 2, 9, 16)  # noqa: DTZ001
    expected = [(1, local), (2, None), (3, local)]
    assert view.ask("attributes", "from attributes(['AcquisitionDateTime']) order by 1") == expected
    one = "select instance_id, timestamp from attribute('AcquisitionDateTime') order by 1"
    assert view.ask("attribute", one) == expected


@pytest.mark.parametrize(
    ("stated", "minutes"),
    [
        ("+0900", 540), ("-0330", -210), ("+1400", 840), ("-1200", -720), ("+1401", None),
        ("-1201", None), ("-1300", None), ("0900", None), ("+0960", None), ("", None),
    ],
)  # fmt: skip
def test_an_offset_is_read_as_ps3_5_writes_it(view: View, stated: str, minutes: int | None) -> None:
    answer = view.connection.execute("select utc_offset_minutes($1)", [stated]).fetchall()
    assert answer == [(minutes,)]


@pytest.mark.parametrize(
    "name", ["SliceThicknes", "", "0018005", "x'; drop table elements", 'a" from instances --']
)
@pytest.mark.parametrize("call", ["attribute({})", "attributes(['Modality', {}])"])
def test_a_name_that_is_no_keyword_is_an_error_and_never_runs(
    view: View, name: str, call: str
) -> None:
    view.given("instances", "instance_id\n1")
    view.given("elements", ROWS)
    quoted = "'" + name.replace("'", "''") + "'"
    with pytest.raises(duckdb.Error, match="neither a DICOM keyword nor a tag"):
        view.ask(call.partition("(")[0], f"from {call.format(quoted)}")
    assert view.connection.execute("select count(*) from elements").fetchall() == [(9,)]


@pytest.mark.acceptance("D29")
def test_a_private_element_is_found_in_any_block_by_its_creator(view: View) -> None:
    view.given("elements", ROWS)
    for element in ("'0x02'", "2"):
        asked = f"select instance_id, tag, integer from private('A', {element}) order by all"
        assert view.ask("private", asked) == [(1, "00191002", 7), (2, "00191102", 7)]


def test_sequence_items_are_counted_and_their_places_split(view: View) -> None:
    view.given(
        "elements",
        """
        instance_id | path                | tag      | vm | index | text
        1           | ''                  | 00080100 | 1  | 0     | no
        1           | ASequence[0]        | 00080100 | 1  | 0     | a
        1           | ASequence[10].B[0]  | 00080100 | 1  | 0     | b
        1           | X[0].ASequence[1]   | 00080100 | 1  | 0     | c
        1           | BASequence[0]       | 00080100 | 1  | 0     | no
        1           | ASequence[2].ASequence[3] | 00080100 | 1 | 0 | d
        1           | ASequence[2].ASequence[3].C[1].ASequence[0].B[4] | 00080100 | 1 | 0 | e
    """,
    )
    asked = "select sequence_path, item, inner_path, text from sequence_items('ASequence') order by text"
    assert view.ask("sequence_items", asked) == [
        ("", 0, "", "a"),
        ("", 10, "B[0]", "b"),
        ("X[0]", 1, "", "c"),
        # Items of a nested sequence are items of their own: those of the outer would have the values
        # of all that they hold (PS3.3 C.17.3.2.4: each item of a content tree has its own nodes).
        ("ASequence[2]", 3, "", "d"),
        ("ASequence[2].ASequence[3].C[1]", 0, "B[4]", "e"),
    ]


def test_columns_have_the_types_of_the_dictionary(tmp_path: Path) -> None:
    made = image(
        PatientName="Doe^Jane", StudyDate="20240102", StudyTime="1030", PatientAge="030Y",
        AcquisitionDateTime="20240102030405", ImageType=["ORIGINAL", "PRIMARY"],
        OperatorsName=["A^B", "C^D"], SmallestImagePixelValue=1,
        ReferencedStudySequence=[dataset(), dataset()], FrameIncrementPointer=0x00181063,
        RedPaletteColorLookupTableData=b"\1\2", WindowCenter="40",
    )  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(write(tmp_path / "a", made), workers=1)
    expected: dict[str, Any] = {
        "PatientName": "Doe^Jane",
        "StudyDate": dt.date(2024, 1, 2),
        "StudyTime": dt.time(10, 30),
        "PatientAge": "030Y",
        "AcquisitionDateTime": dt.datetime(2024, 1, 2, 3, 4, 5),  # noqa: DTZ001
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "OperatorsName": ["A^B", "C^D"],
        "Rows": 2,
        "SmallestImagePixelValue": 1,
        "ReferencedStudySequence": 2,
        "FrameIncrementPointer": ["00181063"],
        "RedPaletteColorLookupTableData": b"\1\2",
        "WindowCenter": [40.0],
        "EchoTime": None,
    }
    answer = wh.attributes(*expected)
    assert answer.columns == ["instance_id", *expected]
    ((_, *values),) = answer.fetchall()
    assert dict(zip(expected, values, strict=True)) == expected


def test_attributes_equal_those_of_instances(sample: warehouse.Warehouse) -> None:
    names = [
        "Modality",
        "SliceThickness",
        "PixelSpacing",
        "StudyDate",
        "SeriesNumber",
        "PatientName",
    ]
    gathered = sample.attributes(*names).fetchall()
    columns = ", ".join(["instance_id", *names])
    stored = answer_of(sample, f"select {columns} from instances")
    assert sorted(gathered, key=repr) == sorted(stored, key=repr)


def test_a_wrong_keyword_fails_as_a_question(sample: warehouse.Warehouse) -> None:
    with pytest.raises(QueryFailed, match="neither a DICOM keyword"):
        sample.attributes("Modalty").fetchall()


def test_an_attribute_reads_only_the_rows_of_its_tag(sample: warehouse.Warehouse) -> None:
    ((_, plan),) = answer_of(sample, "explain from attribute('SliceThickness')")
    assert "tag='00180050'" in plan.replace(" ", "")
