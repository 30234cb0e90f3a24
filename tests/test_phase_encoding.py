"""Phase encoding and readout times of real files, compared with the sidecars of dcm2niix."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dcm2niix
import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.uid import EnhancedMRImageStorage, generate_uid

import warehouse
from tests.asking import answer_of
from tests.dicom_files import dataset, image, write
from tests.made_once import made_once
from tests.pixels.conftest import answered_once
from tests.vendor_payloads import add_private
from warehouse.pixels.files import nifti

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

BINARY = Path(dcm2niix.__file__).parent / "dcm2niix"


def corpus(name: str) -> Path:
    folder = os.environ.get("DICOM_CORPUS")
    if not folder:
        pytest.skip("DICOM_CORPUS is not set")
    return Path(folder) / name


def theirs(paths: list[Path], out: Path) -> tuple[dict[str, Any], Numbers]:
    """Return the sidecar and the affine that dcm2niix writes of one series."""
    (out / "in").mkdir(parents=True)
    for number, path in enumerate(paths):
        (out / "in" / f"{number}.dcm").symlink_to(path)
    command = [BINARY, "-b", "y", "-z", "n", "-f", "o", "-o", out, out / "in"]
    subprocess.run(command, capture_output=True, check=False, timeout=60)
    (sidecar,) = out.glob("*.json")
    return json.loads(sidecar.read_text()), nibabel.load(sidecar.with_suffix(".nii")).affine


def in_space(direction: str, affine: Numbers) -> list[float]:
    """Return a direction of BIDS as a unit vector in the patient, RAS."""
    axis: Numbers = affine[:3, "ijk".index(direction[0])]
    axis = axis / np.linalg.norm(axis)
    return (-axis if direction.endswith("-") else axis).tolist()  # type: ignore[no-any-return]


def made_by_ge(
    folder: Path, axis: str, order: str, skipped: str, options: str, slices: int = 15
) -> None:
    # GE states the sign in (0018,9034) since RX27; the files are older. What it means:
    # https://github.com/rordenlab/dcm2niix/pull/677
    for path in sorted(corpus("ge_fmri").iterdir())[:slices]:
        made = pydicom.dcmread(path)
        made.InPlanePhaseEncodingDirection = axis
        made.RectilinearPhaseEncodeReordering = order
        made.ScanOptions = ["EPI_GEMS", options]
        made[0x00431083].value = [skipped, "1"]
        made.AcquisitionMatrix = [64, 0, 0, 62] if axis == "COL" else [0, 64, 62, 0]
        del made[0x0043102A]  # what says it in older files
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
            own = generate_uid(entropy_srcs=[made[keyword].value, folder.name])
            made[keyword].value = own
        write(folder / path.name, made)


GE = [
    (axis, order, *echoes)
    for axis in ("ROW", "COL")
    for order in ("LINEAR", "REVERSE_LINEAR")
    for echoes in (("1", "PFF"), ("0.666667", "FS"))
]
SIEMENS = {"siemens_epi": ["i", "i-", "j", "j-"], "siemens_mosaic": ["i", "i", "j", "j", "j"]}


def make_series(root: Path) -> None:
    for name in SIEMENS:
        shutil.copytree(corpus(name), root / "in" / name)
    for case in GE:
        made_by_ge(root / "in" / " ".join(case), *case)
    warehouse.open(root / "w", create=True).ingest(root / "in", workers=1)


def make_few_series(root: Path) -> None:
    """One of Siemens, and one of GE."""
    (root / "in" / "siemens_epi").mkdir(parents=True)
    for path in corpus("siemens_epi").glob("mr3_*"):
        shutil.copy(path, root / "in" / "siemens_epi")
    made_by_ge(root / "in" / " ".join(GE[-1]), *GE[-1], slices=4)
    warehouse.open(root / "w", create=True).ingest(root / "in", workers=1)


class Stated:
    """One warehouse of every series; what it states is asked once."""

    def __init__(self, root: Path) -> None:
        self.wh = warehouse.open(root / "w")
        self.folder = root / "in"
        self.rows = answer_of(
            self.wh,
            "select series_key, list(file_path), any_value(phase_encoding_direction),"
            " any_value(bids_phase_encoding_direction), any_value(effective_echo_spacing_s),"
            " any_value(total_readout_time_s)"
            " from mr_encoding join images using (instance_id, series_key)"
            " where phase_encoding_direction is not null group by series_key",
        )

    def compared(self, name: str, out: Path) -> list[str]:
        """Compare every series whose sign is known; return their directions in the stored image."""
        found = []
        for number, (uid, paths, stored, direction, spacing, readout) in enumerate(self.rows):
            if not Path(paths[0]).is_relative_to(self.folder / name):
                continue
            sidecar, affine = theirs([Path(path) for path in paths], out / str(number))
            ours = nifti(self.wh.volume(uid)).affine
            assert in_space(direction, ours) == pytest.approx(
                in_space(sidecar["PhaseEncodingDirection"], affine), abs=1e-3
            ), uid
            # dcm2niix turns the rows over, and only these.
            flipped = sidecar["PhaseEncodingDirection"]
            if stored[0] == "j":
                flipped = "j" if flipped.endswith("-") else "j-"
            assert stored == flipped
            assert spacing == pytest.approx(sidecar["EffectiveEchoSpacing"], rel=1e-5)
            assert readout == pytest.approx(sidecar["TotalReadoutTime"], rel=1e-5)
            found.append(stored)
        return sorted(found)


@pytest.fixture(scope="module")
def stated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stated]:
    """Not to write to."""
    corpus("")
    made = Stated(made_once(tmp_path_factory, "phase_encoding", make_series))
    # What opens a volume asks these, of one series.
    with answered_once(made.wh, "mosaic_geometry"), answered_once(made.wh, "diffusion_frames"):
        yield made


def test_direction_and_readout_of_few_series_are_those_of_dcm2niix(tmp_path: Path) -> None:
    corpus("")
    make_few_series(tmp_path)
    few = Stated(tmp_path)
    with answered_once(few.wh, "mosaic_geometry"), answered_once(few.wh, "diffusion_frames"):
        assert few.compared("siemens_epi", tmp_path / "siemens") == ["j"]
        assert few.compared(" ".join(GE[-1]), tmp_path / "ge") == ["j"]


@pytest.mark.long("test_direction_and_readout_of_few_series_are_those_of_dcm2niix")
@pytest.mark.acceptance("D39")
@pytest.mark.parametrize("name", SIEMENS)
def test_direction_and_readout_of_siemens_are_those_of_dcm2niix(
    name: str, stated: Stated, tmp_path: Path
) -> None:
    assert stated.compared(name, tmp_path) == SIEMENS[name]


@pytest.mark.long("test_direction_and_readout_of_few_series_are_those_of_dcm2niix")
@pytest.mark.acceptance("D39")
@pytest.mark.parametrize(("axis", "order", "skipped", "options"), GE)
def test_direction_and_readout_of_ge_are_those_of_dcm2niix(
    axis: str, order: str, skipped: str, options: str, stated: Stated, tmp_path: Path
) -> None:
    expected = ("i" if axis == "ROW" else "j") + ("-" if order == "LINEAR" else "")
    assert stated.compared(f"{axis} {order} {skipped} {options}", tmp_path) == [expected]


def test_a_sign_that_no_element_states_is_null_with_the_reason(tmp_path: Path) -> None:
    # Philips and UIH state the axis only: dcm2niix, Philips/README.md, "Missing Information".
    made = image("1.1", Modality="MR", Manufacturer="Philips", InPlanePhaseEncodingDirection="COL")
    # Of others than GE the order of encoding is no direction (PS3.3 C.8.13.4).
    made.RectilinearPhaseEncodeReordering = "LINEAR"
    made.ScanningSequence = "EP"
    write(tmp_path / "in" / "a", made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    rows = answer_of(wh, "select * exclude instance_id from phase_encoding")
    assert rows == [("j", None, None, None, "no element that is known states the sign", None)]


def test_siemens_xa_states_the_sign_of_each_frame(tmp_path: Path) -> None:
    # (0021,111C): https://github.com/rordenlab/dcm2niix/issues/240; enhanced terms: PS3.3 C.8.13.3.1.
    expected = {("1", "1"): "j", ("0", "0"): "j-", ("0", "1"): None}
    for number, signs in enumerate(expected):
        frames = []
        for place, sign in enumerate(signs):
            inner = dataset()
            # NaN, which VR FD can hold, states no bandwidth.
            bandwidth = math.nan if (number, place) == (0, 0) else 1 / (0.0005 * 2)
            add_private(
                inner, "SIEMENS MR SDI 02", 0x0021, 0x11, x1C=("IS", sign), x53=("FD", bandwidth)
            )
            frame = dataset()
            frame.add_new(0x00210011, "LO", "SIEMENS MR SDI 02")
            frame.add_new(0x002111FE, "SQ", [inner])
            frames.append(frame)
        shared = dataset(MRFOVGeometrySequence=[dataset(InPlanePhaseEncodingDirection="COLUMN")])
        made = image(
            f"1.{number}", SOPClassUID=EnhancedMRImageStorage, Modality="MR", Manufacturer="Siemens",
            NumberOfFrames=2, PixelData=bytes(8), SharedFunctionalGroupsSequence=[shared],
            SeriesInstanceUID=f"1.3.{number}", PerFrameFunctionalGroupsSequence=frames,
        )  # fmt: skip
        write(tmp_path / "in" / f"{number}", made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    rows = answer_of(
        wh,
        "select phase_encoding_axis, bids_phase_encoding_direction, effective_echo_spacing_s * 1e3"
        " from mr_encoding join instances using (instance_id) order by SOPInstanceUID",
    )
    assert [row[:2] for row in rows] == [("j", direction) for direction in expected.values()]
    assert [row[2] for row in rows] == pytest.approx([1e3 * 0.0005 * 2 / made.Rows] * 3)
