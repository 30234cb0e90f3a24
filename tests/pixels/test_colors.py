"""One picture in every color space comes out as the same RGB, in arrays, pictures and files."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image as pillow
from pydicom.encaps import encapsulate
from pydicom.pixels import convert_color_space
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

import warehouse
from tests.pixels.conftest import UID, write_slice
from tests.pixels.test_pictures import opened
from warehouse.algorithms.mha import volume_of
from warehouse.errors import NoSingleUnit, NotAVolume, NotReferable, PixelsUnreadable, UsageError
from warehouse.pixels import files, pictures
from warehouse.pixels.values import Values

if TYPE_CHECKING:
    from pathlib import Path

PICTURE = np.zeros((64, 64, 3), np.uint8)
PICTURE[:32, :32], PICTURE[:32, 32:] = (250, 10, 10), (10, 250, 10)
PICTURE[32:, :32], PICTURE[32:, 32:] = (10, 10, 250), 128
PARTS = PICTURE[16::32, 16::32]
YBR = convert_color_space(PICTURE, "RGB", "YBR_FULL")


def jpeg(**options: Any) -> bytes:
    out = io.BytesIO()
    pillow.fromarray(PICTURE).save(out, "JPEG", quality=95, **options)
    return out.getvalue()


def adobe(frame: bytes, transform: int) -> bytes:
    """Put the marker of Adobe in the place of that of JFIF."""
    end = 4 + int.from_bytes(frame[4:6], "big") if frame[2:4] == b"\xff\xe0" else 2
    segment = b"Adobe\0\x64\0\0\0\0" + bytes([transform])
    return frame[:2] + b"\xff\xee" + (len(segment) + 2).to_bytes(2, "big") + segment + frame[end:]


# Name: Photometric Interpretation, what is stored, planar configuration; and the transfer syntax if
# it is compressed. PS3.3 C.7.6.3.1.2; pylibjpeg issue 41, pydicom pull request 522.
KINDS: dict[str, tuple[str, Any, int, str | None]] = {
    "RGB": ("RGB", PICTURE, 0, None),
    "by plane": ("RGB", PICTURE.transpose(2, 0, 1), 1, None),
    "YBR": ("YBR_FULL", YBR, 0, None),
    "YBR by plane": ("YBR_FULL", YBR.transpose(2, 0, 1), 1, None),
    "RLE": ("YBR_FULL", YBR, 0, RLELossless),
    "JPEG 2000": ("YBR_RCT", PICTURE, 0, JPEG2000Lossless),
    "JPEG": ("YBR_FULL_422", jpeg(subsampling=1), 0, JPEGBaseline8Bit),
    "JPEG of RGB": ("RGB", jpeg(subsampling=0, keep_rgb=True), 0, JPEGBaseline8Bit),
    # The header is wrong, the codestream knows: cornerstoneWADOImageLoader issue 308
    "JPEG with JFIF, said to be RGB": ("RGB", jpeg(subsampling=0), 0, JPEGBaseline8Bit),
    "JPEG by Adobe, said to be RGB": ("RGB", adobe(jpeg(subsampling=0), 1), 0, JPEGBaseline8Bit),
    "JPEG of RGB, said to be YBR": ("YBR_FULL_422", jpeg(subsampling=0, keep_rgb=True), 0, JPEGBaseline8Bit),
}  # fmt: skip


def put(folder: Path, uid: str, meant: str, stored: Any, planar: int, syntax: str | None) -> None:
    for n in (1, 2):
        path = folder / f"{uid}.{n}"
        write_slice(path, PICTURE, uid=f"{uid}.{n}", SeriesInstanceUID=uid, InstanceNumber=n, SamplesPerPixel=3,
                    PlanarConfiguration=planar, PixelSpacing=[1, 1],
                    PhotometricInterpretation="RGB" if isinstance(stored, bytes) else meant,
                    PixelData=PICTURE.tobytes() if isinstance(stored, bytes) else stored.tobytes())  # fmt: skip
        if syntax is None:
            continue
        made = pydicom.dcmread(path)
        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if isinstance(stored, bytes):
            made.PixelData = encapsulate([stored])
            made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
            made.file_meta.TransferSyntaxUID = syntax
            made.PhotometricInterpretation = meant
        else:
            made.compress(syntax, stored, generate_instance_uid=False)
        made.save_as(path)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    folder = tmp_path_factory.mktemp("colors")
    (folder / "in").mkdir()
    for number, kind in enumerate(KINDS.values()):
        put(folder / "in", f"1.{number}", *kind)
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", mode="full", workers=1)
    return wh


@pytest.mark.parametrize("name", KINDS)
def test_the_same_picture_has_the_same_colors(name: str, every: warehouse.Warehouse) -> None:
    uid = f"1.{list(KINDS).index(name)}"

    def same(found: np.ndarray) -> bool:
        # Conversion and compression round: a step of a few of 255.
        return bool((abs(found.astype(int) - PARTS) <= 4).all())

    colored = every.volume(uid, color=True)
    assert (colored.shape, colored.dtype) == ((2, 64, 64, 3), np.uint8)
    assert same(colored[0, 16::32, 16::32])
    assert same(opened(pictures.png(pictures.slice_picture(every.volume(uid))))[16::32, 16::32])
    # NIfTI: RGB24 says that its triples are red, green and blue.
    for volume in (every.volume(uid), colored):
        image = nibabel.Nifti1Image.from_bytes(files.nifti(volume).to_bytes())
        assert int(image.header["datatype"]) == 128
        triples = np.asarray(image.dataobj)[16::32, 16::32, 0].T
        assert same(np.stack([triples[channel] for channel in "RGB"], -1))
    (picture,) = every.gallery(uid).pictures
    assert isinstance(picture, bytes)


@pytest.mark.parametrize(("kind", "bits"), [("u2", 12), ("u2", 16), ("u4", 32)])
def test_colors_of_many_bits_keep_all_and_show_the_highest(
    kind: str, bits: int, tmp_path: Path
) -> None:
    """As pydicom's array, whose SC_rgb_rle_32bit.dcm has 32: the low 16 were returned, all 0."""
    colors = PICTURE.astype(kind) << (bits - 8)
    for n in (1, 2):
        write_slice(tmp_path / "in" / str(n), colors, InstanceNumber=n, SamplesPerPixel=3,
                    PlanarConfiguration=0, PhotometricInterpretation="RGB", PixelSpacing=[1, 1],
                    BitsStored=bits, HighBit=bits - 1)  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    volume = wh.volume(UID, color=True)
    assert np.array_equal(volume[0], pydicom.dcmread(tmp_path / "in" / "1").pixel_array)
    assert volume.dtype == kind
    assert np.array_equal(pictures.slice_picture(volume), PICTURE)
    assert np.array_equal(pictures.three_planes(volume)[:64, :64], PICTURE)


def test_other_tools_are_not_told_that_ybr_is_color(every: warehouse.Warehouse) -> None:
    assert every.volume("1.0").references()
    with pytest.raises(NotReferable, match="its colors are not RGB"):
        every.volume(f"1.{list(KINDS).index('YBR')}").references()


def test_palettes_are_rgb_in_nifti_and_wide_ones_refused(tmp_path: Path) -> None:
    names = ("Red", "Green", "Blue")
    tables = {f"{name}PaletteColorLookupTableDescriptor": [4, 0, 16] for name in names}
    for name, table in zip(names, ([0, 1, 2, 255], [3, 4, 5, 6], [7, 8, 9, 10]), strict=True):
        tables[f"{name}PaletteColorLookupTableData"] = (np.array(table, "<u2") << 8).tobytes()  # type: ignore[assignment]
    for number, dtype in enumerate((np.uint8, np.uint16)):
        indices = np.array([[0, 1], [2, 3]], dtype)
        for n in (1, 2):
            write_slice(tmp_path / "in" / f"{number}{n}", indices, uid=f"1.{number}.{n}", InstanceNumber=n,
                        SeriesInstanceUID=f"1.{number}", PhotometricInterpretation="PALETTE COLOR", **tables)  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", mode="full", workers=1)
    image = nibabel.Nifti1Image.from_bytes(files.nifti(wh.volume("1.0")).to_bytes())
    assert np.asarray(image.dataobj)[1, 1, 0].item() == (255, 6, 10)
    said = json.loads(wh.volume("1.0").references()["refs"]["voxels/.zattrs"])
    assert said["PhotometricInterpretation"] == "PALETTE COLOR", "places in it are no intensities"
    with pytest.raises(UsageError, match="more than 8 bits"):
        files.nifti(wh.volume("1.1"))


def test_color_has_no_numbers(tmp_path: Path) -> None:
    """Rescaled or windowed, values of color would be stored ones, or those modulo 256."""
    names = ("Red", "Green", "Blue")
    tables: dict[str, Any] = {}
    for name in names:
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [1001, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = np.arange(1001, dtype="<u2").tobytes()
    wide = np.array([[0, 255], [256, 1000]], np.uint16)
    kinds: dict[str, dict[str, Any]] = {
        "1.0": {"pixels": wide, "PhotometricInterpretation": "PALETTE COLOR", **tables},
        "1.1": {"pixels": np.stack([wide] * 3, -1), "PhotometricInterpretation": "RGB",
                "SamplesPerPixel": 3, "PlanarConfiguration": 0},
    }  # fmt: skip
    for uid, kind in kinds.items():
        for n in (1, 2):
            write_slice(tmp_path / "in" / f"{uid}.{n}", uid=f"{uid}.{n}", InstanceNumber=n,
                        SeriesInstanceUID=uid, RescaleSlope=2, RescaleIntercept=0, **kind)  # fmt: skip
    # Palettes of 8 and of 16 bits in one series, and one beside grayscale.
    narrow = {
        "pixels": np.array([[0, 1], [2, 3]], np.uint8),
        "PhotometricInterpretation": "PALETTE COLOR",
    }
    gray = {"pixels": wide, "PhotometricInterpretation": "MONOCHROME2"}
    for uid, each in {"1.2": (narrow | tables, kinds["1.0"]), "1.3": (gray, kinds["1.0"])}.items():
        for n, kind in enumerate(each, 1):
            write_slice(tmp_path / "in" / f"{uid}.{n}", uid=f"{uid}.{n}", InstanceNumber=n,
                        SeriesInstanceUID=uid, **kind)  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", mode="full", workers=1)
    for uid in kinds:
        for options in (
            {"window": (500, 1000)},
            {"window": "header"},
            {"rescale": True},
            {"rescale": "HU"},
        ):
            with pytest.raises(NoSingleUnit, match="colors have no numbers"):
                wh.volume(uid, **options)  # type: ignore[arg-type]
            with pytest.raises(NoSingleUnit, match="colors have no numbers"):
                wh.stack(uid).with_values(Values(**options))  # type: ignore[arg-type]
        with pytest.raises(NoSingleUnit):
            wh.stack(uid, rescale=True)
        (loaded,) = wh.iter_volumes([uid], rescale=True)
        assert "colors have no numbers" in str(loaded.why_not)
        assert wh.volume(uid)[0].max() == 1000
        assert wh.volume(uid, color=True)[0].max() == 1000
        assert pictures.slice_picture(wh.volume(uid), 0, window=(500, 1000)).max() == 1000 >> 8
        assert pictures.three_planes(wh.volume(uid), window=(500, 1000)).max() == 1000 >> 8
        assert np.array_equal(wh.stack(uid, color=True)[0], wh.volume(uid, color=True)[0])
        assert np.array_equal(volume_of(wh.catalog, uid)[:], wh.volume(uid)[:]), (
            "inputs of algorithms"
        )
    mixed = wh.volume("1.2", color=True)
    assert (mixed.dtype, mixed[:].max()) == (np.uint16, 1000)
    with pytest.raises(NotAVolume, match="in color"):
        wh.volume("1.3", color=True)
    with pytest.raises(NoSingleUnit):
        wh.volume("1.3", rescale=True)


def test_colors_that_nothing_defines_are_refused(tmp_path: Path) -> None:
    for number, (meant, bits) in enumerate((("HSV", 8), ("CMYK", 8), ("YBR_FULL", 16))):
        pixels = np.zeros((2, 2, 3), f"u{bits // 8}")
        write_slice(tmp_path / "in" / f"{number}", pixels, uid=f"1.{number}.1", SeriesInstanceUID=f"1.{number}",
                    PhotometricInterpretation=meant, SamplesPerPixel=3, PlanarConfiguration=0)  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", mode="full", workers=1)
    for number in range(3):
        stack = wh.stack(f"1.{number}")
        assert stack[0].shape == (2, 2, 3), "as stored it is read"
        with pytest.raises(PixelsUnreadable, match="neither RGB|no known RGB"):
            stack.with_values(Values(color=True))[0]
