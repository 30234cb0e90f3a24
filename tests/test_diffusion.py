"""Diffusion weighting of real files, compared with dcm2niix and pydicom."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import dcm2niix
import nibabel
import numpy as np
import polars as pl
import pydicom
import pytest
from pydicom.uid import EnhancedMRImageStorage, generate_uid

import warehouse
from tests.asking import answer_of
from tests.command_line import run
from tests.conftest import PACKAGED
from tests.dicom_files import dataset, image, write
from tests.documented_keys import unlike_the_page
from tests.made_once import made_once
from tests.pixels.conftest import answered_once
from warehouse.errors import NoGradients
from warehouse.pixels.files import nifti

if TYPE_CHECKING:
    from collections.abc import Iterator

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


class Stated:
    """One warehouse of every series that is compared with dcm2niix; what it states is asked once."""

    def __init__(self, root: Path) -> None:
        self.wh = warehouse.open(root / "w")
        self.folder = root / "in"
        columns = (
            "b_value, diffusion_gradient_direction, gradient_axes_direction, direction_frame,"
            " without_creator, b_value_source"
        )
        # For what opens volumes and gradients, too: each would plan it.
        session = self.wh.catalog.connection
        session.execute("create temp table diffusion_frames as from diffusion_frames")
        self.rows = session.sql(
            "select distinct parse_dirpath(file_path) as folder, series_key,"
            f" ImageOrientationPatient as axes, {columns}"
            " from diffusion_frames join instances using (instance_id, series_key) order by all"
        ).pl()
        self.series = {
            key: rest
            for key, *rest in answer_of(
                self.wh, "select * exclude (not_read) from diffusion_series"
            )
        }

    def of(self, name: str) -> pl.DataFrame:
        """Return the distinct rows of a case."""
        folder = str(self.folder / name)
        found: pl.DataFrame = self.rows.filter(pl.col("folder").str.strip_chars_end("/") == folder)
        return found

    def key(self, name: str) -> str:
        """Return the key of the only series of a case."""
        (key,) = self.of(name)["series_key"].unique()
        return str(key)

    def volumes(self, name: str) -> Numbers:
        """Return b-values and directions of volumes, zero where there is none, ``in_order``.

        Directions are as those of ``converted``.
        """
        b_values, directions = [], []
        for row in self.of(name).iter_rows(named=True):
            b_values.append(row["b_value"])
            direction, axes = row["diffusion_gradient_direction"], row["axes"]
            if direction is None:
                directions.append(np.zeros(3))
            else:
                along_row, along_column = np.asarray(axes[:3]), np.asarray(axes[3:])
                normal = np.cross(along_row, along_column)
                directions.append(np.array([along_row, -along_column, normal]) @ direction)
        return in_order(np.asarray(b_values), np.asarray(directions))


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


PLANES = {
    "axial": [1, 0, 0, 0, 1, 0], "sagittal": [0, 1, 0, 0, 0, -1], "coronal": [1, 0, 0, 0, 0, -1],
    "oblique": [0.8, 0.6, 0, -0.48, 0.64, 0.6],
}  # fmt: skip


def turned(data: pydicom.Dataset, plane: str, axis: str) -> None:
    """Turn an axial image into another plane."""
    orientation = np.array(PLANES[plane], float)
    height = float(data.ImagePositionPatient[2])
    normal = np.cross(orientation[:3], orientation[3:])
    data.ImageOrientationPatient = orientation.tolist()
    data.ImagePositionPatient = np.round(normal * height, 4).tolist()
    data.InPlanePhaseEncodingDirection = axis
    data.PatientPosition = "HFS"


REAL = {
    "uih": "uih_dti", "philips": "small_series/philips/dti/001_implicit",
    "ge": "small_series/ge/dti/001",
}  # fmt: skip
GE = [(plane, axis) for plane in PLANES for axis in ("COL", "ROW")]
CANON = [("axial", "COL"), ("axial", "ROW"), ("sagittal", "COL")]


def write_ge(folder: Path, plane: str, axis: str) -> None:
    # As published, the files lack creators, the axis of phase encoding and the patient's position.
    for path in sorted(corpus(REAL["ge"]).glob("*.dcm")):
        data = pydicom.dcmread(path)
        turned(data, plane, axis)
        if plane == "oblique":
            data.add_new(0x00190010, "LO", "GEMS_ACQU_01")
            data.add_new(0x00430010, "LO", "GEMS_PARM_01")
        if data[0x00431039].value[0] == 1000:
            for tag, part in ((0x001910BB, "0.6"), (0x001910BC, "0.64"), (0x001910BD, "0.48")):
                data[tag].value = part
        write_anew(folder / path.name, data)


def write_canon(folder: Path, plane: str, axis: str) -> None:
    for path in sorted(corpus("canon_dti").iterdir()):
        data = pydicom.dcmread(path)
        turned(data, plane, axis)
        if "ImageComments" in data:
            data.ImageComments = "b=1500(0.600,0.640,0.480)"
        write_anew(folder / path.name, data)


def write_anew(path: Path, data: pydicom.Dataset) -> None:
    """Write an image with UIDs of its own: all cases are in one warehouse."""
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        own = generate_uid(entropy_srcs=[data[keyword].value, path.parent.name])
        data[keyword].value = own
    write(path, data)


def make_series(root: Path) -> None:
    for name, source in REAL.items():
        shutil.copytree(corpus(source), root / "in" / name)
    (root / "in" / "siemens").mkdir()
    for path in PACKAGED["nibabel"].glob("siemens_dwi_*.dcm.gz"):
        unpacked = gzip.decompress(path.read_bytes())
        (root / "in" / "siemens" / path.stem).write_bytes(unpacked)
    for plane, axis in GE:
        write_ge(root / "in" / f"ge {plane} {axis}", plane, axis)
    for plane, axis in CANON:
        write_canon(root / "in" / f"canon {plane} {axis}", plane, axis)
    warehouse.open(root / "w", create=True).ingest(root / "in", mode="full", workers=1)


@pytest.fixture(scope="module")
def stated(tmp_path_factory: pytest.TempPathFactory) -> Stated:
    """Not to write to."""
    corpus("")
    return Stated(made_once(tmp_path_factory, "diffusion", make_series))


@pytest.mark.parametrize("vendor", ["siemens", "uih", "philips"])
def test_b_values_and_directions_are_those_of_dcm2niix(
    vendor: str, stated: Stated, tmp_path: Path
) -> None:
    found = stated.volumes(vendor)
    wanted = in_order(*converted(stated.folder / vendor, tmp_path / "out"))
    assert len(found) > 1
    assert found.shape == wanted.shape
    assert np.allclose(found, wanted, rtol=1e-5, atol=2e-3)


@pytest.mark.parametrize(("plane", "axis"), GE)
def test_directions_of_ge_are_those_of_dcm2niix(
    plane: str, axis: str, stated: Stated, tmp_path: Path
) -> None:
    name = f"ge {plane} {axis}"
    wanted = in_order(*converted(stated.folder / name, tmp_path / "out"))
    assert wanted[:, 0].tolist() == [0, 1000]
    assert np.allclose(stated.volumes(name), wanted, atol=1e-3)
    rows = stated.of(name).select("without_creator", "b_value_source", "gradient_axes_direction")
    assert rows.unique().rows() == [(plane != "oblique", "GEMS_PARM_01", None)]


def test_without_the_axis_of_phase_encoding_gradient_axes_stay_what_they_are(
    stated: Stated,
) -> None:
    rows = stated.of("ge").select(
        "b_value", "without_creator", "diffusion_gradient_direction", "gradient_axes_direction",
        "direction_frame",
    )  # fmt: skip
    assert rows.unique().sort("b_value").rows() == [
        (0, True, None, None, None), (1000, True, None, [1, 0, 0], "gradient axes"),
    ]  # fmt: skip
    with pytest.raises(NoGradients, match="PatientPosition HFS and InPlanePhaseEncodingDirection"):
        stated.wh.gradients(stated.key("ge"))


@pytest.mark.parametrize(("plane", "axis"), CANON)
def test_directions_of_canon_are_those_of_dcm2niix(
    plane: str, axis: str, stated: Stated, tmp_path: Path
) -> None:
    name = f"canon {plane} {axis}"
    wanted = in_order(*converted(stated.folder / name, tmp_path / "out"))
    assert wanted[:, 0].tolist() == [0, 1500]
    assert np.allclose(stated.volumes(name), wanted, atol=1e-3)
    assert stated.series[stated.key(name)] == [[0.0, 1500.0], 1, 20, 40, 0, False]


def in_space(b_values: Numbers, vectors: Numbers, affine: Numbers) -> Numbers:
    """Return b-values with directions in RAS, out of vectors by FSL's convention."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.linalg.det(axes) > 0:
        vectors = vectors * [-1, 1, 1]
    return in_order(b_values, vectors @ axes.T)


def test_bval_and_bvec_say_what_those_of_dcm2niix_say(stated: Stated, tmp_path: Path) -> None:
    wh, uid = stated.wh, stated.key("philips")
    made = wh.gradients(uid)
    read = np.array([line.split() for line in made.bvec.splitlines()], float).T
    found = in_space(np.array(made.bval.split(), float), read, nifti(wh.volume(uid)).affine)
    b_values, vectors = converted(stated.folder / "philips", tmp_path / "out")
    (image_of,) = (tmp_path / "out").glob("*.nii*")
    wanted = in_space(b_values, vectors, nibabel.load(image_of).affine)
    assert found.shape == wanted.shape == (4, 4)
    assert np.allclose(found, wanted, atol=1e-3)


Direction = list[float] | None


CASES: dict[str, list[tuple[float | None, Direction]]] = {
    "directions": [(0.0, None), (700.0, [1.0, 0.0, 0.0]), (700.0, [0.0, 0.6, 0.8])],
    "isotropic": [(None, None), (700.0, [1.0, 0.0, 0.0]), (700.0, None)],
    "isotropic beside 0": [(0.0, None), (700.0, [1.0, 0.0, 0.0]), (700.0, None)],
    "only 0": [(0.0, None)],
    "nothing": [(None, None)],
}
"""What is stated of the volumes of a series, each of two slices."""
VECTORS: list[Direction] = [None, [1.0, 0.0, 0.0], [0.0, 0.6, 0.8]]
"""Of the frames of an enhanced object."""


def uid_of(case: str) -> str:
    return f"1.2.7.{[*CASES, 'enhanced'].index(case)}"


def write_weighted(folder: Path, case: str) -> None:
    number = 0
    for b_value, direction in CASES[case]:
        for height in (0, 3):
            number += 1
            made = image(
                f"{uid_of(case)}.{number}", Modality="MR", InstanceNumber=number,
                SeriesInstanceUID=uid_of(case), ImageType=["ORIGINAL", "PRIMARY"],
                ImagePositionPatient=[0, 0, height], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                PixelSpacing=[1, 1], AcquisitionNumber=(number + 1) // 2,
            )  # fmt: skip
            if b_value is not None:
                made.DiffusionBValue = b_value
            if direction is not None:
                made.DiffusionGradientOrientation = direction
            write(folder / case / f"{number}", made)


def write_enhanced(folder: Path) -> None:
    frames = []
    for vector in VECTORS:
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
        SeriesInstanceUID=uid_of("enhanced"),
    )  # fmt: skip
    write(folder / "enhanced", made)


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    """A warehouse of all cases. Not to write to."""
    folder = tmp_path_factory.mktemp("weighted")
    for case in CASES:
        write_weighted(folder / "in", case)
    write_enhanced(folder / "in")
    opened = warehouse.open(folder / "w", create=True)
    opened.ingest(folder / "in", workers=1)
    with answered_once(opened, "diffusion_frames"):
        yield opened


def test_bvec_is_by_the_convention_of_fsl(wh: warehouse.Warehouse) -> None:
    # The axes of this file are left, back and head: (-x, -y, z) in RAS, determinant positive, so
    # that FSL turns the first over.
    made = wh.gradients(uid_of("directions"))
    volume = wh.volume(uid_of("directions"))
    assert np.linalg.det(nifti(volume).affine[:3, :3]) > 0
    found = dict(zip(map(tuple, made.directions.tolist()), made.vectors.tolist(), strict=True))
    assert found == {(0, 0, 0): [0, 0, 0], (1, 0, 0): [-1, 0, 0], (0, 0.6, 0.8): [0, 0.6, 0.8]}
    assert made.bval == "0 700 700\n"
    assert made.inferred == made.isotropic == ()
    assert not made.without_creator


def test_an_isotropic_volume_beside_directional_ones_is_left_out_unless_asked_for(
    wh: warehouse.Warehouse,
) -> None:
    # Philips may put the trace into the series: dcm2niix, Philips/README.md.
    uid = uid_of("isotropic")
    made, all_of_it = wh.gradients(uid), wh.gradients(uid, isotropic=True)
    assert made.b_values.tolist() == [0, 700]
    assert len(made.isotropic) == 1
    assert len(made.inferred) == 1
    assert made.bvec.count("\n") == 3
    assert sorted(all_of_it.b_values.tolist()) == [0, 700, 700]
    assert all_of_it.isotropic == ()


def test_the_command_writes_gradients(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    asked = ["gradients", uid_of("isotropic beside 0"), "-w", wh.root]
    facts = json.loads(run(*asked, "--json", "-o", tmp_path / "out.dwi").stdout)
    assert unlike_the_page("gradients", facts) == []
    assert (tmp_path / "out.dwi.bval").read_text() == wh.gradients(asked[1]).bval


@pytest.mark.long("test_the_command_writes_gradients")
def test_the_command_writes_what_the_interface_says(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    made = wh.gradients(uid_of("isotropic beside 0"))
    asked = ["gradients", uid_of("isotropic beside 0"), "-w", wh.root]
    written = run(*asked, "-o", tmp_path / "out.dwi")
    assert (tmp_path / "out.dwi.bval").read_text() == made.bval
    assert (tmp_path / "out.dwi.bvec").read_text() == made.bvec
    assert f"volume {made.isotropic[0]}" in written.stderr
    assert "--isotropic keeps them" in written.stderr
    again = run(*asked, "-o", tmp_path / "out.dwi")
    assert (again.returncode, written.returncode) == (2, 0)  # nothing is replaced unasked
    facts = json.loads(run(*asked, "--json", "--isotropic").stdout)
    assert unlike_the_page("gradients", facts) == []
    assert sorted(facts["b_values"]) == [0, 700, 700]
    assert (facts["left_out"], facts["files"]) == ([], [])
    rows = [line.split() for line in run(*asked).stdout.splitlines()[1:]]
    assert ["700", "-1", "0", "0"] in [row[1:] for row in rows]
    assert run("gradients", "1.2.9.9", "-w", wh.root).returncode == 2


@pytest.mark.parametrize("case", ["only 0", "nothing"])
def test_what_is_not_weighted_has_no_gradients(case: str, wh: warehouse.Warehouse) -> None:
    with pytest.raises(NoGradients):
        wh.gradients(uid_of(case))


def test_an_enhanced_object_has_a_weighting_per_frame(wh: warehouse.Warehouse) -> None:
    uid = uid_of("enhanced")
    rows = answer_of(
        wh,
        "select b_value, diffusion_gradient_direction, DiffusionBValue, DiffusionGradientOrientation"
        " from diffusion_frames join frames using (instance_id, frame_number)"
        f" where diffusion_frames.series_key = '{uid}' order by frame_number",
    )
    assert rows == [(1000.0 if v else 0.0, v) * 2 for v in VECTORS]
    series = answer_of(
        wh,
        f"select * exclude (series_key, not_read) from diffusion_series where series_key = '{uid}'",
    )
    assert series == [([0.0, 1000.0], 2, 2, 1, 0, False)]
    # Of one instance with several frames there is no one answer.
    of_instance = answer_of(
        wh,
        "select b_value, diffusion_gradient_direction from mr_encoding"
        f" join instances using (instance_id) where instances.series_key = '{uid}'",
    )
    assert of_instance == [(None, None)]
