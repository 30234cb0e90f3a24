"""Attempts to get wrong pixels: changed files, lying headers, damaged and hostile pixel data."""

from __future__ import annotations

import os
import pickle
import resource
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    RLELossless,
)

import warehouse
from tests.asking import answer_of
from tests.conftest import PACKAGED
from tests.dicom_files import element, image, part10, write
from tests.pixels.conftest import UID, voxels, write_slice
from warehouse.errors import ArrayTooLarge, NoDecoder, PixelsUnreadable, SourceChanged
from warehouse.pixels import pictures
from warehouse.pixels.codestream import describe
from warehouse.pixels.image import Image
from warehouse.pixels.lookup import images_of_series
from warehouse.pixels.places import compressed_frames
from warehouse.pixels.read import allocated
from warehouse.pixels.values import Values

if TYPE_CHECKING:
    from collections.abc import Callable

    Ingest = Callable[..., warehouse.Warehouse]

FILES = PACKAGED["pydicom"] / "test_files"
J2K = FILES / "JPEG2000.dcm"
RLE_FRAMES = FILES / "SC_rgb_rle_2frame.dcm"


def rewritten(path: Path, source: Path, **attributes: Any) -> Path:
    """Copy a file of pydicom's package with other attributes; a name of digits is its series."""
    dataset = pydicom.dcmread(source)
    syntax = attributes.pop("TransferSyntaxUID", None)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    if syntax is not None:
        dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SeriesInstanceUID = path.name if path.name[0].isdigit() else UID
    dataset.SOPInstanceUID = f"{dataset.SeriesInstanceUID}.1"
    path.parent.mkdir(exist_ok=True)
    dataset.save_as(path)
    return path


# -- the file is not what was ingested --------------------------------------------------------------


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 10)


def replaced(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(1, 1))


def made_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [moved, cut, replaced, made_a_fifo, made_a_folder])
def test_a_file_that_changed_is_refused(
    change: Callable[[Path], None], series: Ingest, tmp_path: Path
) -> None:
    wh = series(voxels(2))
    volume, stack = wh.volume(UID), wh.stack(UID)
    change(tmp_path / "in" / "1.dcm")
    for ask in (lambda: volume[:], lambda: stack[1], lambda: wh.volume(UID)[1]):
        with pytest.raises(
            SourceChanged, match=r"1\.dcm is not what was ingested: .*; ingest its folder again"
        ):
            ask()
    assert np.array_equal(volume[0], voxels(2)[0])


def test_members_of_an_archive_are_read_until_it_changes(tmp_path: Path, ingest: Ingest) -> None:
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "a.zip", "w") as archive:
        for number, pixels in enumerate(voxels(3), 1):
            archive.write(
                write_slice(tmp_path / f"{number}.dcm", pixels, InstanceNumber=number),
                f"b/{number}.dcm",
            )
    ingest()
    wh: warehouse.Warehouse = ingest.warehouse  # type: ignore[attr-defined]
    assert np.array_equal(wh.volume(UID)[:], voxels(3))
    os.utime(tmp_path / "in" / "a.zip", ns=(1, 1))
    with pytest.raises(SourceChanged, match="modification time"):
        wh.volume(UID)[0]


def test_pixels_that_are_not_where_the_catalog_says_are_refused(
    series: Ingest, tmp_path: Path
) -> None:
    """Same size, same time, other bytes: what stands before the pixels gives it away."""
    wh = series(voxels(1))
    path = tmp_path / "in" / "1.dcm"
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(PixelsUnreadable, match="no pixel data at byte"):
        wh.stack(UID)[0]


# -- headers that lie -------------------------------------------------------------------------------

LIES: dict[str, tuple[dict[str, Any], str]] = {
    "pixel data too short": ({"Rows": 5}, r"pixel data too short: 48 bytes, but 1 frames of 5 x 6 need 60"),
    "too short for its frames": ({"NumberOfFrames": 2}, "pixel data too short"),
    "frames without end": ({"NumberOfFrames": 2**31 - 1}, "pixel data too short"),
    "no rows": ({"Rows": 0}, "Rows or Columns are missing or zero"),
    "no columns": ({"Columns": None}, "Rows or Columns are missing or zero"),
    "less than no frames": ({"NumberOfFrames": -1}, "NumberOfFrames is -1"),
    "no bits": ({"BitsAllocated": None}, "BitsAllocated is missing"),
    "12 bits, packed": ({"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, "BitsAllocated is 12"),
    "more bits stored than there are": ({"BitsStored": 17}, "BitsStored is missing or not between"),
    "no sign": ({"PixelRepresentation": None}, "PixelRepresentation does not state"),
    "two samples": ({"SamplesPerPixel": 2}, "SamplesPerPixel is 2"),
    "color that is not subsampled": (
        {"Rows": 2, "Columns": 4, "SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422",
         "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PlanarConfiguration": 0, "PixelData": bytes(24)},
        "not subsampled although YBR_FULL_422",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """A warehouse of odd files, a series each."""
    folder = tmp_path_factory.mktemp("odd")
    for number, (attributes, _) in enumerate(LIES.values()):
        write_slice(
            folder / f"lie{number}", voxels(1)[0], SeriesInstanceUID=f"1.{number}", **attributes
        )
    for number, (attributes, _) in enumerate(DAMAGED):
        rewritten(folder / f"2.{number}", J2K, **attributes)
    frames = rle_frames()
    for number, made in enumerate(TABLES.values()):
        table = made or struct.pack("<2L", 0, 8 + len(frames[0]))
        rewritten(folder / f"3.{number}", RLE_FRAMES, PixelData=encapsulated(*frames, table=table))
    put_others(folder)
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder, workers=1)
    return wh


FLOATS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}
FLOAT_VALUES = np.linspace(-1, 1, 24).reshape(4, 6)
PACKED = np.random.default_rng(1).integers(0, 2, (5, 3, 5), np.uint8)  # 15 bits a frame
IN_12_BITS = {
    kind: np.array([[[0, 1, 2047], [5, 6, 7]]], kind) - (4 if kind == "i2" else 0)
    for kind in ("u2", "i2")
}
NO_DECODER = ["1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.99"]


def put_others(folder: Path) -> None:
    """Write the series of tests that look at one: 4.1, 5.bits, 6, 7.kind, 8.syntax, 9.n."""
    for number, count in enumerate((0, None)):
        write_slice(
            folder / f"4.{number}", voxels(2)[number], SeriesInstanceUID="4.1", NumberOfFrames=count,
            InstanceNumber=number + 1, uid=f"4.1.{number}",
        )  # fmt: skip
    for keyword, bits in FLOATS.items():
        shape = {
            "Rows": 4,
            "Columns": 6,
            "BitsAllocated": bits,
            "BitsStored": None,
            "HighBit": None,
        }
        made = image(
            f"5.{bits}.1", SeriesInstanceUID=f"5.{bits}", PixelData=None, PixelRepresentation=None, **shape
        )  # fmt: skip
        setattr(made, keyword, FLOAT_VALUES.astype(f"f{bits // 8}").tobytes())
        write(folder / f"5.{bits}", made)
    packed = np.packbits(PACKED.ravel(), bitorder="little").tobytes()
    write(folder / "6", uid="6.1", SeriesInstanceUID="6", Rows=3, Columns=5, NumberOfFrames=5, BitsAllocated=1,
          BitsStored=1, HighBit=0, PixelData=packed)  # fmt: skip
    for number, (kind, wanted) in enumerate(IN_12_BITS.items()):
        noisy = (wanted.astype(kind).view(np.uint16) & 0x0FFF | 0xA000).view(kind)
        uid = f"7.{number}"
        write_slice(
            folder / uid, noisy[0], SeriesInstanceUID=uid, uid=f"{uid}.1", BitsStored=12, HighBit=11
        )
    for number, syntax in enumerate(NO_DECODER):
        path = rewritten(folder / f"8.{number}", J2K)
        path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.4.91", syntax.encode()))
    rewritten(folder / "9.1", J2K, PixelData=encapsulate([bomb(first_frame(J2K))]))
    rewritten(folder / "9.2", RLE_FRAMES, Rows=60_000, Columns=60_000, NumberOfFrames=1)
    frames = rle_frames()
    short = encapsulated(frames[0][:64] + bytes(8), frames[1])
    rewritten(folder / "9.3", RLE_FRAMES, PixelData=short)
    body = element(0x00100010, "PN", b"Doe^Jane") + element(0x0020000E, "UI", b"9.4\0")
    (folder / "9.4").write_bytes(part10(body + element(0x7FE00010, "OW", b"\0\0")))


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_cannot_be_true_is_refused_before_memory_is_asked_for(
    name: str, odd: warehouse.Warehouse
) -> None:
    with pytest.raises(PixelsUnreadable, match=LIES[name][1]):
        odd.stack(f"1.{list(LIES).index(name)}")[:]


@pytest.mark.parametrize("lie", [{"BitsAllocated": 5}, {"PixelRepresentation": 7}])
def test_a_type_that_there_is_none_of_is_a_named_error(lie: dict[str, Any], series: Ingest) -> None:
    wh = series(voxels(2), **lie)
    with pytest.raises(PixelsUnreadable, match="BitsAllocated is 5|whether values are signed"):
        wh.volume(UID)
    (loaded,) = wh.iter_volumes([UID])
    assert loaded.why_not
    (picture,) = wh.gallery(UID).pictures
    assert isinstance(picture, str)


def test_no_number_of_frames_and_zero_are_one_frame_as_in_pydicom(odd: warehouse.Warehouse) -> None:
    assert np.array_equal(odd.stack("4.1")[:], voxels(2))


@pytest.mark.parametrize("bits", FLOATS.values())
def test_floating_point_pixels_are_read(bits: int, odd: warehouse.Warehouse) -> None:
    stack = odd.stack(f"5.{bits}")
    wanted = FLOAT_VALUES.astype(f"f{bits // 8}")
    assert stack[0].dtype == wanted.dtype
    assert np.array_equal(stack[0], wanted)


def test_packed_bits_are_read_across_bytes(odd: warehouse.Warehouse) -> None:
    stack = odd.stack("6")
    assert np.array_equal(stack[:], PACKED)
    assert np.array_equal(stack[3], PACKED[3])


@pytest.mark.parametrize("number", range(len(IN_12_BITS)))
def test_unused_high_bits_do_not_count(number: int, odd: warehouse.Warehouse) -> None:
    wanted = [*IN_12_BITS.values()][number]
    found = odd.stack(f"7.{number}")[:]
    assert found.dtype == wanted.dtype
    assert np.array_equal(found, wanted)


# -- compressed pixel data --------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(NO_DECODER)))
def test_a_transfer_syntax_without_decoder_is_a_named_error(
    number: int, odd: warehouse.Warehouse
) -> None:
    with pytest.raises(NoDecoder, match="pydicom has no decoder for it") as refused:
        odd.stack(f"8.{number}")[0]
    assert NO_DECODER[number] in str(refused.value)


def test_a_missing_decoder_says_what_to_install() -> None:
    said = str(NoDecoder(RLELossless, "RLE", ["pylibjpeg: requires pylibjpeg>=2.0"]))
    assert (
        "pip install 'dicom-warehouse[pixels]' (pydicom needs pylibjpeg: requires pylibjpeg>=2.0)"
        in said
    )


def test_errors_come_back_from_worker_processes() -> None:
    for error in (
        PixelsUnreadable("a", "why"),
        NoDecoder("1.2", "RLE", []),
        SourceChanged("a", "gone"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def first_frame(path: Path) -> bytes:
    return next(pydicom.encaps.generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))


def encapsulated(*frames: bytes, table: bytes = b"") -> bytes:
    """Return encapsulated pixel data, one item per fragment, with this offset table."""
    items = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<L", len(f)) + f for f in (table, *frames))
    return items + b"\xfe\xff\xdd\xe0\0\0\0\0"


def bomb(frame: bytes) -> bytes:
    """Return a JPEG 2000 frame that claims to be 60,000 x 60,000."""
    at = frame.index(b"\xff\x4f\xff\x51") + 8
    return frame[:at] + struct.pack(">LL", 60_000, 60_000) + frame[at + 8 :]


def test_a_frame_that_claims_more_than_its_header_is_not_unpacked(
    odd: warehouse.Warehouse,
) -> None:
    stack = odd.stack("9.1")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        PixelsUnreadable,
        match="frame 1 is compressed as 60000 x 60000 x 1, the header says 1024 x 256",
    ):
        stack[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


DAMAGED: list[tuple[dict[str, Any], str]] = [
    ({"NumberOfFrames": 60_000}, "60000 frames do not fit into"),
    ({"PixelData": encapsulated(b"")}, "frame 1 has no bytes"),
    (
        {"PixelData": encapsulated(b"\xff\x4f\xff\x51" + bytes(60))},
        "frame 1 is compressed as 0 x 0 x 0",
    ),
    (
        {"PixelData": encapsulated(b"no codestream at all")},
        # No decoder is asked to find a size that the frame does not say.
        "frame 1 is not a codestream of its transfer syntax",
    ),
    ({"PixelData": encapsulated()}, "0 fragments for 1 frames"),
    ({"NumberOfFrames": 2, "PixelData": encapsulated(b"\0" * 100)}, "1 fragments for 2 frames"),
    (
        {"NumberOfFrames": 2, "PixelData": encapsulated(*[b"\0" * 100] * 3)},
        "3 fragments without an offset table",
    ),
]


@pytest.mark.parametrize("number", range(len(DAMAGED)))
def test_damaged_compressed_pixels_are_refused(number: int, odd: warehouse.Warehouse) -> None:
    with pytest.raises(PixelsUnreadable, match=DAMAGED[number][1]):
        odd.stack(f"2.{number}")[0]


def test_rle_that_is_too_short_for_its_size_is_not_unpacked(odd: warehouse.Warehouse) -> None:
    # Seen in the catalog now, before the file is opened.
    with pytest.raises(PixelsUnreadable, match="1368 bytes are too few for frames of 60000"):
        odd.stack("9.2")[0]


def test_one_frame_that_is_too_short_among_others_is_not_unpacked(odd: warehouse.Warehouse) -> None:
    with pytest.raises(PixelsUnreadable, match="frame 1 has too few bytes for its size"):
        odd.stack("9.3")[0]


TABLES = {
    "true": b"",  # made of the frames
    "to nowhere": struct.pack("<2L", 0, 3),
    "backwards": struct.pack("<2L", 8, 0),
    "of odd length": b"\0" * 6,
    "too long": struct.pack("<4L", 0, 1, 2, 3),
}


def rle_frames() -> list[bytes]:
    return list(
        pydicom.encaps.generate_frames(pydicom.dcmread(RLE_FRAMES).PixelData, number_of_frames=2)
    )


@pytest.mark.parametrize("name", TABLES)
def test_an_odd_offset_table_is_not_believed(name: str, odd: warehouse.Warehouse) -> None:
    stack = odd.stack(f"3.{list(TABLES).index(name)}")
    wanted = pydicom.dcmread(RLE_FRAMES).pixel_array
    assert np.array_equal(stack[1], wanted[1])
    assert np.array_equal(stack[:], wanted)


def test_frames_in_several_fragments_are_put_together() -> None:
    """By table, by the marker that ends a codestream, and all in one where there is one frame."""
    eoi = b"\xff\xd9"
    parts = [b"ab", b"c" + eoi, b"defg", b"h" + eoi]
    cases = {
        "table": (encapsulated(*parts, table=struct.pack("<2L", 0, 21)), 2),
        "marker": (encapsulated(*parts), 2),
        "one": (encapsulated(*parts), 1),
    }
    for name, (raw, frames) in cases.items():
        fields = dict.fromkeys(Image._fields)
        fields |= {
            "pixel_offset": 0,
            "pixel_length": len(raw),
            "NumberOfFrames": frames,
            "path": "p",
        }
        found = compressed_frames(
            Image(**fields), lambda at, length, raw=raw: raw[at : at + length]
        )  # type: ignore[misc]
        joined = [b"".join(raw[at : at + length] for at, length in frame) for frame in found]
        wanted = [b"".join(parts[:2]), b"".join(parts[2:])] if frames == 2 else [b"".join(parts)]
        assert joined == wanted, name


def test_every_codestream_of_the_packages_says_its_size(sample: warehouse.Warehouse) -> None:
    seen = 0
    for (uid,) in answer_of(sample, "select distinct series_key from images where is_encapsulated"):
        for found in images_of_series(sample.catalog, uid):
            if not found.is_encapsulated or found.TransferSyntaxUID == RLELossless:
                continue
            raw = Path(found.path).read_bytes()
            fragments = compressed_frames(found, lambda at, length, raw=raw: raw[at : at + length])  # type: ignore[misc]
            (said,) = describe(b"".join(raw[at : at + length] for at, length in fragments[0]))
            if Path(found.path).name != "JPEG2000-embedded-sequence-delimiter.dcm":
                assert said[:3] == (found.Rows, found.Columns, found.SamplesPerPixel), found.path
            seen += 1
    assert seen > 20


def test_no_message_holds_a_value_of_the_header(odd: warehouse.Warehouse) -> None:
    with pytest.raises(PixelsUnreadable) as refused:
        odd.stack("9.4")[0]
    assert "Doe" not in str(refused.value)


def test_a_deflated_file_that_rotted_is_unreadable(tmp_path: Path, ingest: Ingest) -> None:
    """With the size and the time that it had: only its bytes have gone bad."""
    path = rewritten(tmp_path / "in" / "a.dcm", FILES / "image_dfl.dcm")
    ingest()
    wh: warehouse.Warehouse = ingest.warehouse  # type: ignore[attr-defined]
    stack = wh.stack(UID)
    assert stack[0].shape == (512, 512)
    before, content = path.stat(), path.read_bytes()
    # Behind the meta information, whose length stands in its first element.
    begin = 144 + struct.unpack_from("<L", content, 140)[0]
    path.write_bytes(content[:begin] + b"\xff" * 64 + content[begin + 64 :])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(PixelsUnreadable, match="deflated data set is damaged"):
        wh.stack(UID)[0]


# -- frames that claim to be large ------------------------------------------------------------------


def j2k_of(rows: int, columns: int) -> bytes:
    """Return the markers of a JPEG 2000 codestream of one tile, without its data."""
    size = struct.pack(">HHLLLLLLLLH", 41, 0, columns, rows, 0, 0, columns, rows, 0, 0, 1)
    style = b"\xff\x52" + struct.pack(">HBBHBBBBBB", 12, 0, 0, 1, 0, 5, 4, 4, 0, 1)
    steps = b"\xff\x5c" + struct.pack(">HB", 19, 0x40) + b"\x48" * 16
    tile = b"\xff\x90" + struct.pack(">HHLBB", 10, 0, 0, 0, 1) + b"\xff\x93" + bytes(8)
    return b"\xff\x4f\xff\x51" + size + b"\x0f\1\1" + style + steps + tile + b"\xff\xd9"


def jpeg_of(rows: int, columns: int, code: int = 0xC0, before: bytes = b"") -> bytes:
    """Return the markers of a JPEG or JPEG-LS codestream, without its data."""
    frame = b"\xff" + bytes([code]) + struct.pack(">HBHHB", 11, 8, rows, columns, 1) + b"\1\x11\0"
    return b"\xff\xd8" + before + frame + b"\xff\xda\0\x08\1\1\0\0\0\0" + bytes(16) + b"\xff\xd9"


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L4s", 8 + len(content), kind) + content


SIGNATURE = box(b"jP  ", b"\r\n\x87\n")
J2K_UID, HTJ2K_UID = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"
JPEG_UID, JPEG_LS_UID, RLE_UID = (f"1.2.840.10008.1.2.{end}" for end in ("4.50", "4.80", "5"))
ALL = (60_000, 60_000)
DECOY = box(b"uuid", j2k_of(16, 16)[:60])

# Name: transfer syntax, frame, rows and columns of the header, what is said.
CLAIMS: dict[str, tuple[str, bytes, tuple[int, int], str]] = {
    "JPEG 2000": (J2K_UID, j2k_of(*ALL), ALL, "too few for frames of 60000 x 60000"),
    "HTJ2K": (HTJ2K_UID, j2k_of(*ALL), ALL, "too few for frames"),
    "JPEG": (JPEG_UID, jpeg_of(*ALL), ALL, "too few for frames"),
    "JPEG, progressive": (JPEG_UID, jpeg_of(*ALL, 0xC2), ALL, "too few for frames"),
    "JPEG-LS": (JPEG_LS_UID, jpeg_of(*ALL, 0xF7), ALL, "too few for frames"),
    "RLE": (RLE_UID, struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x07" * 32, ALL, "too few for frames"),
    "JPEG 2000, small header": (J2K_UID, j2k_of(*ALL), (16, 16), "compressed as 60000 x 60000 x 1"),
    "second frame header": (JPEG_UID, jpeg_of(*ALL, before=jpeg_of(16, 16)[2:15]), (16, 16), "as 60000 x 60000 x 1"),
    "JP2 with a decoy": (J2K_UID, SIGNATURE + DECOY + box(b"jp2c", j2k_of(*ALL)), (16, 16), "as 60000 x 60000 x 1"),
    "bytes in front": (J2K_UID, b"\xff\xff" + j2k_of(*ALL), (16, 16), "not a codestream"),
}  # fmt: skip


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    folder = tmp_path_factory.mktemp("claims")
    (folder / "in").mkdir()
    for number, (syntax, frame, (rows, columns), _) in enumerate(CLAIMS.values()):
        rewritten(
            folder / "in" / f"1.{number}", J2K, PixelData=encapsulate([frame]), Rows=rows, Columns=columns,
            BitsAllocated=8, BitsStored=8, HighBit=7, TransferSyntaxUID=pydicom.uid.UID(syntax),
        )  # fmt: skip
    write_slice(folder / "in" / "good", voxels(1)[0], SeriesInstanceUID="1.99", uid="1.99.1")
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", workers=1)
    return wh


@pytest.mark.parametrize("name", CLAIMS)
def test_sizes_are_checked_before_anything_is_allocated(
    name: str, claims: warehouse.Warehouse
) -> None:
    stack = claims.stack(f"1.{list(CLAIMS).index(name)}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for values in (Values(), Values(window="header"), Values(color=True)):
        with pytest.raises(PixelsUnreadable, match=CLAIMS[name][3]):
            stack.with_values(values)[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_large_claims_take_no_picture_from_other_series(claims: warehouse.Warehouse) -> None:
    gallery = claims.gallery()
    shown = {row[0]: picture for row, picture in zip(gallery.rows, gallery.pictures, strict=True)}
    assert [uid for uid, picture in shown.items() if isinstance(picture, bytes)] == ["1.99"]
    assert len(shown) == len(CLAIMS) + 1


def test_an_array_without_memory_is_a_named_error() -> None:
    for shape in ((1 << 46, 4), (1 << 62, 4)):  # more than there is, more than can be addressed
        with pytest.raises(ArrayTooLarge, match=r"series 1.2 needs \d+.0 GiB of memory"):
            allocated("1.2", shape, np.dtype("u2"))


def test_rescaled_values_are_those_of_the_picture_alone(
    series: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = series(np.zeros((1, 64, 64), np.uint8)).stack(UID)
    monkeypatch.setattr(pictures, "MAX_SIDE", 8)
    rescaled = []
    derive = pictures._Rendering.derive_window

    def derived(self: pictures._Rendering, values: np.ndarray) -> None:
        rescaled.append(values.size)
        derive(self, values)

    monkeypatch.setattr(pictures._Rendering, "derive_window", derived)
    assert max(pictures.slice_picture(stack).shape) == pictures.MAX_SIDE
    assert rescaled == [64]


@pytest.mark.long("test_rescaled_values_are_those_of_the_picture_alone")
def test_a_frame_larger_than_a_picture_is_thinned_before_it_is_rescaled(series: Ingest) -> None:
    """A scan of 8000 x 8000 needs no 512 MB to be looked at."""
    wh = series(np.zeros((1, 8_000, 8_000), np.uint8))
    stack = wh.stack(UID)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    picture = pictures.slice_picture(stack)
    assert max(picture.shape) <= pictures.MAX_SIDE
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 250_000  # kB
