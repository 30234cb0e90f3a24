"""Diffusion weighting of real files, compared with dcm2niix and pydicom."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import TYPE_CHECKING

import dcm2niix
import numpy as np
import pydicom
import pytest
from pydicom.uid import EnhancedMRImageStorage

import warehouse
from tests.conftest import PACKAGED
from tests.dicom_files import dataset, image, write

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]


def converted(folder: Path, out: Path) -> tuple[Numbers, Numbers]:
    """Return b-values, shape (volumes,), and directions (volumes, 3) that dcm2niix writes.

    Directions are along column index, against row index and along the normal of the image.
    """
    out.mkdir()
    done = dcm2niix.main(
        ["-b", "n", "-f", "x", "-o", str(out), str(folder)], capture_output=True, check=False
    )
    values = sorted(out.glob("*.bval"))
    assert values, done.stdout
    b_values = np.atleast_1d(np.loadtxt(values[0]))
    return b_values, np.loadtxt(values[0].with_suffix(".bvec")).reshape(3, -1).T


def stated(folder: Path, root: Path, column: str) -> tuple[Numbers, Numbers]:
    """Return b-values and directions of the volumes in a warehouse, zero where there is none."""
    wh = warehouse.open(root, create=True)
    wh.ingest(folder, mode="full", workers=1)
    rows = wh.sql(
        f"select distinct b_value, {column}, ImageOrientationPatient as axes from diffusion_frames"
        " join instances using (instance_id)"
    ).fetchall()
    b_values, directions = [], []
    for b_value, direction, axes in rows:
        b_values.append(b_value)
        if direction is None:
            directions.append(np.zeros(3))
        elif column == "gradient_axes_direction":
            directions.append(np.asarray(direction))
        else:
            along_row, along_column = np.asarray(axes[:3]), np.asarray(axes[3:])
            normal = np.cross(along_row, along_column)
            directions.append(np.array([along_row, -along_column, normal]) @ direction)
    return np.asarray(b_values), np.asarray(directions)


def in_order(b_values: Numbers, directions: Numbers) -> Numbers:
    """Return distinct volumes as rows of four numbers, in an order of their own."""
    rows = np.column_stack([b_values, directions])
    _, first = np.unique(np.round(rows, 3) + 0.0, axis=0, return_index=True)
    return rows[first]


def corpus(name: str) -> Path:
    folder = os.environ.get("DICOM_CORPUS")
    if not folder:
        pytest.skip("DICOM_CORPUS is not set")
    return Path(folder) / name


@pytest.mark.parametrize("vendor", ["siemens", "uih_dti", "small_series/philips/dti/001_implicit"])
def test_b_values_and_directions_are_those_of_dcm2niix(vendor: str, tmp_path: Path) -> None:
    folder = tmp_path / "in" if vendor == "siemens" else corpus(vendor)
    if vendor == "siemens":
        folder.mkdir()
        for path in PACKAGED["nibabel"].glob("siemens_dwi_*.dcm.gz"):
            (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    found = in_order(*stated(folder, tmp_path / "w", "diffusion_gradient_direction"))
    wanted = in_order(*converted(folder, tmp_path / "out"))
    assert len(found) > 1
    assert found.shape == wanted.shape
    assert np.allclose(found, wanted, rtol=1e-5, atol=2e-3)


def test_b_values_of_ge_and_canon_are_those_of_dcm2niix(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for path in corpus("small_series/ge/dti/001").glob("*.dcm"):
        # As published, the files lack creators and the axis of phase encoding.
        data = pydicom.dcmread(path)
        data.add_new(0x00190010, "LO", "GEMS_ACQU_01")
        data.add_new(0x00430010, "LO", "GEMS_PARM_01")
        data.InPlanePhaseEncodingDirection = "COL"
        data.PatientPosition = "HFS"
        data.save_as(folder / path.name)
    found = in_order(*stated(folder, tmp_path / "w", "gradient_axes_direction"))
    wanted = in_order(*converted(folder, tmp_path / "out"))
    assert found[:, 0].tolist() == wanted[:, 0].tolist() == [0, 1000]
    assert np.allclose(np.abs(found), np.abs(wanted), atol=1e-3), "signs follow the order of slices"
    canon, _ = stated(corpus("canon_dti"), tmp_path / "c", "diffusion_gradient_direction")
    wanted, _ = converted(corpus("canon_dti"), tmp_path / "cout")
    assert sorted(canon) == sorted(wanted) == [0, 1500]


def test_an_enhanced_object_has_a_weighting_per_frame(tmp_path: Path) -> None:
    vectors = [None, [1.0, 0.0, 0.0], [0.0, 0.6, 0.8]]
    frames = []
    for vector in vectors:
        weighting = dataset(
            DiffusionBValue=1000.0 if vector else 0.0,
            DiffusionDirectionality="DIRECTIONAL" if vector else "NONE",
        )
        if vector:
            weighting.DiffusionGradientDirectionSequence = [
                dataset(DiffusionGradientOrientation=vector)
            ]
        frames.append(dataset(MRDiffusionSequence=[weighting]))
    made = image(
        SOPClassUID=EnhancedMRImageStorage, Modality="MR", NumberOfFrames=3, PixelData=bytes(12),
        SharedFunctionalGroupsSequence=[dataset()], PerFrameFunctionalGroupsSequence=frames,
    )  # fmt: skip
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(write(tmp_path / "a", made), workers=1)
    rows = wh.sql(
        "select b_value, diffusion_gradient_direction, DiffusionBValue, DiffusionGradientOrientation"
        " from diffusion_frames join frames using (instance_id, frame_number) order by frame_number"
    ).fetchall()
    assert rows == [(1000.0 if v else 0.0, v) * 2 for v in vectors]
    series = wh.sql("select * exclude (series_key, not_read) from diffusion_series").fetchall()
    assert series == [([0.0, 1000.0], 2, 2, 1)]
    # Of one instance with several frames there is no one answer.
    of_instance = wh.sql("select b_value, diffusion_gradient_direction from mr_encoding").fetchall()
    assert of_instance == [(None, None)]
