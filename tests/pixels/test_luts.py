"""Lookup tables and palettes of headers: every encoding, every sign, and what cannot be true."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

import warehouse
from tests.dicom_files import SYNTAXES, dataset, image, write
from tests.pixels.conftest import voxels, write_slice
from warehouse.errors import NoSingleUnit, PixelError, PixelsUnreadable
from warehouse.pixels.values import Values

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

ORDERS = {"implicit": "<", "explicit": "<", "big": ">", "deflated": "<"}
ENTRIES = [0, 10, 40000, 65535, 5, 6, 7, 8]
SIGNED = np.arange(-4, 4, dtype=np.int16).reshape(2, 4)
HIGH = np.array([[39000, 40000, 40001, 40003, 50000]], np.uint16)


def lut(
    first: int, entries: list[int], bits: int, vr: str, order: str, descriptor_vr: str = ""
) -> Dataset:
    """Return an item with LUT Data of VR US or OW, in an order of bytes."""
    made = dataset()
    count = len(entries) % 65536
    made.add_new(0x00283002, descriptor_vr or ("SS" if first < 0 else "US"), [count, first, bits])
    packed = struct.pack(f"{order}{len(entries)}H", *entries)
    made.add_new(0x00283006, vr, packed if vr == "OW" else entries)
    made.ModalityLUTType = "US"
    return made


def written(path: Path, pixels: np.ndarray, syntax: str, uid: str, **attributes: Any) -> Path:
    """Write a slice in any transfer syntax."""
    order = ORDERS[syntax]
    usual = {
        "uid": f"{uid}.1", "SeriesInstanceUID": uid, "Rows": pixels.shape[0], "Columns": pixels.shape[1],
        "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.astype(pixels.dtype.newbyteorder(order)).tobytes(),
    }  # fmt: skip
    made = image(**{**usual, **attributes})
    made["PixelData"].VR = "OW"
    return write(path, made, syntax)


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """Series whose UIDs name a table, its VR and a transfer syntax; and others, 1.5.number."""
    folder = tmp_path_factory.mktemp("tables")
    for s, (syntax, order) in enumerate(ORDERS.items()):
        for v, vr in enumerate(("OW", "US")):
            modality = lut(-4, ENTRIES, 16, vr, order)
            written(
                folder / "in" / f"a{s}{v}",
                SIGNED,
                syntax,
                f"1.1.{s}.{v}",
                ModalityLUTSequence=[modality],
            )
            # cornerstone issue 382: the descriptor of a table without the sign of its pixels
            unsigned = lut(65532, ENTRIES, 16, vr, order)
            written(
                folder / "in" / f"b{s}{v}",
                SIGNED,
                syntax,
                f"1.2.{s}.{v}",
                ModalityLUTSequence=[unsigned],
            )
            voi = lut(40000, [0, 85, 170, 255], 8, vr, order)
            written(folder / "in" / f"c{s}{v}", HIGH, syntax, f"1.3.{s}.{v}", VOILUTSequence=[voi])
    for number, (pixels, attributes) in enumerate(OTHERS.values()):
        written(folder / "in" / f"d{number}", pixels, "explicit", f"1.5.{number}", **attributes)
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", mode="full", workers=1)
    return wh


@pytest.mark.parametrize("vr", [0, 1])
@pytest.mark.parametrize("syntax", range(4))
def test_tables_are_read_in_the_order_of_their_file(
    syntax: int, vr: int, tables: warehouse.Warehouse
) -> None:
    # PS3.3 C.11.1.1; dcm4che issue 1521, pydicom issue 2317
    for table in (1, 2):
        found = tables.stack(f"1.{table}.{syntax}.{vr}", rescale=True)[0]
        assert found.tolist() == [ENTRIES[:4], ENTRIES[4:]]
    shown = tables.stack(f"1.3.{syntax}.{vr}").with_values(Values(window="header"))
    assert shown[0].tolist() == [[0, 0, 85, 255, 255]]


@pytest.mark.parametrize("syntax", range(4))
def test_tables_equal_pydicom_on_the_whole_file(syntax: int, tables: warehouse.Warehouse) -> None:
    for uid, apply in ((f"1.1.{syntax}.0", apply_modality_lut), (f"1.3.{syntax}.0", apply_voi_lut)):
        stack = tables.stack(uid)
        whole = pydicom.dcmread(stack.images[0].path)
        wanted = apply(whole.pixel_array, whole)
        values = Values(rescale=True) if apply is apply_modality_lut else Values(window="header")
        assert np.array_equal(stack.with_values(values)[0], wanted)


def one(tables: warehouse.Warehouse, name: str) -> Any:
    """Return the stack of one of the other images."""
    return tables.stack(f"1.5.{list(OTHERS).index(name)}")


def test_a_table_of_65536_entries_and_one_of_12_bits(tables: warehouse.Warehouse) -> None:
    found = one(tables, "65536 entries").with_values(Values(rescale=True))[0]
    assert found.tolist() == [[65535, 65534, 0, 65235]]
    # pydicom issue 2317: a depth for which NumPy has no type
    found = one(tables, "12 bits").with_values(Values(rescale=True))[0]
    assert found.tolist() == [[4095, 10, 20, 30]]


def test_a_table_of_bytes_with_more_entries_than_a_byte_counts(tables: warehouse.Warehouse) -> None:
    """Input 300 takes entry 300, not entry 44 (PS3.3 C.11.2.1.1)."""
    found = one(tables, "512 entries of 8 bits").with_values(Values(window="header"))[0]
    assert found.tolist() == [[5, 150, 255]]


def test_a_table_follows_rescaled_values_that_are_negative(tables: warehouse.Warehouse) -> None:
    """64512 written as US is -1024 where stored values become that (PS3.3 C.11.2.1.1)."""
    found = one(tables, "negative").with_values(Values(window="header"))[0]
    assert found.tolist() == [[0, 100, 255, 255]]


# -- palettes ---------------------------------------------------------------------------------------

COLORS = ("Red", "Green", "Blue")


def palette(descriptor: list[int], *data: bytes, segmented: bool = False) -> dict[str, Any]:
    prefix = "Segmented" if segmented else ""
    tables = {f"{c}PaletteColorLookupTableDescriptor": list(descriptor) for c in COLORS}
    for color, raw in zip(COLORS, data, strict=True):
        tables[f"{prefix}{color}PaletteColorLookupTableData"] = raw
    return {"PhotometricInterpretation": "PALETTE COLOR", **tables}


RAMP = np.arange(65536).astype("<u2")
# Two entries, a ramp of 4 to 60000, the first segment again, a ramp to 7.
SEGMENTS = struct.pack("<14H", 0, 2, 100, 200, 1, 4, 60000, 2, 1, 0, 0, 1, 3, 7)
IN_PALETTE = np.array([[0, 1, 5, 300]], np.uint16)
OTHERS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "65536 entries": (
        np.array([[0, 1, 65535, 300]], np.uint16),
        {"ModalityLUTSequence": [lut(0, list(range(65535, -1, -1)), 16, "OW", "<")]},
    ),
    "12 bits": (
        np.arange(4, dtype=np.uint16)[None],
        {"ModalityLUTSequence": [lut(0, [4095, 10, 20, 30], 12, "US", "<")]},
    ),
    "512 entries of 8 bits": (
        np.array([[10, 300, 9000]], np.uint16),
        {"VOILUTSequence": [lut(0, [n // 2 for n in range(512)], 8, "OW", "<")]},
    ),
    "negative": (
        np.array([[0, 1, 2, 50]], np.uint16),
        {"VOILUTSequence": [lut(64512, [0, 100, 255], 8, "US", "<")], "BitsStored": 12, "HighBit": 11,
         "RescaleSlope": 1, "RescaleIntercept": -1024},
    ),
    "palette of segments": (IN_PALETTE, palette([11, 0, 16], *[SEGMENTS] * 3, segmented=True)),
    "palette": (
        IN_PALETTE,
        palette([0, 0, 16], *(t.astype("<u2").tobytes() for t in (RAMP, 65535 - RAMP, RAMP // 2))),
    ),
    "palette of 8 bits": (
        np.array([[0, 1, 2]], np.uint16), palette([3, 0, 8], *[bytes([0, 128, 255, 0])] * 3)
    ),
    "palette of 8 bits in 16": (
        np.array([[0, 1, 2, 2]], np.uint8),
        palette([3, 0, 8], *[struct.pack("<3H", 0, 128, 255)] * 3)
        | {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ["palette", "palette of segments"])
def test_palettes_equal_pydicom(name: str, tables: warehouse.Warehouse) -> None:
    stack = one(tables, name)
    whole = pydicom.dcmread(stack.images[0].path)
    wanted = apply_color_lut(whole.pixel_array, whole)
    assert np.array_equal(stack.with_values(Values(color=True))[0], wanted)


def test_entries_of_8_bits_are_spread_over_16_and_found_in_padded_ones(
    tables: warehouse.Warehouse,
) -> None:
    """PS3.3 C.7.6.3.1.5, note: entries of 8 bits in 16 are told by the length of the data."""
    found = one(tables, "palette of 8 bits").with_values(Values(color=True))[0]
    assert found[0, :, 0].tolist() == [0, 128 * 257, 65535]
    found = one(tables, "palette of 8 bits in 16").with_values(Values(color=True))[0]
    assert found[0, :, 0].tolist() == [0, 128, 255, 255]


SAME = [b"\0\0"] * 3
LOOP = struct.pack("<9H", 0, 1, 5, 2, 1, 3, 0, 0, 0)  # an indirect segment that points at itself
# Ten indirect segments, each of which repeats 500 that make no entry.
EMPTY = struct.pack("<1043H", 0, 1, 7, *(2, 500, 43, 0) * 10, *(0, 0) * 500)
BAD: dict[str, dict[str, Any]] = {
    "entries of 255 bits": palette([65535, 65535, 255], *SAME),
    "entries that are not there": palette([256, 0, 16], *SAME),
    "no entries": palette([256, 0, 16], b"", b"", b""),
    "segments without end": palette([256, 0, 16], LOOP, LOOP, LOOP, segmented=True),
    "empty segments over and over": palette([256, 0, 16], *[EMPTY] * 3, segmented=True),
    "segments of no kind": palette([256, 0, 16], *[b"\x09\0\x01\0"] * 3, segmented=True),
    "a ramp from nowhere": palette([256, 0, 16], *[b"\x01\0\x01\0\x05\0"] * 3, segmented=True),
    "no palette": {"PhotometricInterpretation": "PALETTE COLOR"},
    "modality table without data": {"ModalityLUTSequence": [dataset(LUTExplanation="none")]},
    "modality table too short": {"ModalityLUTSequence": [lut(0, [1, 2], 16, "OW", "<", "US")]},
    "width of nothing": {"WindowCenter": 1, "WindowWidth": 0},
    "a function of no kind": {"WindowCenter": 1, "WindowWidth": 9, "VOILUTFunction": "CUBIC"},
    "colors of no kind": {"PhotometricInterpretation": "CMYK", "SamplesPerPixel": 3, "PlanarConfiguration": 0},
}  # fmt: skip
BAD["modality table too short"]["ModalityLUTSequence"][0][0x00283002].value = [9, 0, 16]


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    folder = tmp_path_factory.mktemp("bad")
    for number, attributes in enumerate(BAD.values()):
        pixels = voxels(1)[0].astype(np.uint16)
        size = {"Rows": 4, "Columns": 2} if "SamplesPerPixel" in attributes else {}
        for n in (1, 2):
            write_slice(folder / "in" / f"{number}.{n}", pixels, uid=f"1.{number}.{n}", InstanceNumber=n,
                        SeriesInstanceUID=f"1.{number}", **size, **attributes)  # fmt: skip
    write_slice(folder / "in" / "good", voxels(1)[0], SeriesInstanceUID="1.99", uid="1.99.1")
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", mode="full", workers=1)
    return wh


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_true_is_a_named_error(name: str, bad: warehouse.Warehouse) -> None:
    uid = f"1.{list(BAD).index(name)}"
    asked = [Values(rescale=True), Values(color=True), Values(window="header")]
    said = []
    for values in asked:
        try:
            bad.stack(uid).with_values(values)[:]
        except PixelsUnreadable as error:
            said.append(str(error))
        except NoSingleUnit:
            assert not values.color, "colors have no numbers"
    assert said, "one of them needs what is damaged"
    assert not any(("Error" in text) for text in said), "each says what is wrong"


def test_empty_segments_end_before_all_are_repeated(bad: warehouse.Warehouse) -> None:
    """65,535 of them repeated 65,536 times took hours: steps are bounded, not only entries."""
    uid = f"1.{list(BAD).index('empty segments over and over')}"
    with pytest.raises(PixelsUnreadable, match="endless"):
        bad.stack(uid, color=True)[0]


def test_bad_series_take_nothing_from_the_others(bad: warehouse.Warehouse) -> None:
    uids = [*(f"1.{number}" for number in range(len(BAD))), "1.99"]
    gallery = bad.gallery(limit=99)
    shown = {row[0]: picture for row, picture in zip(gallery.rows, gallery.pictures, strict=True)}
    assert isinstance(shown["1.99"], bytes)
    assert isinstance(shown["1.0"], str)
    assert "255 bits" in shown["1.0"]
    got = list(bad.iter_volumes(uids, rescale=True))
    assert [loaded.series_uid for loaded in got] == uids
    assert all((loaded.array is None) == bool(loaded.why_not) for loaded in got)


@pytest.mark.parametrize("failure", [ZeroDivisionError("Doe^Jane"), MemoryError("Doe^Jane")])
def test_whatever_is_raised_is_a_reason(
    failure: Exception, bad: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failures that nobody thought of: in values, in pictures, for want of memory."""

    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("warehouse.pixels.facts.FrameFacts.mapping", fail)
    with pytest.raises(PixelError) as refused:
        bad.stack("1.99").with_values(Values(window=(1, 2)))[0]
    assert "Doe" not in str(refused.value)
    monkeypatch.setattr("warehouse.pixels.pictures.png", fail)
    (picture,) = bad.gallery("1.99").pictures
    assert isinstance(picture, str)
    assert "Doe" not in picture


def test_syntaxes_are_those_of_the_builder() -> None:
    assert set(ORDERS) == set(SYNTAXES)
