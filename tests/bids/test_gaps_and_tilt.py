"""Missing slices and tilted ones are refused, and taken by choice, which the data set then says."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

import warehouse
from tests.asking import cohort_of
from tests.bids.conftest import COLUMNS, ROWS, TILT, DataSet, series
from warehouse.bids.export import Options, _opened, _volume_marks
from warehouse.errors import NotAVolume, UsageError
from warehouse.pixels.geometry import Grid, Planes, arrange
from warehouse.pixels.straighten import straightened
from warehouse.pixels.volume import open_volume

GAP, TILTED = "1.2.9.11", "1.2.9.12"
AXIAL = [1.0, 0, 0, 0, 1, 0]


@pytest.fixture(scope="module")
def odd(archive: tuple[warehouse.Warehouse, dict[str, str]]) -> warehouse.Warehouse:
    """A series with a missing slice and one that is tilted."""
    made, uids = archive
    assert (uids["gap"], uids["tilted"]) == (GAP, TILTED)
    cohort_of(
        made, "odd", f"select series_key from instances where series_key in ('{GAP}', '{TILTED}')"
    )
    return made


def test_they_are_volumes_by_choice_only(odd: warehouse.Warehouse) -> None:
    for uid in (GAP, TILTED):
        with pytest.raises(NotAVolume):
            odd.volume(uid)
    gapped = open_volume(odd.catalog, GAP, gaps=True)
    assert gapped.shape == (4, ROWS, COLUMNS)
    assert (gapped[1] == 0).all()
    assert gapped[2].any()
    with pytest.raises(NotAVolume, match="tilt"):
        open_volume(odd.catalog, TILTED, gaps=True)
    tilted = open_volume(odd.catalog, TILTED, tilt=True)
    assert tilted.affine is not None
    assert tilted.affine[:3, 0] == pytest.approx([0, 2.5 * TILT, 2.5])


@pytest.mark.parametrize(
    ("kind", "marks"), [("gap", {"MissingSlices": [1]}), ("tilted", {"ResampledFromTilt": True})]
)
def test_a_sidecar_says_what_was_done(
    archive: tuple[warehouse.Warehouse, dict[str, str]], kind: str, marks: dict[str, object]
) -> None:
    made, uids = archive
    options = Options(True, False, allow_gaps=kind == "gap", resample="tilt")
    volume, is_tilted = _opened(made.catalog, uids[kind], options)
    assert _volume_marks(volume, is_tilted=is_tilted)[0] == marks
    with pytest.raises(NotAVolume):
        _opened(made.catalog, uids[kind], Options(True, False, allow_gaps=False, resample=None))


@pytest.mark.long("test_a_sidecar_says_what_was_done")
def test_the_data_set_says_what_was_done(odd: warehouse.Warehouse, tmp_path: Path) -> None:
    facts = odd.export("odd", tmp_path / "d", "bids", allow_gaps=True, resample="tilt")
    made = DataSet(odd, {}, tmp_path / "d", facts)
    assert facts["bids"]["series_written"] == 2
    gapped, tilted = sorted(
        path.with_suffix("").with_suffix("") for path in made.folder.rglob("*.nii.gz")
    )
    assert made.sidecar(str(gapped.relative_to(made.folder)))["MissingSlices"] == [1]
    assert made.sidecar(str(tilted.relative_to(made.folder)))["ResampledFromTilt"] is True
    image = nibabel.load(f"{tilted}.nii.gz")
    axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    assert axes.T @ axes == pytest.approx(np.eye(3), abs=1e-6)
    with pytest.raises(UsageError, match="unknown resampling"):
        odd.export("odd", tmp_path / "e", "bids", resample="all")


def test_positions_that_are_shifted_by_rounding_form_a_grid(
    archive: tuple[warehouse.Warehouse, dict[str, str]],
) -> None:
    positions = np.array([[0.01 * (level > 1), 0.0, 2.5 * level] for level in range(4)])
    orientations, spacings = np.tile(AXIAL, (4, 1)), np.tile([2.0, 1.5], (4, 1))
    grid = arrange(Planes(positions, orientations, spacings, np.ones((4, 3))))
    assert isinstance(grid, Grid)
    assert grid.levels.tolist() == [0, 1, 2, 3]
    # With the option, what is a volume without it is not resampled.
    made, uids = archive
    options = Options(True, False, allow_gaps=False, resample="tilt")
    assert _opened(made.catalog, uids["dwi"], options)[1] is False


@pytest.mark.long("test_positions_that_are_shifted_by_rounding_form_a_grid")
@pytest.mark.parametrize("resample", [None, "tilt"])
def test_rounded_positions_are_no_tilt(tmp_path: Path, resample: str | None) -> None:
    """A shift of 0.01 mm in all is less than the 0.1 pixel that series_geometry accepts."""
    weighted = {
        "SeriesDescription": "dti",
        "SequenceName": "*ep_b1000",
        "ScanningSequence": ["EP", "SE"],
    }
    for volume in range(2):
        more = {"DiffusionGradientOrientation": [1.0, 0.0, 0.0]} if volume else {}
        for level in range(4):
            number = 4 * volume + level + 1
            series(
                tmp_path / "in", 1, [{"SOPInstanceUID": f"1.2.9.1.{number}", "InstanceNumber": number,
                "ImagePositionPatient": [0.01 * (level > 1), 0.0, 2.5 * level], "begins_s": 3.0 * volume,
                "DiffusionBValue": 1000.0 * volume, **more}], only=level, EchoTime=80.0,
                RepetitionTime=3000.0, ImageType=["ORIGINAL", "PRIMARY", "DIFFUSION"], **weighted,
            )  # fmt: skip
            path = tmp_path / "in" / f"1.2.9.1-{level + 1}.dcm"
            path.rename(path.with_stem(f"{number}"))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    cohort_of(wh, "all", "select series_key from instances")
    facts = wh.export("all", tmp_path / "d", "bids", resample=resample)
    assert facts["bids"]["series_written"] == 1, (tmp_path / "d" / "series.tsv").read_text()
    (path,) = (tmp_path / "d").rglob("*.nii.gz")
    assert "ResampledFromTilt" not in path.with_suffix("").with_suffix(".json").read_text()
    stored = wh.volume("1.2.9.1")[:].transpose(3, 2, 1, 0)
    assert np.array_equal(np.asarray(nibabel.load(path).dataobj), stored)


@pytest.mark.parametrize("tilt", [0.3, -0.3])
def test_what_is_straightened_lies_where_it_was(tilt: float) -> None:
    """A plane through space, which linear interpolation keeps, has its value at every point."""
    affine = np.array([[1.0, 0, 0, 5], [0, 2.0, 3 * tilt, 7], [0, 0, 3.0, 9], [0, 0, 0, 1]])
    places = np.indices((5, 12, 4)).reshape(3, -1)

    def plane(points: np.ndarray) -> np.ndarray:
        return points[0] + 2 * points[1] + 3 * points[2] + 100

    values = plane(affine[:3, :3] @ places + affine[:3, 3:]).reshape(5, 12, 4)
    made = straightened(nibabel.Nifti1Image(values, affine))
    found = np.asarray(made.dataobj)
    steps = made.affine[:3, :3]
    assert steps.T @ steps == pytest.approx(np.diag([1, 4, 9]), abs=1e-9)
    wanted = plane(steps @ np.indices(found.shape).reshape(3, -1) + made.affine[:3, 3:]).reshape(
        found.shape
    )
    inside = np.isclose(found, wanted)
    assert inside.sum() >= 5 * 11 * 4
    assert (found[~inside] < values.max()).all()  # what mixes with the lowest value, or is it


@pytest.mark.parametrize("slope", [1, -1])
def test_outside_of_a_slice_is_the_lowest_value_also_with_a_negative_slope(slope: int) -> None:
    affine = np.array([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(np.arange(40, 88, dtype=np.int16).reshape(4, 4, 3), affine)
    image.header.set_slope_inter(slope, 0)
    made = nibabel.Nifti1Image.from_bytes(straightened(image).to_bytes())
    assert (made.get_fdata()[:, 0, 2] == (40 if slope > 0 else -87)).all()
