"""What ``element_values``, ``element_statistics``, ``element_conflicts`` and ``tags`` say of an archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import warehouse
from tests.asking import answer_of
from tests.dicom_files import dataset, image, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.small_tables import View


@pytest.mark.acceptance("D32")
def test_distinct_values_are_counted_by_elements_images_and_series(view: View) -> None:
    view.given(
        "instances",
        """
        instance_id | series_key | pixel_offset
        1           | s          | 9
        2           | s          |
        3           | t          | 9
    """,
    )
    view.given(
        "elements",
        """
        instance_id | path | tag      | keyword   | vr | vm | index | text
        1           | ''   | 00080008 | ImageType | CS | 2  | 0     | MOSAIC
        1           | ''   | 00080008 | ImageType | CS | 2  | 1     | MOSAIC
        2           | ''   | 00080008 | ImageType | CS | 1  | 0     | MOSAIC
        3           | ''   | 00080008 | ImageType | CS | 1  | 0     | MOSAIC
        3           | S[0] | 00080008 | ImageType | CS | 1  | 0     | OTHER
        3           | S[1] | 00080008 | ImageType | CS | 0  | 0     |
    """,
    )
    view.expect(
        "element_values",
        """
        tag      | keyword   | value  | value_count | element_count | instance_count | image_count | series_count
        00080008 | ImageType | MOSAIC | 4           | 3             | 3              | 2           | 2
        00080008 | ImageType | OTHER  | 1           | 1             | 1              | 1           | 1
    """,
    )


def test_statistics_are_typed(view: View) -> None:
    view.given(
        "elements",
        """
        instance_id | path | tag      | keyword        | vr | vm | index | text | integer | real | date
        1           | ''   | 00180050 | SliceThickness | DS | 1  | 0     | 1.0  |         | 1    |
        2           | ''   | 00180050 | SliceThickness | DS | 1  | 0     | 10   |         | 10   |
        3           | ''   | 00180050 | SliceThickness | DS | 0  | 0     |      |         |      |
        1           | ''   | 00080020 | StudyDate      | DA | 1  | 0     | x    |         |      | 2024-01-02
        1           | ''   | 00081140 | ReferencedImageSequence | SQ | 1 | 0 | | 3 | |
        1           | ''   | 00409225 | RealWorldValueSlope | FD | 1 | 0 | | | -2  |
        2           | ''   | 00409225 | RealWorldValueSlope | FD | 1 | 0 | | | nan |
    """,
    )
    view.expect(
        "element_statistics",
        """
        tag      | element_count | instance_count | distinct_count | min_real | max_real | min_date   | max_integer | max_vm | example
        00180050 | 3             | 3              | 2              | 1        | 10       |            |             | 1      | 1.0
        00080020 | 1             | 1              | 1              |          |          | 2024-01-02 |             | 1      |
        00081140 | 1             | 1              |                |          |          |            | 3           | 1      |
        00409225 | 2             | 2              | 2              | -2       | -2       |            |             | 1      | -2.0
    """,
    )


@pytest.mark.parametrize("order", [("0", "1", "-0"), ("-0", "1", "0"), ("0", "-0", "1")])
def test_zeros_and_nans_of_either_sign_are_one_value(view: View, order: tuple[str, ...]) -> None:
    reals = [*order, "nan", "-nan"]
    view.given("instances", "instance_id | series_key\n" + "\n".join(f"{n} | s" for n in range(5)))
    rows = (
        f"{n} | '' | 00189087 | DiffusionBValue | FD | 1 | 0 | {r}" for n, r in enumerate(reals)
    )
    view.given(
        "elements", "\n".join(("instance_id|path|tag|keyword|vr|vm|index|real", *rows)),
    )  # fmt: skip
    view.expect(
        "element_statistics",
        """
        tag      | element_count | distinct_count | min_real | max_real | example
        00189087 | 5             | 3              | 0        | 1        | 0.0
        """,
    )
    view.expect(
        "element_values",
        """
        tag      | value | value_count
        00189087 | 0.0   | 2
        00189087 | 1.0   | 1
        00189087 | nan   | 2
        """,
    )


@pytest.mark.parametrize("name", ["element_statistics", "element_definitions"])
def test_an_instance_counts_once_however_many_items_repeat_an_element(
    view: View, name: str
) -> None:
    view.given("instances", "instance_id | series_key\n1 | s\n2 | s\n3 | t\n4 |")
    view.given(
        "elements",
        """
        instance_id | path      | tag      | creator | vr | vm | index | text
        1           | ''        | 00080060 |         | CS | 2  | 0     | CT
        1           | ''        | 00080060 |         | CS | 2  | 1     | MR
        1           | S[0]      | 00080060 |         | CS | 1  | 0     | CT
        2           | S[0]      | 00080060 |         | CS | 1  | 0     | CT
        2           | S[1]      | 00080060 |         | CS | 1  | 0     | CT
        3           | S[1].T[0] | 00080060 |         | CS | 0  | 0     |
        4           | ''        | 00080060 |         | CS | 1  | 0     | CT
        1           | ''        | 00191001 | A       | LO | 1  | 0     | a
        2           | ''        | 00191001 | B       | LO | 1  | 0     | b
        3           | S[0]      | 00191001 |         | LO | 1  | 0     | c
        3           | S[1]      | 00191001 |         | LO | 1  | 0     | c
        """,
    )
    view.expect(
        name,
        """
        tag      | creator | vr | element_count | instance_count
        00080060 |         | CS | 6             | 4
        00191001 | A       | LO | 1             | 1
        00191001 | B       | LO | 1             | 1
        00191001 |         | LO | 2             | 1
        """,
    )
    if name == "element_definitions":
        view.expect(
            name,
            """
            tag      | creator | value_count | empty_count | series_count
            00080060 |         | 6           | 1           | 2
            00191001 | A       | 1           | 0           | 1
            00191001 | B       | 1           | 0           | 1
            00191001 |         | 2           | 0           | 1
            """,
        )


@pytest.mark.acceptance("D31")
def test_a_vr_conflict_is_one_element_whatever_its_block(view: View) -> None:
    view.given(
        "element_definitions",
        """
        tag      | keyword | creator | vr | is_private | element_count
        00191002 |         | A       | SL | true       | 1
        00191102 |         | A       | UN | true       | 5
        00191002 |         | B       | DS | true       | 1
        00280106 | Small   |         | US | false      | 2
        00280106 | Small   |         | SS | false      | 3
        00080060 | Modal   |         | CS | false      | 3
        00080061 | Modals  |         | CS | false      | 3
        00080061 | Modals  |         | LO | false      | 3
        00280010 | Rows    |         | US | false      | 2
        00280010 | Rows    |         | SS | false      | 1
        00283006 | LUTData |         | OW | false      | 2
        00283006 | LUTData |         | US | false      | 1
        60003000 |         |         | OW | false      | 2
        60003000 |         |         | OB | false      | 1
        00420011 | Doc     |         | OB | false      | 2
        00420011 | Doc     |         | OW | false      | 1
    """,
    )
    view.expect(
        "element_conflicts",
        """
        element  | keyword | creator | vrs      | element_counts | is_allowed
        0019xx02 |         | A       | [UN, SL] | [5, 1]         | false
        00280106 | Small   |         | [SS, US] | [3, 2]         | true
        00080061 | Modals  |         | [CS, LO] | [3, 3]         | false
        00280010 | Rows    |         | [US, SS] | [2, 1]         | false
        00283006 | LUTData |         | [OW, US] | [2, 1]         | true
        60003000 |         |         | [OW, OB] | [2, 1]         | true
        00420011 | Doc     |         | [OB, OW] | [2, 1]         | false
    """,
    )


SECRET = "SECRET"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """An instance that tells a secret wherever it can."""
    folder: Path = tmp_path_factory.mktemp("archive")
    made = image(
        PatientName=SECRET, PatientID=SECRET, PatientComments=SECRET, OtherPatientIDs=SECRET,
        AccessionNumber=SECRET, ReferringPhysicianName=SECRET, OperatorsName=SECRET,
        InstitutionName=SECRET, StudyDescription=SECRET, SeriesDescription=SECRET,
        ImageComments=SECRET, RequestedProcedureDescription=SECRET, StationName=SECRET,
        EthnicGroup=SECRET, MilitaryRank=SECRET, DeviceSerialNumber=SECRET,
        PatientTelephoneNumbers=SECRET, CountryOfResidence=SECRET, RetrieveAETitle=SECRET,
        ReferencedFileID=SECRET, ContactDisplayName=SECRET, HangingProtocolCreator=SECRET,
        FillerOrderNumberProcedure=SECRET, DoseComment=SECRET, DeviceID=SECRET,
        LensDescription=SECRET, CreatorVersionUID="1.1", VolumeFrameOfReferenceUID="1.2.1",
        ContextUID="1.2.840.10008.6.1.1", ConvolutionKernel="STANDARD", SliceThickness="1.5",
        RequestAttributesSequence=[dataset(CodeMeaning=SECRET, CodeValue=SECRET)],
        AnatomicRegionSequence=[dataset(CodeValue="T-A0100")],
    )  # fmt: skip
    made.private_block(0x0029, SECRET, create=True).add_new(0x01, "LO", SECRET)
    made.private_block(0x0029, "GEMS_ACQU_01", create=True).add_new(0x02, "LO", SECRET)
    inner = dataset(Manufacturer=SECRET)
    made.private_block(0x0031, "A", create=True).add_new(0x01, "SQ", [inner])
    made.add_new(0x00189999, "LO", SECRET)
    made.add_new(0x60004000, "LT", SECRET)
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(write(folder / "a", made), mode="full", workers=1)
    return wh


def test_no_example_identifies_a_person(archive: warehouse.Warehouse) -> None:
    rows = archive.tags().fetchall()
    assert len(rows) > 40
    for row in rows:
        assert row[-1] is None or SECRET not in row[-1], row[:3]
        assert row[-1] not in {"1.1", "1.2.1", "1.2.1.1"}, row[:3]
    assert answer_of(archive, "select count(*) from elements where text like '%SECRET%'") > [(20,)]


def test_elements_that_name_nobody_have_an_example(archive: warehouse.Warehouse) -> None:
    shown = {row[1]: row[-1] for row in archive.tags().fetchall() if row[-1]}
    wanted = {
        "Modality": "CT",
        "ConvolutionKernel": "STANDARD",
        "SliceThickness": "1.5",
        "Rows": "2",
    }
    assert wanted.items() <= shown.items()
    assert shown["CodeValue"] == "T-A0100", "from the sequence that is not withheld"
    assert shown["SOPClassUID"] == "1.2.840.10008.5.1.4.1.1.2"
    assert shown["ContextUID"] == "1.2.840.10008.6.1.1"


def test_tags_are_found(archive: warehouse.Warehouse) -> None:
    def found(**options: object) -> list[str]:
        return [row[0] for row in archive.tags(**options).fetchall()]  # type: ignore[arg-type]

    assert found(like="gems", private=True) == ["00291102"]
    assert found(like="' or true --") == []


@pytest.mark.long("test_tags_are_found")
def test_tags_are_found_by_keyword_tag_name_and_creator(archive: warehouse.Warehouse) -> None:
    def found(**options: object) -> list[str]:
        return [row[0] for row in archive.tags(**options).fetchall()]  # type: ignore[arg-type]

    assert found(like="KERNEL") == found(like="00181210") == ["00181210"]
    assert found(like="gems") == ["00291102"]
    assert "00291001" in found(private=True)
    assert all(int(tag[3], 16) % 2 for tag in found(private=True))
    assert found(like="' or true --") == []
    assert len(found()) > len(found(private=True)) > 3


def test_every_element_of_an_archive_is_listed(sample: warehouse.Warehouse) -> None:
    listed = answer_of(sample, "select count(*), sum(element_count) from tags")
    defined = answer_of(sample, "select count(*), sum(element_count) from element_definitions")
    assert listed == defined
