"""Voxels and affines of real series equal those of dcm2niix and nibabel; needs $DICOM_CORPUS."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

import warehouse
from tests.asking import answer_of
from tests.pixels.conftest import answered_once
from warehouse.errors import PixelError
from warehouse.pixels.volume import LazyVolume

dcm2niix = pytest.importorskip("dcm2niix")
BINARY = Path(dcm2niix.__file__).parent / "dcm2niix"
TOLERANCE_MM = 1e-4

OF_HEADERS_NOT_POSITIONS = {
    # SpacingBetweenSlices is written as 3.313, positions are 3.3125 mm apart.
    "1.2.826.0.1.3680043.8.498.172569766509356729825035788": 6e-4,
    "1.2.826.0.1.3680043.8.498.1725697665093567298249371737": 6e-4,
}


def in_order_of(volume: LazyVolume, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels and affine (RAS) with axes swapped and flipped to another order of voxels."""
    assert volume.affine_ras is not None
    ours = volume.affine_ras
    turn = np.linalg.inv(affine[:3, :3]) @ ours[:3, :3]
    axes = np.abs(turn).argmax(axis=1)
    assert sorted(axes) == [0, 1, 2]
    voxels = volume[:].reshape(-1, *volume.shape[volume.leading :])
    voxels = voxels.transpose(0, *(1 + axes), *range(4, voxels.ndim))
    made = np.column_stack([ours[:, axes], ours[:, 3]])
    for axis in range(3):
        if turn[axis, axes[axis]] < 0:
            voxels = np.flip(voxels, 1 + axis)
            made[:3, 3] += made[:3, axis] * (voxels.shape[1 + axis] - 1)
            made[:3, axis] *= -1
    return voxels, made


def theirs(folder: Path, paths: list[str]) -> list[Path]:
    """Convert files with dcm2niix."""
    (folder / "in").mkdir(parents=True)
    for number, path in enumerate(paths):
        (folder / "in" / f"{number}.dcm").symlink_to(path)
    command = [BINARY, "-b", "n", "-z", "n", "-o", folder, "-f", "o", folder / "in"]
    subprocess.run(command, capture_output=True, check=False, timeout=60)
    return sorted(folder.glob("*.nii"))


SERIES = "select series_key, list(file_path) from images where {} group by all order by all"


@pytest.mark.acceptance("D55")
@pytest.mark.long("test_a_mosaic_and_a_volume_equal_dcm2niix")
def test_voxels_and_affine_equal_dcm2niix(corpus: warehouse.Warehouse, tmp_path: Path) -> None:
    asked = answer_of(corpus, SERIES.format("Modality in ('MR', 'CT')"))
    with answered_once(corpus, "diffusion_frames"), answered_once(corpus, "frames"):
        compared, mosaics = compare(corpus, asked, tmp_path)
    assert compared >= 24, "all that both accept"
    assert mosaics >= {35, 36}


def test_a_mosaic_and_a_volume_equal_dcm2niix(tmp_path: Path) -> None:
    folder = os.environ.get("DICOM_CORPUS")
    if not folder:
        pytest.skip("DICOM_CORPUS is not set")
    wh = warehouse.open(tmp_path / "w", create=True)
    (mosaic, *_) = sorted((Path(folder) / "siemens_mosaic").glob("cordesc36*"))
    wh.ingest(mosaic, Path(folder) / "small_series" / "hitachi" / "anatomical", workers=1)
    asked = answer_of(wh, SERIES.format("true"))
    assert compare(wh, asked, tmp_path) == (2, {36})


def compare(
    wh: warehouse.Warehouse, series: list[tuple[str, list[str]]], folder: Path
) -> tuple[int, set[int]]:
    """Compare series; return how many are volumes, and the numbers of slices of mosaics."""
    mosaics, compared = set(), 0
    for number, (uid, paths) in enumerate(series):
        try:
            volume = wh.volume(uid)
        except PixelError:
            continue
        check(wh, volume, theirs(folder / str(number), paths))
        compared += 1
        if "MOSAIC" in (volume.images[0].ImageType or []):
            mosaics.add(volume.shape[-3])
    return compared, mosaics


def check(wh: warehouse.Warehouse, volume: LazyVolume, written: list[Path]) -> None:
    uid = volume.series_uid
    assert len(written) == 1, uid
    image = nibabel.load(written[0])
    voxels, affine = in_order_of(volume, image.affine)
    tolerance_mm = OF_HEADERS_NOT_POSITIONS.get(uid, TOLERANCE_MM)
    assert np.abs(affine - image.affine).max() < tolerance_mm, uid
    wanted = image.dataobj.get_unscaled()
    if wanted.dtype.names:
        wanted = np.stack([wanted[name] for name in "RGB"], axis=-1)[..., None, :]
    tolerance = 0.0
    if wanted.dtype.kind == "f":  # its slices have scales of their own
        voxels, tolerance = in_order_of(wh.volume(uid, rescale=True), image.affine)[0], 1e-6
    wanted = wanted if wanted.ndim > 3 else wanted[..., None]
    assert np.allclose(voxels, np.moveaxis(wanted, 3, 0), rtol=tolerance, atol=0), uid
