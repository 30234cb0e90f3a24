"""Where the slices of Siemens mosaics lie: against nibabel, the protocol, and small tables."""

from __future__ import annotations

import gzip
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pydicom
import pytest
from nibabel.nicom.dicomwrappers import wrapper_from_data

import warehouse
from tests.asking import answer_of

if TYPE_CHECKING:
    from tests.small_tables import View

IMAGE = """
    instance_id | Modality | ImageType  | pixel_offset | ImagePositionPatient | ImageOrientationPatient | PixelSpacing | Rows | Columns | SpacingBetweenSlices
"""
USUAL = "1 | MR | [MOSAIC] | 0 | [0, 0, 0] | [1, 0, 0, 0, 1, 0] | [2, 3] | 12 | 12 | 4"
HEADER = "instance_id | source_path | source_tag | creator | name | index | integer | real"
TILES = "1 | '' | 00291010 | SIEMENS CSA HEADER | NumberOfImagesInMosaic | 0 | 5 | 5"


def normal(*parts: float) -> str:
    return "\n".join(
        f"1 | '' | 00291010 | SIEMENS CSA HEADER | SliceNormalVector | {n} | | {part}"
        for n, part in enumerate(parts)
    )


def given_mosaic(view: View, image: str = USUAL, *header: str) -> None:
    view.given("instances", f"{IMAGE}{image}")
    view.given("vendor_elements", "\n".join([HEADER, *header]))


def test_slices_follow_the_normal_of_the_header(view: View) -> None:
    """Also against that of rows and columns."""
    given_mosaic(view, USUAL, TILES, normal(0, 0, -1))
    view.expect(
        "mosaic_geometry",
        """
        instance_id | tile_count | tiles_per_side | tile_rows | tile_columns | position   | slice_normal | slice_spacing_mm | extent_mm    | is_volume | affine
        1           | 5          | 3              | 4         | 4            | [12, 8, 0] | [0, 0, -1]   | 4                | [12, 8, 20]  | true      | [3, 0, 0, 12, 0, 2, 0, 8, 0, 0, -4, 0, 0, 0, 0, 1]
    """,
    )


def test_without_a_stated_distance_that_of_the_protocol_counts(view: View) -> None:
    """A protocol leaves out coordinates of 0."""
    place = (
        "1 | '' | 00291020 | SIEMENS CSA HEADER | sSliceArray.asSlice[{}].sPosition.d{} | 0 | | {}"
    )
    given_mosaic(
        view, USUAL.removesuffix("4"), TILES, normal(0, 0, 1),
        place.format(0, "Tra", -1.5), place.format(1, "Cor", 4),
    )  # fmt: skip
    (row,) = view.rows("mosaic_geometry", ["slice_spacing_mm", "is_volume"])
    assert row == (pytest.approx(np.hypot(1.5, 4)), True)


@pytest.mark.parametrize(
    ("image", "header", "why"),
    [
        (USUAL, [normal(0, 0, 1)], "the number of tiles is unknown"),
        (USUAL, [TILES.replace("5 | 5", "0 | 0"), normal(0, 0, 1)], "the number of tiles is unknown"),
        (USUAL, [TILES.replace("5 | 5", "1 | 1"), normal(0, 0, 1)], "a single tile"),
        (USUAL, [TILES], "no slice normal in a CSA header"),
        (USUAL, [TILES, normal(0, 0)], "no slice normal in a CSA header"),
        (USUAL, [TILES, normal(0, 0, 2)], "no slice normal in a CSA header"),
        (USUAL, [TILES, normal(0, 1, 0)], "the slice normal is not that of the image"),
        (USUAL.removesuffix("4"), [TILES, normal(0, 0, 1)], "no distance between slices"),
        (USUAL.replace("| 12 | 12 |", "| 13 | 12 |"), [TILES, normal(0, 0, 1)], "13 x 12 cannot be cut into 3 x 3 tiles"),
        (USUAL.replace("[0, 0, 0]", "[0, null, 0]"), [TILES, normal(0, 0, 1)], "no position, orientation, spacing or size"),
        (USUAL.replace("[2, 3]", ""), [TILES, normal(0, 0, 1)], "no position, orientation, spacing or size"),
        (USUAL.replace("[1, 0, 0, 0, 1, 0]", "[1, 0, 0, 0.6, 0.8, 0]"), [TILES, normal(0, 0, 1)], "directions not at right angles"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(view: View, image: str, header: list[str], why: str) -> None:
    given_mosaic(view, image, *header)
    assert view.rows("mosaic_geometry", ["is_volume", "affine", "why_not"]) == [(False, None, why)]


def test_another_creator_says_nothing_about_a_mosaic(view: View) -> None:
    given_mosaic(view, USUAL, TILES.replace("SIEMENS CSA HEADER", "SOMEBODY"), normal(0, 0, 1))
    assert view.rows("mosaic_geometry", ["tile_count"]) == [(None,)]


def mosaics(tmp_path: Path) -> list[Path]:
    """Return the mosaics of nibabel's package and of the Siemens folders of $DICOM_CORPUS."""
    for path in (Path(nibabel.__file__).parent / "nicom/tests/data").glob("siemens_dwi_*.dcm.gz"):
        (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    files = sorted(tmp_path.glob("*.dcm"))
    if corpus := os.environ.get("DICOM_CORPUS"):
        for name in ("siemens_mosaic", "siemens_epi"):
            files += sorted(path for path in (Path(corpus) / name).iterdir() if path.is_file())
    return files


@pytest.mark.parametrize("mode", ["normal", "full"])
def test_affines_are_those_of_nibabel_and_slices_where_the_protocol_planned_them(
    tmp_path: Path, mode: str
) -> None:
    files = mosaics(tmp_path)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(*files, mode=mode, workers=1)
    found = {
        uid: facts
        for uid, *facts in answer_of(
            wh,
            "select SOPInstanceUID, affine, tile_rows, tile_columns, tile_count, is_volume, why_not "
            "from mosaic_geometry join instances using (instance_id)",
        )
    }
    planned = {
        uid: dict(zip(names, values, strict=True))
        for uid, names, values in answer_of(
            wh,
            "select SOPInstanceUID, list(name), list(real) from vendor_elements "
            "join instances using (instance_id) where name like 'sSliceArray.asSlice[%].sPosition.d%' group by all",
        )
    }
    assert len(found) == len(files) >= 2
    for path in files:
        made = pydicom.dcmread(path)
        affine, rows, columns, count, is_volume, why_not = found[made.SOPInstanceUID]
        assert (is_volume, why_not) == (True, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            oracle = wrapper_from_data(made)
            assert (rows, columns, count) == oracle.image_shape
            expected = oracle.affine.copy()
        ours = np.reshape(affine, (4, 4))
        # nibabel indexes rows first.
        expected[:, [0, 1]] = expected[:, [1, 0]]
        assert np.allclose(ours, expected, atol=1e-4)
        for n in range(count):
            center = ours @ [columns / 2, rows / 2, n, 1]
            place = planned[made.SOPInstanceUID]
            wanted = [
                place.get(f"sSliceArray.asSlice[{n}].sPosition.d{axis}", 0.0)
                for axis in ("Sag", "Cor", "Tra")
            ]
            assert np.allclose(center[:3], wanted, atol=0.01), (path.name, n)
