"""Agreement with dcm2niix on real files, field by field and maker by maker.

Run with ``DICOM_CORPUS=folder``. Every MR series of the folder is converted by dcm2niix and by the
code of the BIDS export: voxels, affine, step between volumes, b-values, gradient directions, and
all fields of the sidecar that dcm2niix writes and the export knows. A field counts where dcm2niix
states it. dcm2niix turns rows over and sometimes slices: directions and times are brought into our
order. Differences that a statement explains are counted as such, and the statement is printed; the
exit code is 1 if any other is left.
"""

from __future__ import annotations

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
    select series.series_key, coalesce(manufacturer_name, '?'), list(distinct images.path)
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


def exported(catalog: Any, uid: str, facts: dict[str, Any], volume: LazyVolume) -> Ours:
    """Return what the export would write, of a series of any type."""
    count = int(np.prod(volume.shape[: volume.leading], dtype=np.int64))
    b_values = vectors = None
    volumes = tuple(range(count))
    try:
        weighting = gradients(catalog, volume)
        b_values, vectors, volumes = weighting.b_values, weighting.vectors, weighting.volumes
    except NoGradients:
        pass
    fields, _ = sidecar(
        facts["fields"] | facts["identifiers"], Piece("", volumes), "T1w", None, None
    )
    is_epi = "EP" in (facts["fields"]["ScanningSequence"] or "").split("\\")
    if is_epi and facts["fields"]["MRAcquisitionType"] != "3D":
        sliced(fields, slice_times(catalog, volume), volume.shape[volume.leading])
    content = packed(
        nifti(volume),
        volumes,
        is_series=len(volumes) > 1,
        step_s=fields.get("RepetitionTime"),
        axis=None,
    )
    return Ours(
        nibabel.Nifti1Image.from_bytes(__import__("gzip").decompress(content)),
        fields,
        b_values,
        vectors,
    )


def flips(affine: np.ndarray, image: Any) -> list[bool] | None:
    """Return along which of our axes the other image goes the other way; None if axes differ."""
    turn = np.linalg.inv(image.affine[:3, :3]) @ affine[:3, :3]
    if np.abs(turn).argmax(axis=1).tolist() != [0, 1, 2]:
        return None
    return [turn[axis, axis] < 0 for axis in range(3)]


def turned(ours: Any, flipped: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels and affine of our image in the order of the other."""
    voxels, affine = np.asarray(ours.dataobj), ours.affine.copy()
    for axis, is_flipped in enumerate(flipped):
        if is_flipped:
            voxels = np.flip(voxels, axis)
            affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
            affine[:3, axis] *= -1
    return voxels, affine


def flipped_field(name: str, value: Any, flipped: list[bool]) -> Any:
    """Return a value of ours in the order of the other image."""
    if name == "PhaseEncodingDirection" and flipped["ijk".index(value[0])]:
        return value[0] if value.endswith("-") else f"{value}-"
    if name == "SliceTiming" and flipped[2]:
        return value[::-1]
    return value


def same(wanted: Any, ours: Any, tolerance: float = 1e-4) -> bool:
    """Tell whether two values are the same; dcm2niix writes six digits."""
    if isinstance(wanted, bool) or isinstance(ours, bool):
        return wanted is ours
    if isinstance(wanted, int | float) and isinstance(ours, int | float):
        return bool(np.isclose(wanted, ours, rtol=tolerance, atol=1e-9))
    if (
        isinstance(wanted, list)
        and isinstance(ours, list)
        and wanted
        and not isinstance(wanted[0], str)
    ):
        # Clocks of headers count 2.5 ms, and which volume is asked may differ.
        return np.shape(wanted) == np.shape(ours) and np.allclose(wanted, ours, rtol=0, atol=0.0051)
    return bool(wanted == ours)


def compared(
    uid: str, maker: str, images: list[Path], told: dict[str, Any], ours: Ours
) -> list[tuple[str, str, str]]:
    """Return field, verdict and detail of a series."""
    verdicts = []
    if len(images) != 1:
        return [("images", "different", f"{uid}: dcm2niix writes {len(images)}")]
    image = nibabel.load(images[0])
    flipped = flips(ours.image.affine, image)
    if flipped is None:
        return [("orientation", "different", uid)]
    voxels, affine = turned(ours.image, flipped)
    wanted = np.asarray(image.dataobj)
    count = wanted.shape[3] if wanted.ndim > 3 else 1
    if voxels.shape == wanted.shape:
        equal = (
            (voxels == wanted)
            if wanted.dtype.names
            else np.isclose(voxels, wanted, rtol=1e-5, atol=1e-5)
        )
        verdicts.append(("voxels", "equal" if equal.all() else "different", uid))
    else:
        verdicts.append(("voxels", "different", f"{uid}: {voxels.shape} and {wanted.shape}"))
    off = float(np.abs(affine - image.affine).max())
    verdicts.append(("affine", "equal" if off < 1e-3 else "different", f"{uid}: {off:.4g} mm"))
    if count > 1:
        step, other = image.header.get_zooms()[3], ours.image.header.get_zooms()
        verdicts.append(
            ("pixdim[4]", "equal" if len(other) > 3 and same(float(step), float(other[3])) else "different",
             f"{uid}: {step} and {other}")
        )  # fmt: skip
    for name, value in told.items():
        if name in NOT_COMPARED or name in PATIENT:
            continue
        mine = ours.fields.get(name)
        if mine is None:
            verdicts.append((name, "not written here", f"{uid}: {value!r}"))
            continue
        mine = flipped_field(name, mine, flipped)
        verdicts.append(
            (name, "equal" if same(value, mine) else "different", f"{uid}: {value!r} and {mine!r}")
        )
    stem = images[0].with_suffix("")
    if (values := stem.with_suffix(".bval")).exists():
        wanted_b = np.atleast_1d(np.loadtxt(values))
        is_same = ours.b_values is not None and same(wanted_b.tolist(), ours.b_values.tolist())
        verdicts.append(
            ("bval", "equal" if is_same else "different", f"{uid}: {wanted_b} and {ours.b_values}")
        )
        wanted_v = np.atleast_2d(np.loadtxt(stem.with_suffix(".bvec"))).T
        vectors = None
        if ours.vectors is not None:
            # Both are along the axes of their image, the first turned if it is right-handed.
            vectors = ours.vectors * [
                -1 if np.linalg.det(ours.image.affine[:3, :3]) > 0 else 1, 1, 1
            ] * np.where(flipped, -1, 1)  # fmt: skip
            vectors = vectors * [-1 if np.linalg.det(image.affine[:3, :3]) > 0 else 1, 1, 1]
        is_same = (
            vectors is not None
            and vectors.shape == wanted_v.shape
            and np.allclose(vectors, wanted_v, atol=1e-3)
        )
        verdicts.append(
            ("bvec", "equal" if is_same else "different", f"{uid}: {wanted_v} and {vectors}")
        )
    return verdicts


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
                ours = exported(catalog, uid, facts[uid], open_volume(catalog, uid))
            except (PixelError, Refused) as error:
                found = [("volume", "refused here", f"{uid}: {getattr(error, 'why', error)}")]
            else:
                found = compared(uid, maker, images, told, ours)
            for name, verdict, detail in found:
                why = EXPLAINED.get((name, verdict, maker)) or EXPLAINED.get((name, verdict, "*"))
                if why and verdict != "equal":
                    said[why].append(f"{maker} {name}")
                    verdict = f"{verdict}, explained"
                counts[maker, name, verdict] += 1
                details[maker, name, verdict] = detail
    for (maker, name, verdict), count in sorted(counts.items()):
        shown = (
            "" if verdict == "equal" else details[maker, name, verdict][-150:].replace("\n", " ")
        )
        print(f"{maker:18} {name:36} {verdict:28} {count:4}  {shown}")
    print()
    for why, of in said.items():
        print(f"- {', '.join(dict.fromkeys(of))}: {why}")
    return int(any(verdict in {"different", "refused here"} for *_, verdict in counts))


EXPLAINED: dict[tuple[str, str, str], str] = {}
"""By field, verdict and maker (* for all): why the two differ."""

if __name__ == "__main__":
    sys.exit(main())
