"""The reference reader against an independent walk over what pydicom makes of the same file.

The walk uses nothing of ours: values, VR and VM as pydicom converts them.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
import time
import warnings
import zlib
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.valuerep import DA, DT, TM, PersonName

from tests.conftest import packaged_files
from tests.dicom_files import UNDEFINED, dataset, element, image, item, part10, sequence, write
from tests.forms import few_alike
from tests.row_builder import RowBuilder
from warehouse.dicom.element import MAX_DEPTH, Header
from warehouse.dicom.reference import read_header, read_header_from
from warehouse.dicom.scan import SourceFile
from warehouse.elements.extract import extract
from warehouse.elements.values import person_name_text
from warehouse.errors import Rejected
from warehouse.settings import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
BINARY = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}
TEXT = {"AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
CONVERTED = {"DA": DA, "TM": TM, "DT": DT}


def rows_of(path: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the rows that the reference reader makes of a file, by path and tag."""
    header = read_header(SourceFile(str(path), path.stat().st_size, 0))
    builder = RowBuilder()
    builder.add(1, header.elements)
    found = defaultdict(list)
    for row in builder.take()[0].to_pylist():
        found[row["path"], row["tag"]].append(row)
    return found


def walk(dataset: pydicom.Dataset, path: str = "") -> Iterator[tuple[str, DataElement]]:
    for element in dataset:
        yield path, element
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                step = f"{keyword_for_tag(element.tag) or f'{element.tag:08X}'}[{number}]"
                yield from walk(item, f"{path}.{step}" if path else step)


def walked(path: Path) -> dict[tuple[str, str], DataElement]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        found = [*walk(dataset.file_meta), *walk(dataset)]
    return {(where, f"{element.tag:08X}"): element for where, element in found}


FEW = set(few_alike(packaged_files(), 3))
FILES = [
    pytest.param(
        path, id="/".join(path.parts[-4:]), marks=() if path in FEW else (pytest.mark.slow,)
    )
    for path in packaged_files()
]
"""Three slices of a series say what all say, which the slow form reads."""


@pytest.mark.acceptance("D3")
@pytest.mark.parametrize("path", FILES)
def test_rows_equal_an_independent_walk(path: Path) -> None:
    if path.name in REJECTED:
        with pytest.raises(Rejected):
            rows_of(path)
    else:
        agree(path)


def agree(path: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Compare all rows of a file with pydicom's walk; return the rows."""
    rows = rows_of(path)
    elements = walked(path)
    assert rows.keys() == elements.keys()
    for place, element in elements.items():
        compare(rows[place], element, top=place[0] == "")
    return rows


REJECTED = {
    "no_meta.dcm": "no prefix, and its first tag was overwritten: (2008,0005) is no element to begin with",
    "rtplan_truncated.dcm": "ends inside (300A,00B0); pydicom drops the sequence with a warning",
}

ACR_TIMES = {"11:11:11.111", "14:04:38"}
"""Times as ACR-NEMA wrote them, which pydicom's TM refuses and we read, with a warning."""


def compare(rows: list[dict[str, Any]], element: DataElement, *, top: bool) -> None:
    first = rows[0]
    assert {row["vm"] for row in rows} == {first["vm"]}
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert first["vr"] == element.VR
    assert first["keyword"] == (keyword_for_tag(element.tag) or None)
    if top and element.tag in PIXELS:
        written = element.value if isinstance(element.value, bytes) else b""
        assert first["bytes"] is None
        delimiter = 8 if element.is_undefined_length else 0
        assert first["length"] == (len(written) + delimiter or None)
        return
    if element.VR == "SQ":
        assert first["vm"] == min(1, len(element.value))
        assert first["integer"] == (len(element.value) or None)
        return
    values = values_of(element)
    assert first["vm"] == len(values)
    assert len(rows) == max(1, len(values))
    for row, value in zip(rows, values, strict=False):
        compare_value(row, element.VR, value)


def values_of(element: DataElement) -> list[Any]:
    value = element.value
    if value is None or (
        element.VR != "PN" and isinstance(value, str | bytes) and not trimmed(value)
    ):
        return []
    if isinstance(value, MultiValue | list):
        return list(value)
    if element.VR == "PN" and not trimmed(str(value)):
        return []
    return [value]


def trimmed(value: str | bytes) -> str | bytes:
    return value.rstrip("\0 ") if isinstance(value, str) else value


def compare_value(row: dict[str, Any], vr: str, value: Any) -> None:
    if vr in BINARY:
        assert row["length"] == len(value)
        assert row["sha256"] == hashlib.sha256(value).hexdigest()
        assert row["bytes"] == (value if len(value) <= 256 else None)
    elif vr == "PN":
        assert isinstance(value, PersonName)
        # pydicom drops the delimiters of empty groups at the end, we keep them as written.
        assert person_name_text(row["text"] or "{}").rstrip("= ") == str(value).rstrip("\0 ")
    elif vr in TEXT:
        assert row["text"] == str(value).rstrip("\0 ")
        if vr in CONVERTED and value:
            compare_moment(row, vr, str(value))
    elif vr == "DS":
        if value in ("", None):
            assert row["real"] is None
        else:
            assert row["real"] == float(value)
            assert row["text"] == str(getattr(value, "original_string", value)).strip()
    elif vr == "IS":
        if isinstance(value, int):
            assert row["integer"] == value
        else:
            # pydicom hands out the text of what is no integer.
            assert row["text"] == str(value or "").strip()
            assert row["integer"] is None
            assert bool(row["warning"]) == bool(value)
    elif vr in {"FL", "FD"}:
        assert row["real"] == value or (math.isnan(row["real"]) and math.isnan(value))
    else:
        assert row["integer"] == int(value)
        if vr == "AT":
            assert row["text"] == f"{int(value):08X}"


def compare_moment(row: dict[str, Any], vr: str, text: str) -> None:
    """Dates and times mean what pydicom's classes read, wherever these can."""
    if text in ACR_TIMES:
        assert row["time_us"] is not None
        assert row["warning"]
        return
    try:
        value = CONVERTED[vr](text)
    except ValueError:
        assert row["date"] is row["time_us"] is row["timestamp"] is None
        assert row["warning"]
        return
    if vr == "DA":
        assert row["date"] == value
    elif vr == "TM":
        seconds = (value.hour * 60 + value.minute) * 60 + value.second
        assert row["time_us"] == seconds * 1_000_000 + value.microsecond
    else:
        utc = value - value.utcoffset() if value.utcoffset() else value
        assert row["timestamp"] == utc.replace(tzinfo=None)


# -- what files are made of ----------------------------------------------------------------------


def read(content: bytes) -> Header:
    return read_header_from(io.BytesIO(content))


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "big", "deflated"])
def test_every_transfer_syntax_gives_the_same_rows(tmp_path: Path, syntax: str) -> None:
    content = image(
        ImageType=["ORIGINAL", "PRIMARY"], SliceThickness="1.50", FrameIncrementPointer=[0x00181063],
        RequestAttributesSequence=[dataset(ScheduledProcedureStepID="1"), dataset()],
    )  # fmt: skip
    content.add_new(0x00287FE0, "UR", "http://example.org/a\\b")
    content.add_new(0x00720082, "SV", -5)
    path = write(tmp_path / "a.dcm", content, syntax)
    rows = agree(path)
    expected = rows_of(write(tmp_path / "b.dcm", content, "explicit"))
    for place in rows.keys() - {("", "00020000"), ("", "00020010"), ("", "7FE00010")}:
        assert rows[place] == expected[place]
    assert rows.keys() == expected.keys()


def test_elements_after_the_pixel_data_are_rows_and_pixels_are_not(tmp_path: Path) -> None:
    content = image(PixelData=b"\7" * 1000)
    content.add_new(0xFFFCFFFC, "OB", b"pad!")
    path = write(tmp_path / "a.dcm", content)
    rows = agree(path)
    assert rows["", "FFFCFFFC"][0]["bytes"] == b"pad!"
    header = read_header(SourceFile(str(path), None, None))
    assert header.pixels is not None
    place = header.pixels
    assert path.read_bytes()[place.offset : place.offset + place.length] == b"\7" * 1000
    assert not any(e.raw and b"\7" * 10 in e.raw for e in header.elements)


def test_encapsulated_pixels_are_placed_from_the_first_item_to_the_delimiter() -> None:
    items = item(b"") + item(b"JPEG" * 5)
    end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    content = part10(
        element(0x7FE00010, "OB", items + end, length=UNDEFINED), element(0xFFFCFFFC, "OB", b"pp"),
        syntax="1.2.840.10008.1.2.4.50",
    )  # fmt: skip
    header = read(content)
    assert header.pixels is not None
    assert header.pixels.encapsulated
    assert content[header.pixels.offset :][: header.pixels.length] == items + end
    assert header.elements[-2:][0].tag == "FFFCFFFC" or header.elements[-1].tag == "7FE00010"
    assert {e.tag for e in header.elements} >= {"FFFCFFFC", "7FE00010"}
    assert header.note is None


@pytest.mark.parametrize(
    ("tag", "vr"), [(0x7FE00008, "OF"), (0x7FE00009, "OD"), (0x7FE00010, "OW")]
)
def test_every_kind_of_pixel_data_is_passed_over(tag: int, vr: str) -> None:
    header = read(part10(element(tag, vr, bytes(16))))
    assert header.pixels is not None
    assert header.pixels.length == 16
    assert header.elements[-1].raw is None


def test_pixel_data_longer_than_the_file_leave_the_header_and_a_note() -> None:
    content = part10(element(0x7FE00010, "OW", b"1234", length=4000))
    header = read(content)
    assert header.note == "pixel data end early: 4 of 4000 bytes are there"
    assert header.pixels is not None
    assert content[header.pixels.offset :] == b"1234"
    assert "1.1" in [e.raw.decode().rstrip("\0") for e in header.elements if e.raw]


def test_encapsulated_pixel_data_without_end_leave_a_note() -> None:
    header = read(part10(element(0x7FE00010, "OB", item(b"JPEG"), length=UNDEFINED)))
    assert header.note == "encapsulated pixel data end early: no sequence delimiter"


@pytest.mark.parametrize("tail", [b"\0", b"\n", b"stray", b"\0" * 7])
def test_bytes_behind_the_pixel_data_cost_no_image(tmp_path: Path, tail: bytes) -> None:
    """As in pydicom, whose walk has the same elements."""
    content = part10(element(0x00080060, "CS", b"CT"), element(0x7FE00010, "OB", b"1234"))
    path = tmp_path / "a.dcm"
    path.write_bytes(content + tail)
    agree(path)
    header = read(content + tail)
    what, are = ("1 byte", "is") if len(tail) == 1 else (f"{len(tail)} bytes", "are")
    assert header.note == f"{what} after byte {len(content)} {are} no data elements"
    assert header.pixels is not None
    assert header.pixels.length == 4


@pytest.mark.parametrize("count", range(1, 10))
def test_zeros_behind_the_last_element_are_padding(count: int) -> None:
    content = part10(element(0x00080060, "CS", b"SR"))
    assert f" after byte {len(content)} " in (read(content + bytes(count)).note or "")
    with pytest.raises(Rejected, match="cut off"):
        read(content + b"\x10\0" + bytes(count)[:5])


def test_of_repeated_elements_the_last_is_kept_and_of_meta_that_at_its_place(
    tmp_path: Path,
) -> None:
    """As pydicom keeps them, so that no place has two values."""
    path = tmp_path / "a.dcm"
    path.write_bytes(part10(
        element(0x00080060, "CS", b"CT"),
        element(0x00020010, "UI", b"1.2.840.10008.1.2\0"),
        element(0x00080060, "CS", b"MR"),
        element(0x7FE00010, "OB", b"12"), element(0x7FE00010, "OB", b"1234"),
    ))  # fmt: skip
    rows = rows_of(path)
    kept = {tag: rows["", tag] for tag in ("00020010", "00080060", "7FE00010")}
    assert [len(some) for some in kept.values()] == [1, 1, 1]
    assert kept["00020010"][0]["text"] == "1.2.840.10008.1.2.1"
    assert kept["00080060"][0]["text"] == "MR"
    header = read(path.read_bytes())
    assert header.pixels is not None
    assert kept["7FE00010"][0]["length"] == header.pixels.length == 4


def test_pixel_data_inside_a_sequence_are_an_ordinary_value(tmp_path: Path) -> None:
    icon = dataset(Rows=1, Columns=4, BitsAllocated=8, PixelRepresentation=0)
    icon.add_new(0x7FE00010, "OB", b"icon")
    rows = agree(write(tmp_path / "a.dcm", IconImageSequence=[icon]))
    assert rows["IconImageSequence[0]", "7FE00010"][0]["bytes"] == b"icon"


def test_unknown_values_of_big_endian_files_are_little_endian(tmp_path: Path) -> None:
    """PS3.5 6.2.2 note 2: in UN whatever the transfer syntax; pydicom reads 2 and 117440512."""
    columns = element(0x00280011, "US", struct.pack("<H", 512), implicit=True)
    path = write(tmp_path / "a.dcm", dataset(Modality="CT"), "big")
    with path.open("ab") as file:
        for tag, vr, value in (
            (0x00190010, b"LO", b"GEMS_ACQU_01"),
            (0x00191002, b"UN", struct.pack("<l", 7)),
            (0x00280010, b"UN", struct.pack("<H", 512)),
            (0x00280011, b"US", struct.pack(">H", 512)),
            (0x00400275, b"UN", item(columns)),
        ):
            long = vr == b"UN"
            length = struct.pack(">HL", 0, len(value)) if long else struct.pack(">H", len(value))
            file.write(struct.pack(">HH2s", tag >> 16, tag & 0xFFFF, vr) + length + value)
    rows = rows_of(path)
    assert rows["", "00191002"][0]["integer"] == 7
    assert rows["", "00280010"][0]["integer"] == rows["", "00280011"][0]["integer"] == 512
    assert rows["RequestAttributesSequence[0]", "00280011"][0]["integer"] == 512


@pytest.mark.acceptance("D29")
@pytest.mark.parametrize("block", [0x10, 0x11, 0xFF])
def test_a_private_element_knows_its_creator_in_any_block_and_in_items(
    tmp_path: Path, block: int
) -> None:
    def private(creator: str) -> pydicom.Dataset:
        made = dataset()
        made.add_new(0x00290000 | block, "LO", creator)
        made.add_new(0x00290000 | block << 8 | 0x08, "CS", "IMAGE NUM 4")
        return made

    content = image()
    content.update(private("SIEMENS CSA HEADER"))
    content.RequestAttributesSequence = [private("ANOTHER ")]
    rows = agree(write(tmp_path / "a.dcm", content))
    tag = f"0029{block:02X}08"
    assert rows["", tag][0]["creator"] == "SIEMENS CSA HEADER"
    assert rows["RequestAttributesSequence[0]", tag][0]["creator"] == "ANOTHER"
    assert rows["", f"002900{block:02X}"][0]["creator"] is None


@pytest.mark.acceptance("D30")
def test_a_private_element_without_reservation_is_kept_without_creator(tmp_path: Path) -> None:
    content = image()
    content.add_new(0x00291010, "LO", "x")
    assert agree(write(tmp_path / "a.dcm", content))["", "00291010"][0]["creator"] is None


def test_items_have_their_own_character_set(tmp_path: Path) -> None:
    content = part10(
        element(0x00080005, "CS", b"ISO_IR 100"),
        sequence(
            0x00400275,
            item(
                element(0x00080005, "CS", b"ISO_IR 192")
                + element(0x00400007, "LO", "日本".encode())
            ),
            item(element(0x00400007, "LO", "Gr\xfcn ".encode("latin-1"))),
        ),
    )
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    rows = agree(path)
    texts = {place[0]: found[0]["text"] for place, found in rows.items() if place[1] == "00400007"}
    assert texts == {"RequestAttributesSequence[0]": "日本", "RequestAttributesSequence[1]": "Grün"}


@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_may_nest_and_be_of_undefined_length(tmp_path: Path, undefined: bool) -> None:
    length = UNDEFINED if undefined else None
    content = element(0x00080100, "SH", b"deep")
    for _ in range(5):
        content = sequence(0x00400275, item(content, length=length), item(b""), undefined=undefined)
    path = tmp_path / "a.dcm"
    path.write_bytes(part10(content))
    rows = agree(path)
    assert rows[".".join(["RequestAttributesSequence[0]"] * 5), "00080100"][0]["text"] == "deep"


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("depth", [70, 2000])
def test_deep_nesting_is_rejected_with_a_reason(depth: int, undefined: bool) -> None:
    content = element(0x00080100, "SH", b"deep")
    length = UNDEFINED if undefined else None
    for _ in range(depth):
        content = sequence(0x00400275, item(content, length=length), undefined=undefined)
    with pytest.raises(Rejected, match="nested deeper than 64 levels"):
        read(part10(content))


def test_the_deepest_allowed_nesting_is_read() -> None:
    content = element(0x00080100, "SH", b"deep")
    for _ in range(MAX_DEPTH):
        content = sequence(0x00400275, item(content))
    assert sum(e.tag == "00400275" for e in read(part10(content)).elements) == MAX_DEPTH


def test_of_an_element_that_occurs_twice_the_last_counts_as_in_pydicom(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(part10(element(0x00100020, "LO", b"AA"), element(0x00100020, "LO", b"BB")))
    assert [row["text"] for row in agree(path)["", "00100020"]] == ["BB"]


def test_unknown_vr_of_a_known_tag_is_read_by_the_dictionary(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(part10(element(0x00100020, "UN", b"P1"), element(0x00111010, "UN", b"??")))
    rows = agree(path)
    assert (rows["", "00100020"][0]["vr"], rows["", "00100020"][0]["text"]) == ("LO", "P1")
    assert (rows["", "00111010"][0]["vr"], rows["", "00111010"][0]["bytes"]) == ("UN", b"??")


def test_a_sequence_written_as_un_is_a_sequence(tmp_path: Path) -> None:
    inner = element(0x00080100, "", b"code", implicit=True)
    path = tmp_path / "a.dcm"
    path.write_bytes(part10(element(0x00400275, "UN", item(inner))))
    assert agree(path)["RequestAttributesSequence[0]", "00080100"][0]["text"] == "code"


def test_a_sequence_that_cannot_be_parsed_is_kept_as_bytes() -> None:
    header = read(part10(element(0x00400275, "SQ", b"none")))
    assert header.elements[-1].raw == b"none"
    assert header.elements[-1].warning == "sequence cannot be parsed: kept as bytes"


def test_a_file_without_preamble_is_read_if_it_names_its_class() -> None:
    more = element(0x00080060, "CS", b"CT") + element(0x00204000, "LT", b"long enough " * 20)
    bare = element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2\0") + more
    assert [e.tag for e in read(bare).elements] == ["00080016", "00080060", "00204000"]
    with pytest.raises(Rejected, match="no SOP class or instance UID"):
        read(more)


def bare(*ends: bytes, first: bytes = b"") -> bytes:
    """Return a data set without preamble in whose bytes 128 to 131 the letters DICM stand."""
    begin = first or element(0x00080005, "CS", b"ISO_IR 100")
    begin += element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2\0")
    begin += element(0x00080018, "UI", b"1.2.3.41") + element(0x00080060, "CS", b"CT")
    fill = 128 - len(begin) - 8 - 8
    name = element(0x00080070, "LO", b"M" * fill) + element(0x00081010, "SH", ends[0])
    return begin + name + b"".join(ends[1:])


ID = element(0x00100020, "LO", b"P41 ")
META = element(0x00020010, "UI", b"1.2.840.10008.1.2.1\0")


@pytest.mark.parametrize(
    ("content", "station"),
    [
        (bare(b"DICMA1", ID), b"DICMA1"),
        # What follows the letters may itself be an element of group 0008.
        (bare(b"DICM", element(0x0008103E, "LO", b"ab"), ID), b"DICM"),
        (bare(b"DICM", ID), b"DICM"),
        # File meta without a preamble, and another element of it behind the letters.
        (bare(b"DICM", ID, first=META), b"DICM"),
    ],
    ids=["inside a value", "then group 0008", "then group 0010", "file meta first"],
)
def test_four_letters_in_a_value_are_no_preamble(
    tmp_path: Path, content: bytes, station: bytes
) -> None:
    """https://github.com/dcm4che/dcm4che/issues/981; PS3.10 7.1 has group 0002 behind DICM."""
    assert content[128:132] == b"DICM"
    tags = {e.tag: e.raw for e in read(content).elements}
    assert tags["00081010"] == station
    assert tags["00100020"] == b"P41 "
    assert tags["00080060"] == b"CT"
    # The same rows from all ways in.
    (tmp_path / "bare").write_bytes(content)
    source = SourceFile(str(tmp_path / "bare"), len(content), 0)
    (portion,) = extract([source], 0, 1 << 20)
    builder = RowBuilder()
    builder.add(0, read_header(source).elements)
    assert portion.rows.to_pylist() == builder.take()[0].to_pylist()


def test_a_preamble_may_look_like_anything_when_file_meta_follow_it() -> None:
    """PS3.10 7.1: applications do not need to look into the preamble."""
    preamble = bare(b"DICM")[:128]
    content = preamble + part10(element(0x00100020, "LO", b"P1"))[128:]
    assert [e.tag for e in read(content).elements if e.tag[:4] == "0010"] == ["00100020"]


# -- files that are none -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (bytes(4096), "not DICOM"),
        (b"These are notes about a scan.\n" * 50, "not DICOM"),
        (bytes(128) + b"DICM", "no data elements"),
        (bytes(128) + b"DICM" + bytes(4096), "no data elements"),
        (b"\x08\0\x16\0" + b"UI" + b"\xff\xff", "cut off"),
        (part10(element(0x00100020, "LO", b"x", length=60_000)), "cut off"),
    ],
    ids=[
        "empty",
        "zeros",
        "text",
        "prefix only",
        "zeros after prefix",
        "lying bare",
        "lying length",
    ],
)
def test_what_is_no_dicom_is_rejected_for_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(Rejected, match=reason) as why:
        read(content)
    assert "Error" not in str(why.value)


def test_a_header_cut_at_any_byte_is_rejected_or_ends_with_an_element() -> None:
    parts = [
        element(0x00080060, "CS", b"CT"),
        element(0x00089215, "SQ", item(element(0x00080100, "SH", b"in"))),
        sequence(
            0x00400275, item(element(0x00080100, "SH", b"in"), length=UNDEFINED), undefined=True
        ),
        element(0x00420011, "OB", bytes(300)),
        element(0x7FE00010, "OB", bytes(20)),
    ]
    whole = part10(*parts)
    meta = len(part10(uid=""))
    ends = [meta, meta + len(element(0x00080018, "UI", b"1.1\0"))]
    for part in parts:
        ends.append(ends[-1] + len(part))
    assert ends[-1] == len(whole)
    pixels = len(whole) - 20
    for cut in range(len(whole)):
        if cut in ends or cut >= pixels:
            complete = sum(end <= cut for end in ends) + (cut >= pixels)
            tops = [e for e in read(whole[:cut]).elements if not e.path]
            assert len(tops) == complete
        else:
            with pytest.raises(Rejected) as why:
                read(whole[:cut])
            assert why.value.reason


def test_any_bytes_changed_in_a_file_never_raise_anything_else() -> None:
    content = bytearray(
        part10(
            element(0x00080005, "CS", b"ISO_IR 192"),
            sequence(
                0x00400275, item(element(0x00080100, "SH", b"in"), length=UNDEFINED), undefined=True
            ),
            element(0x00280106, "US", b"\1\0"),
            element(0x7FE00010, "OB", item(b"JPEG"), length=UNDEFINED),
        )
    )
    for place in range(132, len(content)):
        for value in (0x00, 0x7F, 0xFF):
            changed = bytes(content[:place] + bytes([value]) + content[place + 1 :])
            try:
                header = read(changed)
            except Rejected as why:
                assert why.reason
            else:
                builder = RowBuilder()
                builder.add(1, header.elements)
                assert builder.take()[0].num_rows >= len(header.elements)


def test_a_deflate_bomb_is_refused() -> None:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(element(0x00420011, "OB", bytes(2 << 20))) + packer.flush()
    bomb = io.BytesIO(part10(uid="", syntax="1.2.840.10008.1.2.1.99") + packed)
    with pytest.raises(Rejected, match="more than 1048576 bytes in the deflated data set"):
        read_header_from(bomb, Limits(inflated_bytes=1 << 20))


def test_a_deflated_data_set_that_is_cut_off_is_rejected() -> None:
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(element(0x00080018, "UI", b"1.10")) + packer.flush()
    whole = part10(uid="", syntax="1.2.840.10008.1.2.1.99") + packed
    assert read(whole).elements[-1].raw == b"1.10"
    for cut in range(1, len(packed)):
        with pytest.raises(Rejected):
            read(whole[:-cut])


def test_zeros_after_the_last_element_are_not_elements_and_cost_no_time() -> None:
    started = time.monotonic()
    header = read(part10(bytes(64 << 20)))
    assert time.monotonic() - started < 5
    assert [e.tag for e in header.elements] == ["00020010", "00080018"]
    assert header.note is not None
    assert header.note.startswith(f"{64 << 20} bytes after byte")
