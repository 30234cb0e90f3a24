"""Agreement with dcm2niix on real files, field by field and maker by maker.

Run with ``DICOM_CORPUS=folder``. Every MR series of the folder is converted by dcm2niix and by the
code of the BIDS export: voxels, affine, step between volumes, b-values, gradient directions, and
all fields of the sidecar that dcm2niix writes and the export knows. A field counts where dcm2niix
states it. dcm2niix turns rows over and sometimes slices: directions and times are brought into our
order. Differences that a statement explains are counted as such, and the statement is printed; the
exit code is 1 if any other is left.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dcm2niix
import nibabel
import numpy as np

import warehouse
from warehouse.bids.image import packed
from warehouse.bids.refused import Refused
from warehouse.bids.sidecar import sidecar, sliced
from warehouse.bids.slices import slice_times
from warehouse.bids.split import Piece
from warehouse.cohorts.members import members_of
from warehouse.errors import NoGradients, PixelError
from warehouse.pixels.files import nifti
from warehouse.pixels.gradients import gradients
from warehouse.pixels.volume import LazyVolume, open_volume
from warehouse.sqlfiles import statement

BINARY = Path(dcm2niix.__file__).parent / "dcm2niix"
SERIES = """
    select series.series_key, coalesce(manufacturer_name, '?'), list(distinct images.file_path)
    from series join images using (series_key)
    where series.Modality = 'MR' group by all order by 2, 1
"""
NOT_COMPARED = {
    "ConversionSoftware": "the name of the converter",
    "ConversionSoftwareVersion": "the version of the converter",
    "BidsGuess": "a guess of dcm2niix",
}
PATIENT = {
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize",
    "PatientWeight", "AccessionNumber", "ReferringPhysicianName", "StudyID", "StudyDescription",
    "AcquisitionDateTime", "ImageComments",
}  # fmt: skip
"""What is of the patient or the visit: BIDS has participants.tsv and scans.tsv for it."""


@dataclass(frozen=True)
class Ours:
    """What the export would write of a series."""

    image: Any
    fields: dict[str, Any]
    b_values: np.ndarray | None
    vectors: np.ndarray | None


def theirs(paths: list[str], out: Path) -> tuple[list[Path], dict[str, Any]]:
    """Convert files with dcm2niix; return its images and the sidecar of the first."""
    (out / "in").mkdir(parents=True)
    for number, path in enumerate(paths):
        (out / "in" / f"{number:06}.dcm").symlink_to(path)
    command = [BINARY, "-b", "y", "-ba", "n", "-z", "n", "-f", "o", "-o", out, out / "in"]
    subprocess.run(command, capture_output=True, check=False, timeout=300)
    images = sorted(out.glob("*.nii"))
    sidecars = sorted(out.glob("*.json"))
    return images, json.loads(sidecars[0].read_text()) if sidecars else {}


def exported(catalog: Any, facts: dict[str, Any], volume: LazyVolume) -> Ours:
    """Return what the export would write, of a series of any type."""
    count = int(np.prod(volume.shape[: volume.leading], dtype=np.int64))
    b_values = vectors = None
    volumes = tuple(range(count))
    try:
        weighting = gradients(catalog, volume)
        b_values, vectors, volumes = weighting.b_values, weighting.vectors, weighting.volumes
    except NoGradients:
        pass
    stated = facts["fields"] | facts["identifiers"]
    fields, _ = sidecar(stated, Piece("", volumes), "T1w", None, None)
    is_epi = "EP" in (stated["ScanningSequence"] or "").split("\\")
    if is_epi and stated["MRAcquisitionType"] != "3D":
        sliced(fields, slice_times(catalog, volume), volume.shape[volume.leading])
    is_series = len(volumes) > 1
    step_s = fields.get("RepetitionTime")
    content = packed(nifti(volume), volumes, is_series=is_series, step_s=step_s, axis=None)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(content))
    return Ours(image, fields, b_values, vectors)


@dataclass(frozen=True)
class Turn:
    """How the axes of their image follow from ours: which of ours each is, and whether turned."""

    axes: list[int]
    flips: list[bool]

    @staticmethod
    def between(ours: np.ndarray, other: np.ndarray) -> Turn:
        """Return the turn from the axes of one affine to those of another."""
        turn = np.linalg.inv(other[:3, :3]) @ ours[:3, :3]
        axes = np.abs(turn).argmax(axis=1).tolist()
        return Turn(axes, [bool(turn[axis, axes[axis]] < 0) for axis in range(3)])

    def of_image(self, image: Any, *, scaled: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return voxels and affine of our image in their order."""
        voxels = np.asarray(image.dataobj) if scaled else image.dataobj.get_unscaled()
        voxels = voxels.transpose(*self.axes, *range(3, voxels.ndim))
        affine = np.column_stack([image.affine[:, self.axes], image.affine[:, 3]])
        for axis, is_flipped in enumerate(self.flips):
            if is_flipped:
                voxels = np.flip(voxels, axis)
                affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
                affine[:3, axis] *= -1
        return voxels, affine

    def of_field(self, name: str, value: Any) -> Any:
        """Return a value of ours in their order."""
        if name == "PhaseEncodingAxis":
            return "ijk"[self.axes.index("ijk".index(value))]
        if name == "PhaseEncodingDirection":
            axis = self.axes.index("ijk".index(value[0]))
            is_negative = value.endswith("-") != self.flips[axis]
            return "ijk"[axis] + ("-" if is_negative else "")
        if name == "SliceTiming" and self.flips[self.axes.index(2)]:
            return value[::-1]
        return value

    def of_vectors(self, vectors: np.ndarray, ours: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return gradients of ours along their axes; FSL turns the first of a right-handed image."""
        plain = vectors * [-1 if np.linalg.det(ours[:3, :3]) > 0 else 1, 1, 1]
        turned: np.ndarray = plain[:, self.axes] * np.where(self.flips, -1, 1)
        return turned * [-1 if np.linalg.det(other[:3, :3]) > 0 else 1, 1, 1]


def same(wanted: Any, ours: Any) -> bool:
    """Tell whether two values are the same; dcm2niix writes six digits."""
    if isinstance(wanted, bool) or isinstance(ours, bool):
        return wanted is ours
    if isinstance(wanted, int | float) and isinstance(ours, int | float):
        return bool(np.isclose(wanted, ours, rtol=1e-4, atol=1e-9))
    if isinstance(wanted, list) and wanted and not isinstance(wanted[0], str):
        # Clocks of headers count 2.5 ms, and which volume is asked may differ.
        return np.shape(wanted) == np.shape(ours) and np.allclose(wanted, ours, rtol=0, atol=0.0051)
    return bool(wanted == ours)


def compared(
    uid: str, images: list[Path], told: dict[str, Any], ours: Ours
) -> list[tuple[str, str, str]]:
    """Return field, verdict and detail of a series."""
    if len(images) != 1:
        return [("images", "different", f"{uid}: dcm2niix writes {len(images)}")]
    found: list[tuple[str, str, str]] = []

    def judged(name: str, wanted: Any, mine: Any, is_same: bool | None = None) -> None:
        equal = same(wanted, mine) if is_same is None else is_same
        verdict = "equal" if equal else "not written" if mine is None else "different"
        found.append((name, verdict, f"{uid}: {wanted!r} and {mine!r}"))

    image: Any = nibabel.load(images[0])
    turn = Turn.between(ours.image.affine, image.affine)
    voxels, affine = turn.of_image(ours.image, scaled=True)
    wanted = np.asarray(image.dataobj)
    is_color = wanted.dtype.names is not None
    equal = voxels.shape == wanted.shape and bool(
        (voxels == wanted).all() if is_color else np.allclose(voxels, wanted, rtol=1e-5, atol=1e-5)
    )
    if equal or is_color:
        judged("voxels", wanted.shape, voxels.shape, equal)
    else:
        # dcm2niix may scale otherwise: then at least the stored values are the same.
        stored, _ = turn.of_image(ours.image, scaled=False)
        raw = image.dataobj.get_unscaled()
        is_raw = stored.shape == raw.shape and bool((stored == raw).all())
        judged("voxels, scaled" if is_raw else "voxels", wanted.shape, voxels.shape, False)
        if is_raw:
            judged("voxels, stored", raw.shape, stored.shape, True)
    off = float(np.abs(affine - image.affine).max())
    judged("affine", 0.0, off, off < 1e-3)
    if wanted.ndim > 3 and wanted.shape[3] > 1:
        zooms = ours.image.header.get_zooms()
        judged(
            "pixdim[4]",
            float(image.header.get_zooms()[3]),
            float(zooms[3]) if len(zooms) > 3 else None,
        )
    for name, value in told.items():
        if name not in NOT_COMPARED and name not in PATIENT:
            mine = ours.fields.get(name)
            judged(name, value, None if mine is None else turn.of_field(name, mine))
    stem = images[0].with_suffix("")
    if stem.with_suffix(".bval").exists():
        b_values = np.atleast_1d(np.loadtxt(stem.with_suffix(".bval"))).tolist()
        judged("bval", b_values, None if ours.b_values is None else ours.b_values.tolist())
        vectors = np.atleast_2d(np.loadtxt(stem.with_suffix(".bvec"))).T
        mine = None
        if ours.vectors is not None:
            mine = turn.of_vectors(ours.vectors, ours.image.affine, image.affine)
        is_same = mine is not None and mine.shape == vectors.shape
        if mine is not None:
            judged("bvec", vectors, mine, is_same and np.allclose(mine, vectors, atol=1e-3))
    return found


def main() -> int:
    """Print the table; 1 if a difference is not explained."""
    counts: Counter[tuple[str, str, str]] = Counter()
    details: dict[tuple[str, str, str], str] = {}
    said: dict[str, list[str]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        wh = warehouse.open(Path(folder) / "w", create=True)
        wh.ingest(os.environ["DICOM_CORPUS"])
        wh.save_cohort("every_mr", "select series_key from series where Modality = 'MR'")
        catalog = members_of(wh.root, wh.cohort("every_mr"))
        rows = catalog.connection.sql(statement("sidecars", "bids")).to_arrow_table().to_pylist()
        facts = {row["series_key"]: row for row in rows}
        weighted = statement("diffusion_frames", "bids")
        catalog.connection.execute(f"create temp table diffusion_frames as {weighted}")
        for number, (uid, maker, paths) in enumerate(wh.sql(SERIES).fetchall()):
            images, told = theirs(paths, Path(folder) / str(number))
            try:
                ours = exported(catalog, facts[uid], open_volume(catalog, uid))
            except (PixelError, Refused) as error:
                found = [("volume", "refused", f"{uid}: {getattr(error, 'why', error)}")]
            else:
                found = compared(uid, images, told, ours)
            for name, verdict, detail in found:
                why = None if verdict == "equal" else explanation(name, verdict)
                judged = f"{verdict}, explained" if why else verdict
                if why:
                    said[why].append(f"{maker} {name}")
                counts[maker, name, judged] += 1
                details[maker, name, judged] = detail
    for (maker, name, verdict), count in sorted(counts.items()):
        detail = details[maker, name, verdict][-150:].replace("\n", " ")
        print(
            f"{maker:18} {name:36} {verdict:24} {count:4}  {'' if verdict == 'equal' else detail}"
        )
    agreed = sum(count for (*_, verdict), count in counts.items() if verdict == "equal")
    open_ones = sum(count for (*_, verdict), count in counts.items() if verdict in OPEN)
    print(f"\n{agreed} of {counts.total()} values equal, {open_ones} different and not explained\n")
    for why, of in said.items():
        print(f"- {', '.join(dict.fromkeys(of))}: {why}")
    return int(open_ones > 0)


OPEN = {"different", "refused", "not written"}
"""Verdicts that nothing explains."""
DCM2NIIX = "https://github.com/rordenlab/dcm2niix/blob/master"
NO_FIELD = (
    "no field of the BIDS 1.11 glossary (https://bids-specification.readthedocs.io/en/v1.11.0/glossary.html), "
    "and no attribute of the standard"
)
PROTOCOL = (
    "read by dcm2niix out of the protocol that the maker does not document; the protocol is in the view "
    "vendor_elements"
)
NOT_STATED = "the attribute is not in these files: dcm2niix takes another, or a default of its own"
EXPLAINED: dict[tuple[str, str], str] = {
    ("volume", "refused"): "frames are missing or lie in no regular grid; the reason is in series_geometry",
    ("voxels, scaled", "different"): (
        "stored values are equal; dcm2niix multiplies by the private scale slope of Philips, we by Rescale "
        f"Slope (PS3.3 C.11.1.1.2): {DCM2NIIX}/Philips/README.md"
    ),
    ("ImageType", "different"): (
        "BIDS: Image Type (0008,0008); dcm2niix splits its words and appends others of frames"
    ),
    ("AcquisitionDuration", "not written"): (
        "BIDS: of a volume; (0018,9073) is of the whole acquisition where series are single images"
    ),
    ("CoilString", "not written"): "a name of dcm2niix; BIDS has ReceiveCoilName, which is written",
    ("InternalPulseSequenceName", "not written"): "a name of dcm2niix; written as PulseSequenceName",
    ("SequenceName", "not written"): (
        "BIDS: Sequence Name (0018,0024), which is not stated; the private one is PulseSequenceName"
    ),
    ("PulseSequenceType", "not written"): "dcm2niix concludes it from other fields, which are written",
    ("SliceTiming", "not written"): (
        f"not stated; dcm2niix spreads slices evenly in the order of GE's protocol: {DCM2NIIX}/GE/README.md"
    ),
    ("PhaseEncodingDirection", "not written"): (
        "Rectilinear Phase Encode Reordering (0018,9034) is UNKNOWN; dcm2niix takes the sign from the view order of "
        f"GE's protocol: {DCM2NIIX}/GE/README.md"
    ),
    ("ReconMatrixPE", "not written"): (
        "the axis of phase encoding is not stated, so that neither rows nor columns are known to be it"
    ),
    ("bval", "not written"): (
        "directions are along gradient axes, and how these lie in the patient is not stated (no PatientPosition, "
        "no In-plane Phase Encoding Direction): nothing is written rather than a guess"
    ),
}  # fmt: skip
"""By field and verdict: why the two differ."""
OF_PROTOCOL = {
    "BaseResolution", "CoilCombinationMethod", "ConsistencyInfo", "DelayTime", "MatrixCoilMode", "PhaseResolution",
    "PulseSequenceDetails", "RefLinesPE", "ShimSetting", "TablePosition", "TxRefAmp", "ReceiveCoilActiveElements",
    "ReceiveCoilName",
}  # fmt: skip
NO_FIELDS = {
    "DerivedVendorReportedEchoSpacing", "FrequencyEncodingSteps", "ImageOrientationText", "ImageTypeText",
    "NumberOfKSpaceTrajectories", "PhaseEncodingPolarityGE", "PhaseEncodingStepsOutOfPlane",
    "PhilipsRescaleIntercept", "PhilipsRescaleSlope", "PhilipsScaleSlope", "PrescanReuseString", "RawImage",
    "UsePhilipsFloatNotDisplayScaling", "WaterFatShift", "PhaseEncodingDirectionDisplayed",
}  # fmt: skip
OTHERWISE = {
    "ProtocolName", "InstitutionalDepartmentName", "ProcedureStepDescription", "SpoilingState", "MTState",
    "ParallelReductionFactorOutOfPlane", "NonlinearGradientCorrection", "DwellTime",
}  # fmt: skip


def explanation(name: str, verdict: str) -> str | None:
    """Return why a value differs, if that is known."""
    if (found := EXPLAINED.get((name, verdict))) or verdict != "not written":
        return found
    for names, why in ((OF_PROTOCOL, PROTOCOL), (NO_FIELDS, NO_FIELD), (OTHERWISE, NOT_STATED)):
        if name in names:
            return why
    return None


if __name__ == "__main__":
    sys.exit(main())
