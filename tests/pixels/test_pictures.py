"""Pictures, files for other tools, what notebooks show, and the command that writes them."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image as pillow
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_voi_lut

import warehouse
from tests.asking import answer_of
from tests.pixels.conftest import UID, put_series, voxels, write_slice
from warehouse.cli.run import run as run_command
from warehouse.errors import TargetExists, UsageError
from warehouse.pixels import files, pictures
from warehouse.pixels.values import Values
from warehouse.pixels.voi import Voi

if TYPE_CHECKING:
    from collections.abc import Callable


HU = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": -900, "WindowWidth": 200}


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """Five slices of 4 x 6 voxels, 2 x 0.5 x 0.75 mm, HU = 2 x stored - 1000. To look at."""
    folder = tmp_path_factory.mktemp("slices")
    put_series(folder / "in", voxels(5), **HU)
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", mode="full", workers=1)
    return made


@pytest.fixture
def own(series: Callable[..., warehouse.Warehouse]) -> warehouse.Warehouse:
    """The same slices, in ``tmp_path / "in"``, which a test may change."""
    return series(voxels(5), **HU)


def opened(png: bytes) -> np.ndarray:
    return np.asarray(pillow.open(io.BytesIO(png)))


# -- values -----------------------------------------------------------------------------------------


def test_windows_are_those_of_the_standard() -> None:
    # PS3.3 C.11.2.1.2: from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2
    values = np.array([-1000.0, 30, 30.5, 39.5, 48.5, 49, 1000])
    assert Voi(40, 19).apply(values, inverted=False).tolist() == [0, 0, 0, 128, 255, 255, 255]
    assert Voi(40, 19).apply(values, inverted=True).tolist() == [255, 255, 255, 127, 0, 0, 0]


def test_the_header_s_window_equals_pydicom(slices: warehouse.Warehouse) -> None:
    shown = slices.volume(UID, window="header")
    assert shown.dtype == np.uint8
    dataset = pydicom.dcmread(shown.images[0].path)
    in_hu = dataset.pixel_array * 2.0 - 1000
    wanted = apply_voi_lut(in_hu, dataset)
    # pydicom's answer goes from the smallest to the largest rescaled value that can be stored.
    lowest, highest = -32768 * 2.0 - 1000, 32767 * 2.0 - 1000
    assert np.array_equal(shown[0], np.rint((wanted - lowest) / (highest - lowest) * 255))


def test_monochrome_1_is_turned_round_when_asked(
    series: Callable[..., warehouse.Warehouse],
) -> None:
    wh = series(voxels(2), PhotometricInterpretation="MONOCHROME1")
    plain = wh.volume(UID, window=(0, 100))[:]
    assert np.array_equal(wh.volume(UID, window=(0, 100), invert=True)[:], 255 - plain)
    assert np.array_equal(wh.volume(UID, invert=True)[:], voxels(2)), "stored values stay"


@pytest.mark.parametrize("kind", [tuple, list, np.array])
def test_a_window_may_be_any_pair(slices: warehouse.Warehouse, kind: Any) -> None:
    window = kind([-1000, 100])
    wanted = Voi(-1000, 100).apply(voxels(5) * 2.0 - 1000)
    assert np.array_equal(slices.volume(UID, window=window)[:], wanted)
    assert slices.volume(UID, window=window)[1, 2, 3] == wanted[1, 2, 3], "also of a single voxel"
    assert np.array_equal(slices.volume(UID).with_values(Values(window=window))[:], wanted)


def test_pydicom_s_warnings_are_not_shown(ingest: Callable[..., object]) -> None:
    """It says of this file that its VRs are implicit, after the meta information."""
    ingest(get_testdata_file("SC_rgb_jpeg.dcm"))
    wh: warehouse.Warehouse = ingest.warehouse  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (picture,) = wh.gallery().pictures
    assert isinstance(picture, bytes)


@pytest.mark.parametrize("overlay", [True, 1.0, "1"])
def test_an_overlay_has_a_whole_number(overlay: Any) -> None:
    with pytest.raises(UsageError, match="overlays have numbers"):
        Values(overlay=overlay)


@pytest.mark.parametrize("window", [(40, 0), "abdomen", 40, {40, 400}, (40, 400, 1), [["a", "b"]]])
def test_a_window_that_is_none_is_refused(window: Any) -> None:
    with pytest.raises(UsageError, match="window"):
        Values(window=window)


def test_colors_come_out_as_rgb_like_pydicom_s(sample: warehouse.Warehouse) -> None:
    seen = set()
    asked = (
        "select series_key, file_path, PhotometricInterpretation from images "
        "where PhotometricInterpretation in ('PALETTE COLOR', 'YBR_FULL', 'YBR_FULL_422') "
        "and file_path not like '%OBXXXX%' and coalesce(NumberOfFrames, 1) = 1"
    )
    for uid, path, meant in answer_of(sample, asked):
        stack = sample.stack(uid).with_values(Values(color=True))
        index = next(n for n, image in enumerate(stack.images) if image.path == path)
        dataset = pydicom.dcmread(path)
        if meant == "PALETTE COLOR":
            wanted = pydicom.pixels.apply_color_lut(dataset.pixel_array, dataset)
            wanted = (wanted >> 8).astype(np.uint8) if wanted.dtype == np.uint16 else wanted
        else:
            wanted = dataset.pixel_array
        frame = stack[index]
        assert frame.dtype == np.uint8
        assert np.array_equal(frame, wanted), path
        seen.add(meant)
    assert seen == {"PALETTE COLOR", "YBR_FULL", "YBR_FULL_422"}


# -- pictures ---------------------------------------------------------------------------------------


def test_a_slice_has_square_pixels_and_one_window(slices: warehouse.Warehouse) -> None:
    picture = pictures.slice_picture(slices.volume(UID), 1)
    assert picture.shape == (4, 9)  # 0.5 x 0.75 mm
    wanted = Voi(-900, 200).apply(voxels(5)[1] * 2.0 - 1000, inverted=False)
    assert np.array_equal(picture[:, 0], wanted[:, 0])
    assert np.array_equal(opened(pictures.png(picture)), picture)
    for number in (5, -6):
        with pytest.raises(UsageError, match="there is no slice"):
            pictures.slice_picture(slices.volume(UID), number)


def test_pixels_are_square_by_whatever_states_their_size(tmp_path: Path) -> None:
    """Pixel Aspect Ratio is vertical to horizontal (PS3.3 C.7.6.3.1.7)."""
    sizes = {"PixelAspectRatio": [2, 1], "ImagerPixelSpacing": [0.2, 0.1]}
    for number, (keyword, size) in enumerate(sizes.items()):
        for frames in (1, 2):
            uid = f"1.{number}.{frames}"
            cine = {"NumberOfFrames": 2, "FrameIncrementPointer": 0x00181063, "FrameTime": 40}
            write_slice(
                tmp_path / "in" / uid, np.arange(frames * 24, dtype=np.uint8).reshape(frames * 4, 6),
                uid=uid, SeriesInstanceUID=uid, Modality="US", SOPClassUID="1.2.840.10008.5.1.4.1.1.3.1",
                Rows=4, PixelSpacing=None, ImagePositionPatient=None, ImageOrientationPatient=None,
                **{keyword: size}, **(cine if frames > 1 else {}),
            )  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    for number in range(len(sizes)):
        assert pictures.slice_picture(wh.stack(f"1.{number}.1")).shape == (8, 6)
        assert pictures.three_planes(wh.volume(f"1.{number}.2")).shape == (8, 6), "a cine"


@pytest.mark.parametrize("draw", [pictures.slice_picture, pictures.montage, pictures.three_planes])
def test_values_between_0_and_1_have_all_grays(
    draw: Callable[..., np.ndarray], series: Callable[..., warehouse.Warehouse]
) -> None:
    """As in maps of anisotropy, dose in Gy or diffusion in mm²/s: pictures of these were white."""
    wh = series(np.arange(2 * 400, dtype=np.uint16).reshape(2, 20, 20), RescaleSlope=1e-6)
    shown = wh.volume(UID)
    assert len(np.unique(draw(shown))) > 150
    with pytest.raises(UsageError, match="the width of a window must be at least 1"):
        draw(shown, window=(0, 0.5))


def test_a_window_of_fractional_numbers_is_as_wide_as_it_is_asked(
    series: Callable[..., warehouse.Warehouse],
) -> None:
    """PS3.3 C.11.2.1.3.2: from c - w/2 to c + w/2. LINEAR showed all above 4 of 0 to 5 white."""
    stored = np.array([0, 10, 20, 25, 40, 45, 50, 60], np.uint16).reshape(1, 2, 4)
    wh = series(stored, RescaleSlope=0.1, RescaleIntercept=0, PixelSpacing=[1, 1])
    wanted = np.rint(255 * np.clip(stored[0] * 0.1 / 5, 0, 1))
    shown = wh.stack(UID).with_values(Values(window=(2.5, 5)))
    assert shown[0].tolist() == wanted.tolist()
    drawn = pictures.slice_picture(wh.stack(UID), 0, window=(2.5, 5))
    assert drawn.tolist() == wanted.tolist()
    linear = pictures.slice_picture(wh.stack(UID), 0, window=Voi(2.5, 5))
    assert linear.tolist() == Voi(2.5, 5).apply(stored[0] * 0.1).tolist(), "of a stated function"


def test_a_montage_and_three_planes_hold_what_they_show(slices: warehouse.Warehouse) -> None:
    volume = slices.volume(UID)
    assert pictures.montage(volume).shape == (2 * 4, 3 * 9)
    # the images: 4 x 0.5 mm by 6 x 0.75; the others 5 x 2 mm high; in units of 0.5 mm, 8 apart
    assert pictures.three_planes(volume).shape == (20, 9 + 8 + 9 + 8 + 4)


def test_a_notebook_shows_volumes_and_series(own: warehouse.Warehouse) -> None:
    assert 'src="data:image/png;base64,' in own.volume(UID)._repr_html_()
    gallery = own.gallery()
    assert [row[0] for row in gallery.rows] == [UID]
    assert gallery._repr_html_().count("<img") == 1
    assert repr(gallery).startswith(f"<Gallery of 1 series\n {UID}, ")
    assert len(repr(gallery)) < 200
    for image in own.volume(UID).images:
        Path(image.path).write_bytes(b"another")
    assert "no picture" in own.gallery(UID)._repr_html_()
    assert "is not what was ingested" in own.volume(UID)._repr_html_()


def test_headers_bring_no_script_into_a_notebook(
    series: Callable[..., warehouse.Warehouse],
) -> None:
    hostile = '"><script>alert(1)</script><img src=x onerror="alert(2)'
    wh = series(voxels(2), SeriesDescription=hostile, Modality="<b>")
    shown = wh.gallery()._repr_html_() + wh.volume(UID)._repr_html_()
    assert "&lt;script&gt;" in shown
    for image in wh.volume(UID).images:
        Path(image.path).unlink()  # now the reason is shown, which names a file
    shown += wh.gallery()._repr_html_() + wh.volume(UID)._repr_html_()
    assert not re.findall(r"<(?!/?(?:table|thead|tbody|tr|th|td|img|span|p|code)\b)", shown)
    assert not re.findall(r"<[^>]*onerror", shown)


# -- files ------------------------------------------------------------------------------------------


def test_nifti_has_the_voxels_and_the_affine(slices: warehouse.Warehouse, tmp_path: Path) -> None:
    volume = slices.volume(UID)
    files.write_nifti(volume, tmp_path / "a.nii.gz")
    image = nibabel.load(tmp_path / "a.nii.gz")
    assert np.array_equal(image.dataobj.get_unscaled(), voxels(5).transpose(2, 1, 0))
    assert np.array_equal(image.get_fdata(), voxels(5).transpose(2, 1, 0) * 2.0 - 1000)
    assert image.header.get_xyzt_units()[0] == "mm"
    # first voxel, one column on, one row on, one slice on: LPS turned to RAS
    for index, place in {(0, 0, 0): (10, 20, 2), (1, 0, 0): (9.25, 20, 2), (0, 1, 0): (10, 19.5, 2),
                         (0, 0, 1): (10, 20, 4)}.items():  # fmt: skip
        assert np.allclose(image.affine @ [*index, 1], [*place, 1])
    assert np.allclose(image.get_qform(), image.affine)


def test_stored_values_have_their_scale_in_nifti_whatever_is_said_of_windows(
    slices: warehouse.Warehouse,
) -> None:
    """``invert`` applies to windows only: the file had stored values without slope and intercept."""
    image = files.nifti(slices.volume(UID, invert=True))
    assert np.array_equal(image.get_fdata(), files.nifti(slices.volume(UID)).get_fdata())
    assert image.header.get_slope_inter() == (2, -1000)


def test_npy_is_the_array(slices: warehouse.Warehouse, tmp_path: Path) -> None:
    files.write_npy(slices.volume(UID, rescale=True), tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), voxels(5) * 2.0 - 1000)


def test_no_file_is_replaced_and_no_half_one_left(own: warehouse.Warehouse, tmp_path: Path) -> None:
    volume = own.volume(UID)
    (tmp_path / "a.nii").write_bytes(b"mine")
    with pytest.raises(TargetExists):
        files.write_nifti(volume, tmp_path / "a.nii")
    with pytest.raises(UsageError, match=r"must end in \.nii"):
        files.write_nifti(volume, tmp_path / "a.mha")
    (tmp_path / "in" / "3.dcm").unlink()
    with pytest.raises(Exception, match="is not what was ingested"):
        files.write_npy(volume, tmp_path / "b.npy")
    assert {path.name for path in tmp_path.iterdir()} == {"a.nii", "in", "w"}
    assert (tmp_path / "a.nii").read_bytes() == b"mine"


# -- many -------------------------------------------------------------------------------------------


def test_a_series_comes_with_its_voxels_or_a_reason(slices: warehouse.Warehouse) -> None:
    there, unknown = slices.iter_volumes([UID, "9.9"], ahead=2)
    assert (there.series_uid, unknown.series_uid) == (UID, "9.9")
    assert np.array_equal(there.array, voxels(5))
    assert unknown.array is None
    assert unknown.why_not
    with pytest.raises(UsageError, match="0 or more"):
        slices.iter_volumes([UID], ahead=-1)


@pytest.mark.long("test_a_series_comes_with_its_voxels_or_a_reason")
def test_a_cohort_comes_with_its_voxels_and_leaves_none_out(sample: warehouse.Warehouse) -> None:
    uids = [
        u
        for (u,) in answer_of(sample, "select series_key from series order by series_key limit 12")
    ]
    got = list(sample.iter_volumes([*uids, "9.9"], ahead=2))
    assert [loaded.series_uid for loaded in got] == [*uids, "9.9"]
    for loaded in got:
        if loaded.array is not None:
            assert loaded.volume is not None
            assert np.array_equal(loaded.array, np.asarray(loaded.volume))
        else:
            assert loaded.why_not
    with pytest.raises(UsageError, match="0 or more"):
        sample.iter_volumes(uids, ahead=-1)


# -- the command ------------------------------------------------------------------------------------


def test_the_command_says_what_it_would_read_and_writes_it(
    own: warehouse.Warehouse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            run_command([*map(str, arguments), "-w", str(own.root)])
        assert isinstance(ended.value.code, int)
        return (ended.value.code, *capsys.readouterr())

    code, out, _ = run("volume", UID)
    assert code == 0
    assert "axes     slice 5, row 4, column 6\nvalues   int16, 240 B\n" in out
    assert "spacing  2 x 0.5 x 0.75 mm between slices, rows, columns" in out
    code, out, _ = run("volume", UID, "--png", tmp_path / "a.png", "--slice", "-1", "--npy", tmp_path / "a.npy",
                       "--montage", tmp_path / "m.png", "--nifti", tmp_path / "a.nii")  # fmt: skip
    assert (code, out.count("\n")) == (0, 4)
    assert np.array_equal(np.load(tmp_path / "a.npy"), voxels(5))
    assert opened((tmp_path / "a.png").read_bytes()).shape == (4, 9)
    assert nibabel.load(tmp_path / "a.nii").shape == (6, 4, 5)
    code, _, said = run("volume", UID, "--png", tmp_path / "a.png")
    assert (code, "exists already" in said) == (2, True)
    code, _, said = run("volume", "9.9")
    assert (code, "SeriesInstanceUID" in said) == (2, True)
    code, _, said = run("volume", UID, "--stack", "--nifti", tmp_path / "b.nii")
    assert (code, "a stack has no geometry" in said) == (2, True)
    # What has no effect is refused: the file would have all slices, and stored values.
    for ignored in (("--slice", 1), ("--window", 40, 400), ("--volume", 1)):
        code, _, said = run("volume", UID, "--npy", tmp_path / "b.npy", *ignored)
        assert (code, str(ignored[0]) in said, "--png" in said) == (2, True, True)
    assert run("volume", UID, "--stack")[:2] == (0, "Stack of 5 frames: 4 x 6 (5)\n")
    (tmp_path / "in" / "3.dcm").unlink()
    code, _, said = run("volume", UID, "--npy", tmp_path / "b.npy")
    assert (code, "ingest its folder again" in said) == (1, True)
