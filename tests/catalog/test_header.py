"""Reading a header back: whole, by key, by search, and as what other tools expect."""

from __future__ import annotations

import datetime as dt
import json
import logging
import struct
import warnings
from typing import TYPE_CHECKING, Any

import polars as pl
import pydicom
import pytest
from pydicom.dataset import Dataset

import warehouse
from tests.command_line import run
from tests.conftest import PACKAGED, packaged_files
from tests.dicom_files import dataset, element, image, item, part10, sequence, write
from tests.forms import few_alike, some
from warehouse.dicom.element import PIXEL_TAGS
from warehouse.errors import InstanceNotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOT_CONVERTED = {"badVR.dcm": "pydicom raises: a value of VR IS is no number"}
"""Files of pydicom's package for which its own JSON does not exist."""


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    logging.getLogger("pydicom").disabled = True
    yield
    logging.getLogger("pydicom").disabled = False


def model_of_pydicom(path: Path) -> dict[str, Any]:
    """Return pydicom's JSON, pixel data as references, in plain types."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pydicom.dcmread(path, force=True).to_json_dict()
    return without_pixels(json.loads(json.dumps(data)))


def without_pixels(model: dict[str, Any]) -> dict[str, Any]:
    for tag in PIXEL_TAGS & set(model):
        model[tag] = {"vr": model[tag]["vr"]}
    return model


def without_padding(value: Any) -> Any:
    """Remove trailing spaces, insignificant in CS and UI, that pydicom leaves before a backslash.

    And write what is empty as PS3.18 F.2.2 and F.2.5 have it, where pydicom has an empty text, an
    empty Alphabetic group and an empty list.
    """
    if isinstance(value, dict):
        found = {key: without_padding(inner) for key, inner in value.items()}
        if set(found) <= {"Alphabetic", "Ideographic", "Phonetic"} and found:
            return {key: inner for key, inner in found.items() if inner != NULL} or NULL
        if value.get("vr") == "SQ" and value.get("Value") == []:
            del found["Value"]
        return found
    if isinstance(value, list):
        return [without_padding(inner) for inner in value]
    if isinstance(value, str):
        return value.rstrip("\0 ") or NULL
    return repr(value)


NULL = repr(None)


def strictly(text: str) -> Any:
    """Parse JSON as RFC 8259 has it: Python's own reader takes NaN and Infinity too."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_model_is_json_for_values_that_json_writers_trip_over(tmp_path: Path) -> None:
    """PS3.18 F.2.2, F.2.5; https://github.com/fo-dicom/fo-dicom/issues/1063 (NaN).

    And https://github.com/pydicom/pydicom/issues/1693, https://github.com/fo-dicom/fo-dicom/issues/873.
    """
    path = tmp_path / "a"
    nan, inf = struct.pack("<d", float("nan")), struct.pack("<d", float("-inf"))
    path.write_bytes(
        part10(
            element(0x00080005, "CS", b"ISO_IR 192"),
            element(0x00080008, "CS", b"ORIGINAL\\\\AXIAL "),
            element(0x00081060, "PN", "=王^小東".encode()),
            element(0x00081070, "PN", b"A^B\\\\C^D"),
            element(0x00081110, "SQ", b""),
            element(0x00082111, "ST", b""),
            element(0x00180050, "DS", b"@ "),
            element(0x00189073, "FD", nan),
            element(0x00189087, "FD", struct.pack("<d", 1.5) + inf),
            element(0x00280030, "DS", b"0.50\\\\1E-2 "),
            element(0x00720082, "SV", struct.pack("<q", -(2**62) - 1)),
        )
    )
    model = strictly(warehouse.header(path).to_json())
    assert {tag: found.get("Value") for tag, found in model.items()} == {
        "00080005": ["ISO_IR 192"],
        "00080008": ["ORIGINAL", None, "AXIAL"],
        "00080018": ["1.1"],
        "00081060": [{"Ideographic": "王^小東"}],
        "00081070": [{"Alphabetic": "A^B"}, None, {"Alphabetic": "C^D"}],
        "00081110": None,
        "00082111": None,
        "00180050": ["@"],
        "00189073": [None],
        "00189087": [1.5, None],
        "00280030": [0.5, None, 0.01],
        "00720082": [-(2**62) - 1],
    }
    assert all("Value" in found or set(found) == {"vr"} for found in model.values())
    done = run("header", path, "--format", "json")
    assert (done.returncode, strictly(done.stdout)) == (0, model)


def test_answers_are_json_whatever_lies_in_lists_structs_and_maps(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a")
    warehouse.open(tmp_path / "w", create=True).ingest(tmp_path / "in", workers=1)
    question = """
        select 'nan'::double as a, [1.5, 'inf'::double] as b, [['nan'::float]] as c, null as d,
            {'x y': '-inf'::double, 'z': [{'q': 'nan'::double}]} as e, map {'k': 'inf'::double} as f,
            to_json('nan'::double) as g, '{"n": "nan"}'::json as h, array_value('nan'::double, 2) as i
    """
    done = run("sql", question, "-w", tmp_path / "w", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert strictly(done.stdout) == [
        {
            "a": None, "b": [1.5, None], "c": [[None]], "d": None,
            "e": {"x y": None, "z": [{"q": None}]}, "f": {"k": None},
            "g": "NaN", "h": '{"n": "nan"}', "i": [None, 2.0],
        }
    ]  # fmt: skip


def is_that_of_pydicom(path: Path) -> bool:
    """Hold the JSON model of a file equal to pydicom's; return whether pydicom has one."""
    ours = warehouse.header(path).to_json_dict()
    try:
        theirs = model_of_pydicom(path)
    except Exception:  # noqa: BLE001 - whatever it is, there is nothing to compare with
        return False
    ours = without_pixels(json.loads(json.dumps(ours)))
    assert list(ours) == sorted(ours)
    # What is equal is so without its padding too, and to take it away takes as long as to read.
    assert ours == theirs or without_padding(ours) == without_padding(theirs), path.name
    return True


def test_the_json_model_of_some_files_is_that_of_pydicom() -> None:
    """One each of nested items, private ones, other byte orders, character sets and no preamble."""
    names = (
        "CT_small.dcm", "MR_small_bigendian.dcm", "UN_sequence.dcm", "nested_priv_SQ.dcm", "reportsi.dcm",
        "ExplVR_BigEndNoMeta.dcm", "test-SR.dcm", "empty_charset_LEI.dcm", "MR_small_RLE.dcm",
    )  # fmt: skip
    for name in names:
        assert is_that_of_pydicom(PACKAGED["pydicom"] / "test_files" / name), name


@pytest.mark.long("test_the_json_model_of_some_files_is_that_of_pydicom")
@pytest.mark.parametrize("alike", some([2, 1000], always=[2]))
def test_the_json_model_of_every_packaged_file_is_that_of_pydicom(alike: int) -> None:
    """Of files of one size in one folder, slices of one series, some are enough but for the soak."""
    compared = 0
    raised = set()
    for path in few_alike(packaged_files(), alike):
        try:
            is_compared = is_that_of_pydicom(path)
        except UsageError:
            continue
        if is_compared:
            compared += 1
        else:
            raised.add(path.name)
    assert raised >= set(NOT_CONVERTED)
    assert compared > (130 if alike == 2 else 150)


def test_group_lengths_stay_in_the_json_model_as_in_that_of_pydicom(tmp_path: Path) -> None:
    inner = element(0x00080000, "UL", b"\x0a\0\0\0") + element(0x00080100, "SH", b"X ")
    path = tmp_path / "a"
    path.write_bytes(
        part10(element(0x00100000, "UL", b"\x0a\0\0\0"), sequence(0x00101002, item(inner)))
    )
    ours = warehouse.header(path).to_json_dict()
    assert {"00100000", "00101002"} < set(ours)
    assert "00080000" in ours["00101002"]["Value"][0]
    assert ours == model_of_pydicom(path)


@pytest.mark.parametrize(
    "every",
    [
        60,
        pytest.param(
            7,
            marks=pytest.mark.long("test_the_header_of_a_stored_instance_is_that_of_its_file"),
        ),
    ],
)
def test_the_header_of_a_stored_instance_is_that_of_its_file(
    sample: warehouse.Warehouse, every: int
) -> None:
    stored = sample.sql(
        "select file_path from files where status = 'ingested' and file_path not like '%.zip!%' order by file_path"
    ).fetchall()
    assert len(stored) > 100
    for (path,) in stored[::every]:
        assert sample.header(path) == warehouse.header(path), path
        assert sample.header(path).to_json() == warehouse.header(path).to_json()


def test_the_json_of_a_header_is_a_data_set_again(tmp_path: Path) -> None:
    made = image(
        PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう", SpecificCharacterSet="ISO_IR 192",
        ImagePositionPatient=[1.5, -2, 3], FrameIncrementPointer=0x00181063,
        ICCProfile=bytes(range(256)) * 4,
        ReferencedStudySequence=[dataset(ReferencedSOPInstanceUID="1.9")],
    )  # fmt: skip
    header = warehouse.header(write(tmp_path / "a", made))
    again = Dataset.from_json(header.to_json(), lambda *_: b"\1\2\3\4")
    for one in again:
        assert one == made[one.tag], one.tag
    assert len(again) == len(made)


def test_long_binary_values_are_inline_only_if_they_were_kept(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a", ICCProfile=bytes(1000), RedPaletteColorLookupTableData=bytes(10))
    for keep, kind in ((True, "InlineBinary"), (False, "BulkDataURI")):
        wh = warehouse.open(tmp_path / str(keep), create=True)
        wh.ingest(tmp_path / "in", workers=1, keep_blobs=keep)
        model = wh.header("1.1").to_json_dict()
        assert set(model["00282000"]) == {"vr", kind}
        assert set(model["00281201"]) == {"vr", "InlineBinary"}
        assert "offset=" in model["7FE00010"]["BulkDataURI"]
    assert model["00282000"]["BulkDataURI"].startswith("urn:sha256:")


@pytest.fixture
def header(tmp_path: Path) -> warehouse.Header:
    made = image(
        StudyDate="20240102", StudyTime="1030", AcquisitionDateTime="20240102030405",
        SliceThickness="1.50", PatientAge="030Y", SeriesNumber="007", ImageType=["ORIGINAL", "M"],
        AccessionNumber="", SeriesDate="someday", DateOfSecondaryCapture="20240103",
        ReferencedStudySequence=[dataset(ReferencedSOPInstanceUID="1.9")],
        ReferencedImageSequence=[],
    )  # fmt: skip
    made.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", b"ab")
    made.private_block(0x0031, "NOBODY", create=True).add_new(0x01, "LO", "kept")
    return warehouse.header(write(tmp_path / "x", made))


@pytest.mark.acceptance("D35")
@pytest.mark.parametrize(
    "key",
    [
        "SliceThickness", "00180050", "(0018,0050)", "0018,0050", 0x00180050, (0x0018, 0x0050),
        ("0018", "0050"),
    ],
)  # fmt: skip
def test_a_value_is_had_by_keyword_and_by_every_spelling_of_its_tag(
    header: warehouse.Header, key: Any
) -> None:
    assert header.get(key) == header[key] == 1.5
    assert key in header


@pytest.mark.acceptance("D35")
@pytest.mark.parametrize(
    ("key", "typed", "raw"),
    [
        ("StudyDate", dt.date(2024, 1, 2), "20240102"),
        ("StudyTime", dt.time(10, 30), "1030"),
        ("AcquisitionDateTime", dt.datetime(2024, 1, 2, 3, 4, 5), "20240102030405"),  # noqa: DTZ001
        ("SliceThickness", 1.5, "1.50"),
        ("SeriesNumber", 7, "007"),
        ("PatientAge", "030Y", "030Y"),
        ("ImageType", ["ORIGINAL", "M"], ["ORIGINAL", "M"]),
        ("PatientName", "Doe^Jane", "Doe^Jane"),
        ("SeriesDate", "someday", "someday"),
        ("Rows", 2, 2),
        ("00291010", b"ab", b"ab"),
        (
            "ReferencedStudySequence",
            [{"ReferencedSOPInstanceUID": "1.9"}],
            [{"ReferencedSOPInstanceUID": "1.9"}],
        ),
    ],
)
def test_values_are_typed_unless_asked_as_written(
    header: warehouse.Header, key: str, typed: Any, raw: Any
) -> None:
    assert header.get(key) == typed
    assert header.get(key, parsed=False) == raw


def test_a_date_time_with_an_offset_says_that_it_is_in_utc(tmp_path: Path) -> None:
    path = write(tmp_path / "a", AcquisitionDateTime="20240102091600+0900")
    at = warehouse.header(path)["AcquisitionDateTime"]
    assert at == dt.datetime(2024, 1, 2, 0, 16, tzinfo=dt.UTC)


@pytest.mark.parametrize("written", ["00010101000000+0100", "99991231235959-1200"])
def test_a_date_time_beyond_the_calendar_is_a_text(
    ingest: Callable[..., Any], tmp_path: Path, written: str
) -> None:
    """The first is what .NET writes where it has no date."""
    path = write(tmp_path / "in" / "a", AcquisitionDateTime=written)
    ingest()
    for header in (warehouse.header(path), ingest.warehouse.header("1.1")):  # type: ignore[attr-defined]
        assert header["AcquisitionDateTime"] == written


@pytest.mark.acceptance("D35")
def test_a_missing_element_is_the_default_or_a_key_error(header: warehouse.Header) -> None:
    for key in (
        "EchoTime", "00180081", 0x00180081, "no keyword", "ReferencedStudySequence[5].X", ("zz", 1),
    ):  # fmt: skip
        assert header.get(key) is None
        assert header.get(key, "default") == "default"
        assert key not in header
        with pytest.raises(KeyError):
            header[key]
    assert header.get("AccessionNumber", "none") == "none", "an empty one gives the default too"
    assert header["AccessionNumber"] is None, "but is not missing"


@pytest.mark.acceptance("D35")
def test_several_are_asked_at_once(header: warehouse.Header) -> None:
    assert header.get(["Rows", 0x00180050, "EchoTime"], 0) == {
        "Rows": 2, 0x00180050: 1.5, "EchoTime": 0,
    }  # fmt: skip
    assert header[["Rows", "Columns"]] == {"Rows": 2, "Columns": 2}
    with pytest.raises(KeyError):
        header[["Rows", "EchoTime"]]
    with pytest.raises(KeyError):
        header[[]]


def test_an_element_of_an_item_is_had_by_its_path(header: warehouse.Header) -> None:
    assert header["ReferencedStudySequence[0].ReferencedSOPInstanceUID"] == "1.9"
    assert header["00081110[0].00081155"] == "1.9"


def test_a_private_element_is_had_by_its_dictionary_name(header: warehouse.Header) -> None:
    assert header["CSAImageHeaderInfo"] == b"ab"
    assert header["00311001"] == "kept"
    assert header.element("00311001").is_private


@pytest.mark.acceptance("D34")
def test_search_finds_parts_of_keywords_without_case(header: warehouse.Header) -> None:
    def names(text: str, *, exact: bool = False) -> list[str | None]:
        return [e.keyword for e in header.search(text, exact=exact)]

    assert names("time") == ["AcquisitionDateTime", "StudyTime"]
    assert names("DATE") == [
        "StudyDate",
        "SeriesDate",
        "AcquisitionDateTime",
        "DateOfSecondaryCapture",
    ]
    assert names("DATE", exact=True) == []
    assert names("Date", exact=True) == names("date")
    assert [e.tag for e in header.search("csaimage")] == ["00291010"]


def test_a_dictionary_loses_no_element(sample: warehouse.Warehouse) -> None:
    for (path,) in sample.sql("select file_path from instances order by file_path").fetchall()[
        ::11
    ]:
        found = sample.header(path)
        assert len(found.to_dict()) == len(found.elements)


@pytest.mark.acceptance("D33")
def test_the_frame_has_a_row_per_element_at_its_place(header: warehouse.Header) -> None:
    frame = header.frame()
    assert frame.schema == {
        "Tag": pl.String, "Keyword": pl.String, "VR": pl.String, "VM": pl.Int64, "Value": pl.String,
    }  # fmt: skip
    rows = {row[0]: row[1:] for row in frame.rows()}
    assert rows["00080008"] == ("ImageType", "CS", 2, "ORIGINAL\\M")
    assert rows["00081110"] == ("ReferencedStudySequence", "SQ", 1, "1 item")
    assert rows["00081110[0].00081155"] == ("ReferencedSOPInstanceUID", "UI", 1, "1.9")
    assert rows["00290010"][0] == "[private creator]"
    assert rows["00291010"] == ("[CSA Image Header Info]", "OB", 1, "<2 bytes>")
    assert frame.height == len(list(header.walk()))


@pytest.mark.acceptance("D28")
def test_items_are_found_at_any_depth(ingest: Callable[..., Any], tmp_path: Path) -> None:
    inner: dict[str, Any] = {"CodeValue": "deep"}
    for _ in range(4):
        inner = {"ContentSequence": [dataset(**inner), dataset(CodeValue="beside")]}
    write(tmp_path / "in" / "a", **inner)
    ingest()
    wh = ingest.warehouse  # type: ignore[attr-defined]
    place = ".".join(["ContentSequence[0]"] * 4)
    assert wh.header("1.1")[f"{place}.CodeValue"] == "deep"
    answer = wh.sql(f"select text from elements where path = '{place}' and keyword = 'CodeValue'")
    assert answer.fetchall() == [("deep",)]


@pytest.mark.acceptance("D26")
def test_numbers_of_64_bits_come_back_exact(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(part10(element(0x0008040C, "UV", b"\xff" * 8)))
    found = warehouse.header(tmp_path / "a")
    assert found["0008040C"] == (1 << 64) - 1
    assert found.to_json_dict()["0008040C"]["Value"] == [(1 << 64) - 1]


def test_what_is_not_there_is_named_not_traced(sample: warehouse.Warehouse, tmp_path: Path) -> None:
    with pytest.raises(InstanceNotFound):
        sample.header("9.9.9")
    with pytest.raises(UsageError, match="no such file"):
        warehouse.header(tmp_path / "missing")
