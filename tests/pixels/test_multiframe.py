"""Mosaics, multi-frame objects of any SOP class, segmentations: where each frame goes."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from nibabel.nicom.dicomwrappers import wrapper_from_file
from pydicom.dataset import Dataset

import warehouse
from tests.asking import answer_of
from tests.conftest import PACKAGED
from tests.dicom_files import dataset, image, write
from tests.made_once import made_once
from tests.pixels.conftest import UID, answered_once, put_series, voxels, write_slice
from tests.vendor_payloads import CSA, add_private, ascconv, csa
from warehouse.errors import NotAVolume, PixelsUnreadable, UsageError
from warehouse.pixels import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Ingest = Callable[..., warehouse.Warehouse]

ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.3.1"
DOSE = "1.2.840.10008.5.1.4.1.1.481.2"


def ingested(ingest: Ingest) -> warehouse.Warehouse:
    ingest(mode="full")
    made: warehouse.Warehouse = ingest.warehouse  # type: ignore[attr-defined]
    return made


# -- mosaics ----------------------------------------------------------------------------------------


def write_mosaic(
    path: Path, volume: np.ndarray, normal: Sequence[float] | None, *, protocol: str = "", **attributes: Any
) -> None:  # fmt: skip
    """Write slices (slice, row, column) as the tiles of a mosaic, padding all ones."""
    count, rows, columns = volume.shape
    side = int(np.ceil(np.sqrt(count)))
    sheet = np.ones((side * rows, side * columns), np.uint16)
    for number, tile in enumerate(volume):
        top, left = number // side * rows, number % side * columns
        sheet[top : top + rows, left : left + columns] = tile
    usual: dict[str, Any] = {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"], "Modality": "MR", "Rows": sheet.shape[0],
        "Columns": sheet.shape[1], "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
        "PixelData": sheet.tobytes(), "ImagePositionPatient": [1, 2, 3], "PixelSpacing": [2, 2],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "SpacingBetweenSlices": 5, "SeriesInstanceUID": UID,
    }  # fmt: skip
    made = image(**{**usual, **attributes})
    elements = [("NumberOfImagesInMosaic", "US", [str(count)])]
    if normal is not None:
        elements.append(("SliceNormalVector", "FD", [str(part) for part in normal]))
    series = (
        [("MrPhoenixProtocol", "UN", [protocol])]
        if protocol
        else [("UsedPatientWeight", "IS", ["1"])]
    )
    add_private(made, CSA, 0x0029, 0x10, x10=("OB", csa(elements)), x20=("OB", csa(series)))
    write(path, made)


COUNTS, NORMALS = [28, 60, 35, 36, 2], [[0, 0, 1], [0, 0, -1]]
NOT_PLACED: list[tuple[list[int] | None, dict[str, Any], str]] = [
    (None, {}, "do not say how many slices they hold and which way"),
    ([0, 1, 0], {}, "is not at right angles"),
    ([0, 0, 1], {"SpacingBetweenSlices": None}, "without a distance between slices"),
    ([0, 0, 1], {"PixelSpacing": None}, "without position, orientation or spacing"),
    ([0, 0, 1], {"Rows": 5, "PixelData": bytes(90)}, "do not divide into 3 x 3 tiles"),
]


def tiles(count: int) -> np.ndarray:
    return np.arange(count * 6, dtype=np.uint16).reshape(count, 2, 3)


@pytest.fixture(scope="module")
def mosaics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    """Series by count of tiles (1.4.count), by normal (1.5.n), and refused ones (1.6.n). Not to write to."""

    def make(folder: Path) -> None:
        def put(uid: str, *of_mosaic: Any, **attributes: Any) -> None:
            attributes |= {"uid": f"{uid}.1", "SeriesInstanceUID": uid}
            write_mosaic(folder / "in" / uid, *of_mosaic, **attributes)

        for count in COUNTS:
            put(f"1.4.{count}", tiles(count), [0, 0, 1])
        for n, normal in enumerate(NORMALS):
            put(f"1.5.{n}", tiles(5), normal)
        for n, (stated, attributes, _) in enumerate(NOT_PLACED):
            put(f"1.6.{n}", np.ones((5, 2, 3), np.uint16), stated, **attributes)
        warehouse.open(folder / "w", create=True).ingest(folder / "in", workers=1)

    opened = warehouse.open(made_once(tmp_path_factory, "mosaics", make) / "w")
    with answered_once(opened, "mosaic_geometry"):
        yield opened


@pytest.mark.acceptance("D54")
@pytest.mark.parametrize("count", COUNTS)
def test_padding_tiles_are_dropped(count: int, mosaics: warehouse.Warehouse) -> None:
    volume, wanted = mosaics.volume(f"1.4.{count}"), tiles(count)
    assert volume.shape == (count, 2, 3)
    assert np.array_equal(volume[:], wanted)
    assert np.array_equal(volume[count - 1, ::-1, 1:], wanted[count - 1, ::-1, 1:])


@pytest.mark.acceptance("D55")
@pytest.mark.parametrize("normal", NORMALS)
def test_slices_of_mosaics_go_along_the_normal_of_rows_and_columns(
    normal: list[int], mosaics: warehouse.Warehouse
) -> None:
    """Tiles follow the normal of the CSA header; the array that of rows and columns, as elsewhere."""
    volume = mosaics.volume(f"1.5.{NORMALS.index(normal)}")
    up = normal == [0, 0, 1]
    assert np.array_equal(volume[:], tiles(5) if up else tiles(5)[::-1])
    assert volume.affine is not None
    # 3 x 3 tiles: the corner of a slice lies half of the surplus, 3 columns and 2 rows, further on.
    first_tile = volume.affine @ [0 if up else 4, 0, 0, 1]
    assert np.allclose(first_tile, [1 + 3 * 2, 2 + 2 * 2, 3, 1])
    assert np.allclose(volume.affine[:3, 0], [0, 0, 5])


@pytest.mark.parametrize("number", range(len(NOT_PLACED)))
def test_mosaics_without_what_places_them_are_refused(
    number: int, mosaics: warehouse.Warehouse
) -> None:
    with pytest.raises(NotAVolume, match=NOT_PLACED[number][2]):
        mosaics.volume(f"1.6.{number}")
    assert len(mosaics.stack(f"1.6.{number}")) == 1


def test_a_distance_that_only_the_protocol_states_is_that_of_the_view(
    tmp_path: Path, ingest: Ingest
) -> None:
    protocol = ascconv(
        "sSliceArray.asSlice[0].sPosition.dTra = -3.5", "sSliceArray.asSlice[1].sPosition.dTra = 4"
    )
    write_mosaic(
        tmp_path / "in" / "a.dcm", np.ones((5, 2, 3), np.uint16), [0, 0, 1], protocol=protocol,
        SpacingBetweenSlices=None,
    )  # fmt: skip
    wh = ingested(ingest)
    volume = wh.volume(UID)
    assert volume.spacing == (7.5, 2, 2)
    assert volume.affine is not None
    ((affine,),) = answer_of(wh, "select affine from mosaic_geometry")
    assert np.allclose(np.reshape(affine, (4, 4))[:, [2, 1, 0, 3]], volume.affine)


def test_mosaics_of_a_scanner_equal_nibabel(tmp_path: Path) -> None:
    source = next(PACKAGED["nibabel"].glob("siemens_dwi_1000.dcm.gz"))
    path = tmp_path / "a.dcm"
    path.write_bytes(gzip.decompress(source.read_bytes()))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(path, workers=1)
    volume = wh.volume(answer_of(wh, "select series_key from series")[0][0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = wrapper_from_file(str(path))
        wanted, affine = theirs.get_data(), theirs.affine  # (row, column, tile)
    assert volume.affine is not None
    backwards = float(affine[:3, 2] @ volume.affine[:3, 0]) < 0
    tiles = volume[::-1] if backwards else volume[:]
    # nibabel scales, by 1
    assert np.array_equal(tiles.transpose(1, 2, 0), wanted)
    ours = volume.affine[:, [1, 2, 0, 3]].copy()
    if backwards:
        ours[:3, 3] += (len(volume) - 1) * ours[:3, 2]
        ours[:3, 2] *= -1
    assert np.allclose(ours, affine, atol=1e-3)


# -- multi-frame objects ----------------------------------------------------------------------------


def frame(position: Sequence[float], *indices: int, stack: str | None = None, slope: float | None = None,
          segment: int | None = None, spacing: Sequence[float] | None = None) -> Dataset:  # fmt: skip
    """Return the functional groups of one frame."""
    content = {"DimensionIndexValues": list(indices) or None, "StackID": stack}
    made = dataset(
        PlanePositionSequence=[dataset(ImagePositionPatient=list(position))],
        FrameContentSequence=[dataset(**{k: v for k, v in content.items() if v is not None})],
    )
    if slope is not None:
        made.PixelValueTransformationSequence = [dataset(RescaleSlope=slope, RescaleIntercept=1)]
    if segment is not None:
        made.SegmentIdentificationSequence = [dataset(ReferencedSegmentNumber=segment)]
    if spacing is not None:
        made.PixelMeasuresSequence = [dataset(PixelSpacing=list(spacing))]
    return made


SHARED = [
    dataset(
        PixelMeasuresSequence=[dataset(PixelSpacing=[0.5, 0.75])],
        PlaneOrientationSequence=[dataset(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
    )
]


def write_frames(
    path: Path,
    pixels: np.ndarray,
    frames: list[Dataset],
    pointers: Sequence[int] = (),
    **attributes: Any,
) -> None:
    """Write a multi-frame object with int16 pixels (frame, row, column)."""
    usual: dict[str, Any] = {
        "SOPClassUID": ENHANCED_MR, "SeriesInstanceUID": UID, "Modality": "MR", "Rows": pixels.shape[1],
        "Columns": pixels.shape[2], "NumberOfFrames": len(pixels), "BitsAllocated": 8 * pixels.itemsize,
        "BitsStored": 8 * pixels.itemsize, "HighBit": 8 * pixels.itemsize - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"), "PixelData": pixels.tobytes(),
        "SharedFunctionalGroupsSequence": SHARED, "PerFrameFunctionalGroupsSequence": frames or None,
        "DimensionIndexSequence": [dataset(DimensionIndexPointer=tag) for tag in pointers] or None,
        "uid": f"1.9.{path.stem}",
    }  # fmt: skip
    write(path, **{**usual, **attributes})


STACK_ID, IN_STACK, TEMPORAL, B_VALUE = 0x00209056, 0x00209057, 0x00209128, 0x00189087


ORDER = np.random.default_rng(3).permutation(12)
"""Of two b-values, two times and three slices."""


def put_space_time_b_value(folder: Path, uid: str) -> None:
    places = [(b, t, z) for b in range(2) for t in range(2) for z in range(3)]
    frames = [frame([0, 0, -4.0 * places[n][2]], 1, places[n][2] + 1, places[n][1] + 5, places[n][0] + 1)
              for n in ORDER]  # fmt: skip
    pointers = [STACK_ID, IN_STACK, TEMPORAL, B_VALUE]
    write_frames(folder / "1", voxels(12)[ORDER], frames, pointers, SeriesInstanceUID=uid)


def put_rescaled(folder: Path, uid: str) -> None:
    frames = [frame([0, 0, 2.0 * n], slope=n + 1.0) for n in range(3)]
    write_frames(
        folder / "2", voxels(3), frames, SOPClassUID=ENHANCED_CT, Modality="CT", SeriesInstanceUID=uid
    )  # fmt: skip


def put_stacks(folder: Path, uid: str) -> None:
    frames = [frame([0, 0, 2.0 * n], 1, n + 1, stack="A") for n in range(3)]
    frames += [frame([70, 0, 9.0 * n], 2, n + 1, stack="B") for n in range(2)]
    write_frames(folder / "3", voxels(5), frames, [STACK_ID, IN_STACK], SeriesInstanceUID=uid)


def put_no_box(folder: Path, uid: str) -> None:
    """b = 0 once, b = 1000 in two directions: three volumes."""
    kinds = [(1, 1), (2, 1), (2, 2)]
    frames = [frame([0, 0, 2.0 * z], z + 1, *kind) for kind in kinds for z in range(2)]
    pointers = [IN_STACK, B_VALUE, 0x00189075]
    write_frames(folder / "4", voxels(6), frames, pointers, SeriesInstanceUID=uid)


def put_two_objects(folder: Path, uid: str) -> None:
    for number in range(2):
        frames = [frame([0, 0, 2.0 * z], z + 1) for z in range(3)]
        write_frames(
            folder / f"5{number}", voxels(3) + number, frames, [IN_STACK], InstanceNumber=number,
            SeriesInstanceUID=uid,
        )  # fmt: skip


def put_segments(folder: Path, uid: str) -> None:
    frames = [frame([0, 0, 3.0 * z], s, z + 1, segment=s) for s, z in SEGMENT_FRAMES]
    stored = np.stack([SEGMENT_MAPS[s - 1, z] for s, z in SEGMENT_FRAMES])
    write_frames(
        folder / "6", stored, frames, [0x0062000B, 0x00200032], SOPClassUID=SEGMENTATION, Modality="SEG",
        BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=np.packbits(stored.ravel(), bitorder="little").tobytes(),
        SeriesInstanceUID=uid,
    )  # fmt: skip


def put_far_apart(folder: Path, uid: str) -> None:
    frames = [frame([0, 0, z], 1, n, segment=1) for n, z in enumerate((0, 0.02, 9e5))]
    write_frames(
        folder / "7", voxels(3), frames, [0x0062000B], SOPClassUID=SEGMENTATION, SeriesInstanceUID=uid
    )  # fmt: skip


def put_film(folder: Path, uid: str) -> None:
    write_frames(
        folder / "8", FILM[..., 0], [], SOPClassUID=ULTRASOUND, Modality="US", FrameIncrementPointer=0x00181063,
        FrameTime=40, SharedFunctionalGroupsSequence=None, SamplesPerPixel=3, PhotometricInterpretation="RGB",
        PlanarConfiguration=1, PixelData=FILM.transpose(0, 3, 1, 2).tobytes(), SeriesInstanceUID=uid,
    )  # fmt: skip


def put_twice(folder: Path, uid: str) -> None:
    """Two frames at one place."""
    frames = [frame([0, 0, 2.0 * z], z + 1) for z in (0, 1, 1)]
    write_frames(folder / "9", voxels(3), frames, [IN_STACK], SeriesInstanceUID=uid)


def put_single_frames(folder: Path, uid: str) -> None:
    """Objects of one frame each, whose numbers run against their positions."""
    for z in range(3):
        group = frame((0, 0, 3.0 * z), 1, z + 1, stack="1", slope=z + 2)
        write_frames(
            folder / f"10{9 - z}", voxels(3)[z : z + 1], [group], [STACK_ID, IN_STACK], InstanceNumber=9 - z,
            SeriesInstanceUID=uid,
        )  # fmt: skip


def put_nuclear_medicine(
    folder: Path, uid: str, pixels: np.ndarray | None = None, spacing: float = -4.0
) -> None:
    """Five slices at two times; the sign of Spacing Between Slices is the direction."""
    first = dataset(ImagePositionPatient=[-10, -20, 30], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    write_frames(
        folder / f"11{uid}", voxels(10) if pixels is None else pixels, [],
        SOPClassUID="1.2.840.10008.5.1.4.1.1.20", Modality="NM",
        ImageType=["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"], PixelSpacing=[4, 4],
        SpacingBetweenSlices=spacing, DetectorInformationSequence=[first], SharedFunctionalGroupsSequence=None,
        FrameIncrementPointer=[0x00540070, 0x00540080], TimeSlotVector=[1] * 5 + [2] * 5,
        SliceVector=[1, 2, 3, 4, 5] * 2, uid=f"{uid}.1", SeriesInstanceUID=uid,
    )  # fmt: skip


def segment_maps() -> np.ndarray:
    """Return (segment, slice, row, column) of two segments, of which some slices are empty."""
    maps = np.random.default_rng(5).integers(0, 2, (2, 4, 3, 5), np.uint8)
    for segment in range(2):
        for z in range(4):
            if (segment + 1, z) not in SEGMENT_FRAMES:
                maps[segment, z] = 0
    return maps


SEGMENT_FRAMES = [(1, 0), (1, 1), (1, 3), (2, 1)]
SEGMENT_MAPS = segment_maps()
FILM = np.arange(4 * 2 * 3 * 3, dtype=np.uint8).reshape(4, 2, 3, 3)
PUT = [
    put_space_time_b_value, put_rescaled, put_stacks, put_no_box, put_two_objects, put_segments,
    put_far_apart, put_film, put_twice, put_single_frames, put_nuclear_medicine,
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    """A series of each writer. Not to write to."""

    def make(folder: Path) -> None:
        for put in PUT:
            put(folder / "in", uid_of(put))
        warehouse.open(folder / "w", create=True).ingest(folder / "in", mode="full", workers=1)

    wh = warehouse.open(made_once(tmp_path_factory, "multi-frame objects", make) / "w")
    with answered_once(wh, "diffusion_frames"), answered_once(wh, "frames"):
        yield wh


def uid_of(put: Callable[[Path, str], None]) -> str:
    return f"1.7.{PUT.index(put)}"


@pytest.mark.acceptance("D56")
def test_frames_are_space_by_time_by_b_value(made: warehouse.Warehouse) -> None:
    """Two b-values, two times, three slices, stored in no order; the position decides about slices."""
    volume = made.volume(uid_of(put_space_time_b_value))
    assert volume.dims == ("TemporalPositionIndex", "DiffusionBValue", "slice", "row", "column")
    assert volume.labels == {"TemporalPositionIndex": [5, 6], "DiffusionBValue": [1, 2]}
    wanted = voxels(12).reshape(2, 2, 3, 4, 6).transpose(1, 0, 2, 3, 4)[:, :, ::-1]
    assert np.array_equal(volume[:], wanted)
    assert np.array_equal(volume[1, 0, :, 2], wanted[1, 0, :, 2])
    assert volume.spacing == (4, 0.5, 0.75)
    assert volume.affine is not None
    assert np.allclose(volume.affine @ [0, 0, 0, 1], [0, 0, -8, 1])


@pytest.mark.acceptance("D56")
def test_each_frame_has_its_own_rescale_in_any_sop_class(made: warehouse.Warehouse) -> None:
    pixels, uid = voxels(3), uid_of(put_rescaled)
    assert np.array_equal(made.volume(uid)[:], pixels)
    rescaled = made.volume(uid, rescale=True)
    assert rescaled.dtype == np.float64
    assert np.array_equal(rescaled[:], pixels * np.array([1.0, 2, 3])[:, None, None] + 1)


@pytest.mark.acceptance("D56")
def test_of_several_stacks_one_is_asked_for(made: warehouse.Warehouse) -> None:
    uid = uid_of(put_stacks)
    with pytest.raises(NotAVolume, match=r"several stacks: A, B; choose one \(stack_id=\.\.\.\)"):
        made.volume(uid)
    assert np.array_equal(made.volume(uid, stack_id="B")[:], voxels(5)[3:])
    assert made.volume(uid, stack_id="A").spacing == (2, 0.5, 0.75)
    with pytest.raises(NotAVolume, match="no stack 'C'; there are: A, B"):
        made.volume(uid, stack_id="C")


def test_combinations_that_fill_no_box_are_one_axis(made: warehouse.Warehouse) -> None:
    volume = made.volume(uid_of(put_no_box))
    assert volume.dims == ("volume", "slice", "row", "column")
    assert np.array_equal(volume[:], voxels(6).reshape(3, 2, 4, 6))


def test_parts_of_a_concatenation_are_one_object(tmp_path: Path) -> None:
    """PS3.3 C.7.6.16: two times of three slices, cut in the middle of the second."""
    pixels = np.arange(6 * 4, dtype=np.int16).reshape(6, 2, 2)
    frames = [frame((0, 0, 3.0 * (n % 3)), n // 3 + 1, n % 3 + 1) for n in range(6)]
    # All have one Instance Number; names and UIDs run against the order of the parts.
    for part, of in ((2, slice(4, 6)), (1, slice(0, 4))):
        write_frames(
            tmp_path / "in" / f"{9 - part}.dcm", pixels[of], frames[of], [TEMPORAL, IN_STACK],
            ConcatenationUID="1.9.9", InConcatenationNumber=part, InConcatenationTotalNumber=2,
            ConcatenationFrameOffsetNumber=of.start,
        )  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    volume = wh.volume(UID)
    assert volume.dims == ("TemporalPositionIndex", "slice", "row", "column")
    assert np.array_equal(volume[:], pixels.reshape(2, 3, 2, 2))
    assert np.array_equal(wh.stack(UID)[:], pixels)


@pytest.mark.long("test_concatenations_follow_each_other_by_their_first_frames")
def test_frames_are_numbered_through_their_series(tmp_path: Path) -> None:
    """Frame numbers begin again in each object; nothing but their order tells two times apart.

    Parts of a concatenation follow each other by Concatenation Frame Offset Number, of which the
    standard requires one (PS3.3 C.7.6.16): Instance Numbers run against it here. Other objects
    are in the order of acquisition.
    """
    pixels = np.arange(6 * 4, dtype=np.int16).reshape(6, 2, 2)
    frames = [frame((0, 0, 3.0 * (n % 3))) for n in range(6)]
    cut = [slice(0, 4), slice(4, 6)]
    for uid, is_whole, has_offsets in (
        ("1.1", True, True),
        ("1.2", False, True),
        ("1.3", True, False),
    ):
        for part, of in enumerate(cut):
            whole = {"ConcatenationUID": f"{uid}.9", "InConcatenationNumber": part + 1}
            offset = {"ConcatenationFrameOffsetNumber": of.start}
            write_frames(
                tmp_path / "in" / f"{uid}.{part}.dcm", pixels[of], frames[of], uid=f"{uid}.{part}",
                InstanceNumber=2 - part if is_whole else part + 1, SeriesInstanceUID=uid,
                **(whole if is_whole else {}), **(offset if is_whole and has_offsets else {}),
            )  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    for uid in ("1.1", "1.2"):
        assert np.array_equal(wh.volume(uid)[:], pixels.reshape(2, 3, 2, 2)), uid
    with pytest.raises(NotAVolume, match="no number or time says in which order"):
        wh.volume("1.3")


def test_concatenations_follow_each_other_by_their_first_frames(tmp_path: Path) -> None:
    """The part that comes first by Instance Number may be the last of the later object."""
    # Number, object, first slice, minute
    parts = [(1, "1", 2, 3), (2, "2", 0, 1), (3, "1", 0, 0), (4, "2", 2, 2)]
    pixels = np.arange(12, dtype=np.int16).reshape(2, 3, 2, 1)
    for number, whole, offset, minute in parts:
        stored = pixels[int(whole) - 1, offset : offset + 2]
        groups = [frame((0, 0, 3.0 * z), z + 1) for z in range(offset, offset + len(stored))]
        for group in groups:
            group.FrameContentSequence[0].FrameAcquisitionDateTime = f"2020010110{minute:02d}00"
        write_frames(
            tmp_path / "in" / f"{number}", stored, groups, [IN_STACK], InstanceNumber=number,
            ConcatenationUID=f"1.9.9{whole}", ConcatenationFrameOffsetNumber=offset,
        )  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    volume = wh.volume(UID)
    assert volume.labels["time_s"] == [0, 60]
    assert np.array_equal(volume[:], pixels)


def test_the_fourth_axis_of_nifti_has_a_length_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds all axes before the slices: nibabel's own error said nothing of what to do."""
    frames = [
        frame((0, 0, 3.0 * z), t + 1, b + 1, z + 1)
        for t in range(3)
        for b in range(3)
        for z in range(2)
    ]
    write_frames(
        tmp_path / "in" / "1", np.zeros((18, 1, 1), np.int8), frames, [TEMPORAL, B_VALUE, IN_STACK]
    )
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    volume = wh.volume(UID)
    assert files.nifti(volume).shape == (1, 1, 2, 9)
    monkeypatch.setattr(files, "_LONGEST", 8)
    with pytest.raises(UsageError, match="too long for NIfTI-1"):
        files.nifti(volume)


def test_objects_of_one_series_are_an_axis(made: warehouse.Warehouse) -> None:
    volume = made.volume(uid_of(put_two_objects))
    assert volume.dims == ("instance", "slice", "row", "column")
    assert np.array_equal(volume[:], np.stack([voxels(3), voxels(3) + 1]))


def test_objects_of_one_frame_each_are_a_volume(made: warehouse.Warehouse) -> None:
    uid = uid_of(put_single_frames)
    volume = made.volume(uid, rescale=True)
    assert (volume.dims, volume.spacing) == (("slice", "row", "column"), (3, 0.5, 0.75))
    assert np.array_equal(volume[:], voxels(3) * np.array([2, 3, 4])[:, None, None] + 1)


@pytest.mark.long("test_objects_of_one_frame_each_are_a_volume")
def test_objects_of_one_frame_each_are_slices(tmp_path: Path, ingest: Ingest) -> None:
    """Positions and rescale are in functional groups only, as in all enhanced objects."""
    pixels = voxels(3)
    for z in range(3):
        # Names and numbers run against positions.
        group = frame((0, 0, 3.0 * z), 1, z + 1, stack="1", slope=z + 2)
        write_frames(
            tmp_path / "in" / f"{9 - z}.dcm", pixels[z : z + 1], [group], [STACK_ID, IN_STACK],
            InstanceNumber=9 - z,
        )  # fmt: skip
    write_slice(
        tmp_path / "in" / "plain", pixels[0], SeriesInstanceUID="1.4", ImagePositionPatient=None
    )
    put_series(tmp_path / "in" / "ct", pixels, uid="1.5")
    wh = ingested(ingest)
    volume = wh.volume(UID)
    assert (volume.dims, volume.spacing) == (("slice", "row", "column"), (3, 0.5, 0.75))
    assert np.array_equal(volume[:], pixels)
    rescaled = wh.volume(UID, rescale=True)[:]
    assert np.array_equal(rescaled, pixels * np.array([2, 3, 4])[:, None, None] + 1)
    assert np.array_equal(wh.volume(UID, stack_id="1")[:], pixels)
    for uid, why in (
        (UID, "no stack 'B'; there are: 1"),
        ("1.5", "no stack 'B': its images have no"),
    ):
        with pytest.raises(NotAVolume, match=why):
            wh.volume(uid, stack_id="B")
    reasons = answer_of(
        wh, "select series_key, why_not from series_geometry where series_key <> '1.5' order by 1"
    )
    without = "slices without position, orientation, spacing or size"
    assert reasons == [
        (UID, f"{without}: functional groups may have them, see frames"), ("1.4", without)
    ]  # fmt: skip


def test_frames_that_nothing_tells_apart_are_refused(made: warehouse.Warehouse) -> None:
    with pytest.raises(NotAVolume, match="no attribute distinguishes"):
        made.volume(uid_of(put_twice))


@pytest.mark.long("test_frames_that_nothing_tells_apart_are_refused")
def test_frames_that_nothing_tells_apart_or_that_are_missing_are_refused(
    tmp_path: Path, ingest: Ingest
) -> None:
    twice = [frame([0, 0, 0], 1), frame([0, 0, 2], 2), frame([0, 0, 2], 2)]
    write_frames(tmp_path / "in" / "1.dcm", voxels(3), twice, [IN_STACK])
    holes = [frame([0, 0, 0], 1, 1), frame([0, 0, 2], 2, 1), frame([0, 0, 2], 2, 2)]
    write_frames(
        tmp_path / "in" / "2.dcm", voxels(3), holes, [IN_STACK, TEMPORAL], SeriesInstanceUID="1.5"
    )
    uneven = [frame([0, 0, z], 1) for z in (0, 2, 5)]
    write_frames(tmp_path / "in" / "3.dcm", voxels(3), uneven, SeriesInstanceUID="1.6")
    write_frames(
        tmp_path / "in" / "4.dcm",
        voxels(2),
        [],
        SeriesInstanceUID="1.7",
        SharedFunctionalGroupsSequence=None,
    )
    write_frames(
        tmp_path / "in" / "5.dcm", voxels(2), [], SeriesInstanceUID="1.8", NumberOfFrames=2**31 - 1
    )
    wh = ingested(ingest)
    reasons = {
        UID: "no attribute distinguishes", "1.5": "1 of 4 frames are missing", "1.6": "uneven spacing",
        "1.7": "slices without position, orientation, spacing or size: no position",
    }  # fmt: skip
    with answered_once(wh, "stack_geometry"):
        for uid, reason in reasons.items():
            with pytest.raises(NotAVolume, match=reason):
                wh.volume(uid)
    with pytest.raises(PixelsUnreadable, match="pixel data too short"):
        wh.volume("1.8")


# -- segmentations, films, dose ---------------------------------------------------------------------


def test_a_segmentation_is_a_map_per_segment_with_empty_frames_put_back(
    made: warehouse.Warehouse,
) -> None:
    volume = made.volume(uid_of(put_segments))
    assert (volume.dims, volume.dtype) == (("segment", "slice", "row", "column"), np.uint8)
    assert volume.labels == {"segment": [1, 2]}
    assert np.array_equal(volume[:], SEGMENT_MAPS)
    assert np.array_equal(volume[1, 2:, 1], SEGMENT_MAPS[1, 2:, 1])
    assert volume.frames["frame_number"].to_list() == [1, 2, None, 3, None, 4, None, None]


def test_frames_that_are_far_apart_do_not_fill_the_memory(made: warehouse.Warehouse) -> None:
    with pytest.raises(NotAVolume, match="slices so far apart that 45,000,000 would lie"):
        made.volume(uid_of(put_far_apart))


def test_a_film_counts_time_and_lies_in_no_space(made: warehouse.Warehouse) -> None:
    volume = made.volume(uid_of(put_film))
    assert volume.dims == ("time", "row", "column", "sample")
    assert (volume.affine, volume.affine_ras, volume.spacing, volume.orientation) == (None,) * 4
    assert np.array_equal(volume[:], FILM)


def write_dose(path: Path, doses: np.ndarray, offsets: list[float], orientation: list[float],
               **attributes: Any) -> None:  # fmt: skip
    write_frames(
        path, doses, [], SOPClassUID=DOSE, Modality="RTDOSE", FrameIncrementPointer=0x3004000C,
        GridFrameOffsetVector=offsets, ImagePositionPatient=[1, 2, 50], ImageOrientationPatient=orientation,
        PixelSpacing=[2, 2], SharedFunctionalGroupsSequence=None, **attributes,
    )  # fmt: skip


def test_planes_of_a_dose_grid_lie_where_its_offsets_say(tmp_path: Path, ingest: Ingest) -> None:
    doses = np.arange(3 * 4 * 6, dtype=np.uint32).reshape(3, 4, 6)
    grids: list[tuple[list[float], list[float], list[float], list[float], bool]] = [
        ([1, 0, 0, 0, 1, 0], [0, -2.5, -5], [1, 2, 45], [0, 0, 2.5], True),
        # Feet first, where rows run to the right of the patient: one place, in either way of saying it
        # (https://github.com/dicompyler/dicompyler-core/issues/284).
        ([-1, 0, 0, 0, 1, 0], [0, -2.5, -5], [1, 2, 55], [0, 0, -2.5], True),
        ([-1, 0, 0, 0, 1, 0], [50, 52.5, 55], [1, 2, 55], [0, 0, -2.5], True),
        ([1, 0, 0, 0, 1, 0], [50, 52.5, 55], [1, 2, 50], [0, 0, 2.5], False),
        # Cosines that were computed are not exactly 0 and 1.
        ([1, 0, 0, 0, 0.9999999, -1e-16], [50, 52.5, 55], [1, 2, 50], [0, 0, 2.5], False),
    ]
    for number, (orientation, offsets, *_) in enumerate(grids):
        write_dose(
            tmp_path / "in" / f"{number}", doses, offsets, orientation,
            SeriesInstanceUID=f"1.5.{number}",
        )  # fmt: skip
    wh = ingested(ingest)
    with answered_once(wh, "frames"):
        for number, (_, _, lowest, step, is_turned) in enumerate(grids):
            volume = wh.volume(f"1.5.{number}")
            assert np.array_equal(volume[:], doses[::-1] if is_turned else doses), number
            assert volume.affine is not None
            assert np.allclose(volume.affine @ [0, 0, 0, 1], [*lowest, 1]), number
            assert np.allclose(volume.affine[:3, 0], step), number
            assert volume.spacing == (2.5, 2, 2)
        assert agrees_with_the_views(wh) == len(grids)


def agrees_with_the_views(wh: warehouse.Warehouse) -> int:
    """Compare places of frames with `frames`, affines with `stack_geometry`; return how many."""
    affines = answer_of(wh, "select series_key, affine from stack_geometry where is_volume")
    asked = "select series_key, frame_number, ImagePositionPatient from frames"
    positions = {tuple(key): position for *key, position in answer_of(wh, asked)}
    for uid, affine in affines:
        volume = wh.volume(uid)
        assert volume.affine is not None
        # The view has (column, row, slice).
        assert np.allclose(np.reshape(affine, (4, 4))[:, [2, 1, 0, 3]], volume.affine)
        for level, number in enumerate(volume.frames["frame_number"].to_list()):
            place = (volume.affine @ [level, 0, 0, 1])[:3]
            assert np.allclose(place, positions[uid, number])
    return len(affines)


def test_offsets_of_a_dose_without_meaning_are_refused(tmp_path: Path, ingest: Ingest) -> None:
    nothing = np.zeros((3, 4, 6), np.uint32)
    write_dose(tmp_path / "in" / "1.dcm", nothing, [10, 13, 16], [1, 0, 0, 0, 1, 0])
    wh = ingested(ingest)
    with answered_once(wh, "stack_geometry"):
        with pytest.raises(
            NotAVolume, match="begins neither with 0 nor with the third coordinate"
        ) as refused:
            wh.volume(UID)
        said = wh.catalog.connection.execute("select why_not from stack_geometry").fetchall()
    assert said == [(refused.value.why,)]


def test_nuclear_medicine_is_a_volume(made: warehouse.Warehouse) -> None:
    """The sign of Spacing Between Slices is the direction: https://github.com/rordenlab/dcm2niix/issues/885"""
    volume = made.volume(uid_of(put_nuclear_medicine))
    assert np.array_equal(volume[:], voxels(10).reshape(2, 5, 4, 6)[:, ::-1])
    assert volume.labels == {"time_slot": [1, 2]}
    assert volume.affine is not None
    assert np.allclose(volume.affine @ [0, 0, 0, 1], [-10, -20, 14, 1])


@pytest.mark.long("test_nuclear_medicine_is_a_volume")
def test_reconstructed_slices_of_nuclear_medicine_are_a_volume(
    tmp_path: Path, ingest: Ingest
) -> None:
    pixels = voxels(10)
    spacings = {"1.5.1": 4.0, "1.5.2": -4.0}
    for uid, spacing in spacings.items():
        put_nuclear_medicine(tmp_path / "in", uid, pixels, spacing)
    wh = ingested(ingest)
    with answered_once(wh, "frames"), answered_once(wh, "diffusion_frames"):
        for uid, spacing in spacings.items():
            volume = wh.volume(uid)
            wanted = pixels.reshape(2, 5, 4, 6)
            assert np.array_equal(volume[:], wanted if spacing > 0 else wanted[:, ::-1])
            assert volume.labels == {"time_slot": [1, 2]}
            assert volume.affine is not None
            assert np.allclose(
                volume.affine @ [0, 0, 0, 1], [-10, -20, 30 if spacing > 0 else 14, 1]
            )
    asked = "select volumes_differ_in from stack_geometry"
    assert answer_of(wh, asked) == [(["nuclear medicine vectors"],)] * 2
