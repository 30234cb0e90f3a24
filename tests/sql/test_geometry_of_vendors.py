"""The verdicts on real series of several vendors, against pydicom and NumPy."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pydicom
import pytest

import warehouse
from tests.asking import answer_of

pytestmark = pytest.mark.skipif(
    "DICOM_CORPUS" not in os.environ, reason="DICOM_CORPUS names no folder"
)
FOLDERS = ("ct_head", "ge_fmri", "canon_dti", "philips_epi", "siemens_mosaic", "small_series")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    made = warehouse.open(tmp_path_factory.mktemp("corpus") / "w", create=True)
    root = Path(os.environ["DICOM_CORPUS"])
    made.ingest(*(root / name for name in FOLDERS), mode="normal", workers=1)
    return made


def ask(corpus: warehouse.Warehouse, folder: str, columns: str) -> list[tuple]:
    return answer_of(
        corpus,
        f"select distinct {columns} from series_geometry join "
        f"(select series_key, file_path from instances) using (series_key) where contains(file_path, '/{folder}/')",
    )


def test_uneven_slices_under_a_tilted_gantry_are_refused_for_both(
    corpus: warehouse.Warehouse,
) -> None:
    ((is_volume, is_stack, why_not, distances, tilt),) = ask(
        corpus, "ct_head", "is_volume, is_volume_stack, why_not, distances_mm, tilt_degrees"
    )
    assert not is_volume
    assert not is_stack
    assert why_not == (
        "uneven spacing: distances of 1.081, 4.002, 6.999 mm; "
        "slices shifted by 48.21 mm: gantry tilt of 18.5 degrees"
    )
    files = sorted((Path(os.environ["DICOM_CORPUS"]) / "ct_head").iterdir())
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in files]
    orientation = np.array(headers[0].ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    heights = np.sort([normal @ np.array(h.ImagePositionPatient, float) for h in headers])
    assert set(np.round(np.diff(heights), 2)) == set(np.round(distances, 2))
    assert tilt == pytest.approx(float(headers[0].GantryDetectorTilt), abs=0.01)


@pytest.mark.parametrize(
    ("folder", "slices", "volumes", "complete", "differ_in"),
    [
        ("ge_fmri", 15, 10, 10, []),
        # Its dynamics are told apart by TriggerTime too: 0, 2000 and 4000 ms.
        ("philips_epi", 9, 3, 3, ["time", "trigger time"]),
        ("canon_dti", 40, 2, 1, ["diffusion"]),
        ("small_series/philips/dti/001_implicit", 2, 4, 4, ["diffusion"]),
    ],
)
def test_series_over_time_or_direction_are_stacks_of_volumes(
    corpus: warehouse.Warehouse, folder: str, slices: int, volumes: int, complete: int, differ_in: list[str],
) -> None:  # fmt: skip
    assert ask(
        corpus, folder,
        "is_volume, is_volume_stack, position_count, volume_count, complete_volume_count, volumes_differ_in",
    ) == [(False, True, slices, volumes, complete, differ_in)]  # fmt: skip


@pytest.mark.parametrize(
    "folder",
    ["ge/anatomical", "generic/anatomical", "generic/compressed_j2k", "generic/rgb", "hitachi/anatomical", "siemens/anatomical"],
)  # fmt: skip
def test_small_anatomical_series_are_volumes(corpus: warehouse.Warehouse, folder: str) -> None:
    found = ask(corpus, f"small_series/{folder}/001", "is_volume, why_not")
    found = found or ask(corpus, f"small_series/{folder}/002_non_isotropic", "is_volume, why_not")
    assert found == [(True, None)]


def test_each_instance_of_a_mosaic_is_one_volume(corpus: warehouse.Warehouse) -> None:
    found = answer_of(
        corpus,
        "select is_volume, count(*) from mosaic_geometry join instances using (instance_id) "
        "where contains(file_path, '/siemens_mosaic/') group by all",
    )
    assert found == [(True, 10)]


def test_stacks_of_frames_are_volumes_and_those_over_time_stacks_of_volumes(
    corpus: warehouse.Warehouse,
) -> None:
    found = answer_of(
        corpus,
        "select Manufacturer, frame_count, position_count, volume_count, volumes_differ_in, is_volume, is_volume_stack "
        "from stack_geometry join instances using (instance_id)",
    )
    assert set(map(repr, found)) == {
        repr(("Siemens", 8, 8, 1, [], True, False)),
        repr(("Philips Medical Systems", 32, 8, 4, ["time"], False, True)),
    }


def test_affines_are_those_of_pydicom_and_numpy(corpus: warehouse.Warehouse) -> None:
    found = answer_of(
        corpus,
        "select series_key, affine, position_count, volume_count from series_geometry "
        "where is_volume or is_volume_stack",
    )
    paths = defaultdict(list)
    for key, path in answer_of(corpus, "select series_key, file_path from instances"):
        paths[key].append(path)
    for key, affine, positions, volumes in found:
        headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths[key]]
        orientation = np.array(headers[0].ImageOrientationPatient, float)
        normal = np.cross(orientation[:3], orientation[3:])
        places = np.unique(np.array([h.ImagePositionPatient for h in headers], dtype=float), axis=0)
        places = places[np.argsort(places @ normal)]
        assert len(places) == positions
        assert volumes == -(-len(headers) // positions)
        spacing = np.array(headers[0].PixelSpacing, float)
        expected = np.eye(4)
        expected[:3, 0], expected[:3, 1] = (
            orientation[:3] * spacing[1],
            orientation[3:] * spacing[0],
        )
        expected[:3, 2] = (places[-1] - places[0]) / (positions - 1)
        expected[:3, 3] = places[0]
        assert np.allclose(np.reshape(affine, (4, 4)), expected, atol=1e-9)
    assert len(found) >= 12
