"""Images in files, read by plain readers and compared with SimpleITK, nibabel and tifffile."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile

import warehouse
from tests.components.test_sockets import mha
from warehouse.components.image_checks import labels, require_image
from warehouse.components.images import arrays, read_image
from warehouse.errors import ImageRefused, ValueRefused

RNG = np.random.default_rng(1)


def voxels(path: Path) -> np.ndarray[Any, Any]:
    image = read_image(path)
    return np.concatenate(list(arrays(image))).reshape(image.shape)


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("packed", [False, True])
def test_mha_as_simpleitk_writes_it(tmp_path: Path, kind: str, packed: bool) -> None:
    array = (RNG.random((3, 4, 5)) * 100).astype(kind)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "a.mha"), packed)
    assert np.array_equal(voxels(tmp_path / "a.mha"), array)
    assert read_image(tmp_path / "a.mha").shape == (3, 4, 5)


@pytest.mark.parametrize("fields", [
    {"BinaryDataByteOrderMSB": "1"}, {"BinaryDataByteOrderMSB": "T"}, {"ElementByteOrderMSB": "True"},
    {"BinaryData": "T"},
])  # fmt: skip
def test_flags_of_mha_are_those_of_simpleitk(tmp_path: Path, fields: dict[str, str]) -> None:
    path = tmp_path / "a.mha"
    path.write_bytes(mha([3, 2], "MET_SHORT", np.arange(6, dtype=">i2").tobytes(), **fields))
    assert np.array_equal(voxels(path), SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_nifti_as_nibabel_writes_it(tmp_path: Path, name: str, kind: Any) -> None:
    array = RNG.integers(-5, 300, (5, 4, 3)).astype(np.int16)
    kind(array, np.eye(4)).to_filename(tmp_path / name)
    assert np.array_equal(voxels(tmp_path / name), array.T)


@pytest.mark.parametrize(("kind", "at", "form"), [
    (nibabel.Nifti1Image, 112, "<2f"), (nibabel.Nifti2Image, 176, "<2d"),
])  # fmt: skip
def test_a_slope_that_is_zero_or_not_finite_is_no_scaling(
    tmp_path: Path, kind: Any, at: int, form: str
) -> None:
    path = tmp_path / "a.nii"
    kind(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4)).to_filename(path)
    content = bytearray(path.read_bytes())
    for slope, intercept in ((0, 5), (math.nan, math.nan), (math.inf, 0), (1, 0)):
        struct.pack_into(form, content, at, slope, intercept)
        path.write_bytes(bytes(content))
        assert np.array_equal(voxels(path), nibabel.load(path).get_fdata().T), slope
    for slope, intercept in ((2, 0), (1, 5), (1, math.nan)):
        struct.pack_into(form, content, at, slope, intercept)
        path.write_bytes(bytes(content))
        with pytest.raises(ImageRefused, match="a slope or an intercept"):
            read_image(path)


@pytest.mark.parametrize(("kind", "at", "form", "offset"), [
    (nibabel.Nifti1Image, 108, "<f", 348), (nibabel.Nifti2Image, 168, "<q", 540),
])  # fmt: skip
def test_voxels_that_overlap_the_header_are_refused(
    tmp_path: Path, kind: Any, at: int, form: str, offset: int
) -> None:
    """NIfTI: the least vox_offset of a single file is 352 and 544; nibabel reads 0 as stated, ITK as 348."""
    path = tmp_path / "a.nii"
    kind(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4)).to_filename(path)
    content = bytearray(path.read_bytes())
    for stated in (0, offset):
        struct.pack_into(form, content, at, stated)
        path.write_bytes(bytes(content))
        with pytest.raises(ImageRefused, match="offset"):
            read_image(path)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_as_tifffile_writes_it(tmp_path: Path, order: Any) -> None:
    array = RNG.integers(0, 5, (3, 4, 5)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=order, photometric="minisblack")
    assert np.array_equal(voxels(tmp_path / "a.tif"), array)


def test_tiles_and_packed_strips_of_tiff(tmp_path: Path) -> None:
    array = RNG.integers(0, 5, (40, 50)).astype(np.uint8)
    for name, options in {
        "t": {"tile": (16, 16)},
        "z": {"compression": "zlib", "rowsperstrip": 7},
    }.items():
        tifffile.imwrite(tmp_path / name, array, photometric="minisblack", **options)
        assert labels(read_image(tmp_path / name)) == {0, 1, 2, 3, 4}


def test_a_tiff_that_is_cut_off_or_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((40, 50), np.uint8), photometric="minisblack")
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(ImageRefused, match="more voxels"):
        require_image(path, "IMG", [])
    # Width 50 becomes 2 ** 31: entry 256 of the directory, a long or a short.
    at = whole.index(b"\x00\x01", 8)
    lying = bytearray(whole)
    lying[at + 2 : at + 4], lying[at + 8 : at + 12] = b"\x04\x00", b"\0\0\0\x80"
    path.write_bytes(bytes(lying))
    with pytest.raises(ImageRefused):
        require_image(path, "SEG", segments(1))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (mha([2, 2], "MET_UCHAR", bytes(3)), "more voxels than the file"),
        (mha([2, 2], "MET_UCHAR", bytes(5)), "another number"),
        (mha([2, 1 << 40], "MET_UCHAR", bytes(4)), "GiB"),
        (mha([2, 2], "MET_UCHAR", b"", ElementDataFile="/etc/passwd"), "another file"),
        (mha([2, 2], "MET_UCHAR", b"", ElementDataFile="LIST"), "another file"),
        (mha([2, -2], "MET_UCHAR", bytes(4)), "dimensions"),
        (mha([2, 0], "MET_UCHAR", b""), "dimensions"),
        (mha([2], "MET_UCHAR", bytes(2)), "dimensions"),
        (mha([1] * 5, "MET_UCHAR", bytes(1)), "dimensions"),
        (mha([2, 2], "MET_STRING", bytes(4)), "size or a type"),
        (mha([2, 2], "MET_UCHAR", bytes(4), DimSize="2 x"), "size or a type"),
        (mha([2, 2], "MET_UCHAR", bytes(4), NDims=3), "dimensions"),
        (mha([2, 2], "MET_UCHAR", bytes(4), HeaderSize=-1), "header size"),
        (mha([2, 2], "MET_UCHAR", bytes(4), BinaryData="False"), "text"),
        (mha([2, 2], "MET_UCHAR", zlib.compress(bytes(3)), CompressedData="True"), "another number"),
        (mha([2, 2], "MET_UCHAR", zlib.compress(bytes(99)), CompressedData="True"), "another number"),
        (mha([2, 2], "MET_UCHAR", b"nothing", CompressedData="True"), "damaged"),
        (b"", "not a MetaImage"), (b"a = b", "not a MetaImage"), (b"\x89PNG\r\n\x1a\n", "not a MetaImage"),
        (gzip.compress(b"abc", mtime=0), "not a MetaImage"), (b"\x1f\x8bxxxx", "gzip"), (b"II*\0" + bytes(40), "TIFF"),
    ],
)  # fmt: skip
def test_images_that_lie_are_refused(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.mha").write_bytes(content)
    with pytest.raises(ImageRefused, match=why):
        require_image(tmp_path / "a.mha", "IMG", [])


def test_a_bomb_is_unpacked_no_further_than_its_header_says(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(20 << 20), 9)
    (tmp_path / "a.mha").write_bytes(mha([2, 2], "MET_UCHAR", bomb, CompressedData="True"))
    with pytest.raises(ImageRefused, match="another number"):
        read_image(tmp_path / "a.mha")


@pytest.mark.acceptance("G29")
@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("name", ["a.mha", "a.nii.gz", "a.tif"])
def test_labels_are_the_values_that_occur(tmp_path: Path, kind: str, name: str) -> None:
    array = np.zeros((3, 4, 5), kind)
    array[0, 0, 0], array[2, 3, 4] = 2, 5
    path = tmp_path / name
    if name == "a.mha":
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))
    elif name == "a.tif":
        tifffile.imwrite(path, array, photometric="minisblack")
    else:
        nibabel.Nifti1Image(array.T, np.eye(4)).to_filename(path)
    assert labels(read_image(path)) == {0, 2, 5}


def segments(*values: int) -> list[dict[str, Any]]:
    return [{"voxel_value": value, "name": str(value), "visible": True} for value in values]


@pytest.mark.acceptance("G29")
def test_a_segmentation_has_labels_of_its_socket_only(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    path.write_bytes(mha([2, 2], "MET_UCHAR", bytes([0, 1, 2, 1])))
    require_image(path, "SEG", segments(1, 2, 3))
    with pytest.raises(ImageRefused, match="such as 2"):
        require_image(path, "SEG", segments(1))
    path.write_bytes(mha([1, 2], "MET_FLOAT", np.array([0.5, 1], "f4").tobytes()))
    with pytest.raises(ImageRefused, match="fractions"):
        require_image(path, "SEG", segments(1))
    for number in (np.nan, np.inf, -np.inf):  # an infinite one ended the run of all jobs
        path.write_bytes(mha([1, 2], "MET_FLOAT", np.array([number, 1], "f4").tobytes()))
        with pytest.raises(ImageRefused, match="fractions"):
            require_image(path, "SEG", segments(1))
    tifffile.imwrite(tmp_path / "a.tif", np.ones((2, 3), "c8"))
    with pytest.raises(ImageRefused, match="fractions"):
        require_image(tmp_path / "a.tif", "SEG", segments(1))
    path.write_bytes(mha([1, 1], "MET_UCHAR", bytes(3), ElementNumberOfChannels=3))
    with pytest.raises(ImageRefused, match="colors"):
        require_image(path, "SEG", segments(1))
    planes = np.zeros((3, 4, 5), "u1")  # a plane per color, not three slices
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    assert (read_image(tmp_path / "a.tif").shape, read_image(tmp_path / "a.tif").channels) == (
        (4, 5),
        3,
    )
    with pytest.raises(ImageRefused, match="colors"):
        require_image(tmp_path / "a.tif", "SEG", segments(1))
    many = np.arange(1000, dtype="<u2")
    path.write_bytes(mha([1000, 1], "MET_USHORT", many.tobytes()))
    with pytest.raises(ImageRefused, match="more than 256 values"):
        require_image(path, "SEG", segments(1))


@pytest.mark.acceptance("G29")
def test_a_stack_of_masks_has_a_label_for_each(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    path.write_bytes(mha([2, 2, 1, 3], "MET_UCHAR", bytes([0, 1] * 6)))
    assert labels(read_image(path)) == {0, 1, 2, 3}
    require_image(path, "SEG", segments(1, 2, 3))
    with pytest.raises(ImageRefused, match="such as 3"):
        require_image(path, "SEG", segments(1, 2))
    path.write_bytes(mha([1, 1, 1, 65], "MET_UCHAR", bytes(65)))
    with pytest.raises(ImageRefused, match="64 volumes"):
        require_image(path, "SEG", segments(1))


@pytest.mark.acceptance("G30")
@pytest.mark.parametrize(
    ("shape", "channels", "good"),
    [((3, 1, 6, 6), 1, True), ((2, 1, 6, 6), 1, False), ((3, 6, 6), 1, False),
     ((3, 1, 6, 6), 3, False)],
)  # fmt: skip
def test_a_displacement_field(
    tmp_path: Path, shape: tuple[int, ...], channels: int, good: bool
) -> None:
    count = int(np.prod(shape)) * channels
    content = mha(
        list(shape[::-1]), "MET_FLOAT", bytes(4 * count), ElementNumberOfChannels=channels
    )  # fmt: skip
    (tmp_path / "a.mha").write_bytes(content)
    if good:
        assert require_image(tmp_path / "a.mha", "DSPF", []).shape == shape
        return
    with pytest.raises(ImageRefused, match="displacement field"):
        require_image(tmp_path / "a.mha", "DSPF", [])


@pytest.mark.acceptance("G32")
@pytest.mark.acceptance("G33")
def test_a_series_is_a_dicom_image_set_and_a_file_is_none(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    parts = wh.components
    parts.create_socket(title="Scan", kind="DCMIS", relative_path="images/scan")
    parts.create_socket(title="Image", kind="IMG", relative_path="images/image")
    (tmp_path / "a.mha").write_bytes(mha([2, 2], "MET_UCHAR", bytes(4)))
    with pytest.raises(ValueRefused, match="a series of the archive, not a file"):
        parts.add_value("scan", file=tmp_path / "a.mha")
    with pytest.raises(ValueRefused, match="not a socket for DICOM"):
        parts.add_value("image", dicom_series="1.2.10")
    added = parts.add_value("scan", dicom_series="1.2.10", series="1.2.10")
    frames = wh.sql(
        f"select * exclude (value_id, frame_number) from dicom_image_set_frames where value_id = '{added.value_id}' order by sop_instance_uid"
    ).pl()
    assert frames.columns == [
        "image_frame_id", "frame_size_in_bytes", "study_instance_uid", "series_instance_uid",
        "sop_instance_uid", "stored_transfer_syntax_uid",
    ]  # fmt: skip
    assert frames["sop_instance_uid"].to_list() == ["1.1.10", "1.1.11"]
    # 2 x 2 pixels of 8 bits; the values are longer.
    assert frames["frame_size_in_bytes"].to_list() == [4, 4]
    assert all(len(key) == 32 for key in frames["image_frame_id"])
    with pytest.raises(ValueRefused, match="differ in StudyID"):
        parts.add_value("scan", dicom_series="1.2.20")
    with pytest.raises(ValueRefused, match="without pixel data"):
        parts.add_value("scan", dicom_series="1.2.30")
    with pytest.raises(ValueRefused, match="not in the warehouse"):
        parts.add_value("scan", dicom_series="1.2.99")
