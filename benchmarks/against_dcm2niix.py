"""Agreement with dcm2niix on real files, field by field and maker by maker.

Run with ``DICOM_CORPUS=folder``. Every MR series of the folder is converted by dcm2niix and by the
code of the BIDS export: voxels, affine, step between volumes, b-values, gradient directions, and
all fields of the sidecar that dcm2niix writes. A field counts where dcm2niix states it. dcm2niix
turns rows over and sometimes slices: directions and times are brought into our order. The
weightings of ``diffusion_frames`` are compared as well, of series too that make no volume. A
difference is explained where a statement of ``differences.py`` holds in the headers of its series;
the statement is printed. The exit code is 1 if any other is left.
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
import pydicom
from differences import Difference, why

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
PROTOCOL = """
    select name, any_value(text) from vendor_elements
    join instances using (instance_id)
    where series_key = $uid and "index" = 0 and text is not null group by name
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


@dataclass(frozen=True)
class Theirs:
    """What dcm2niix writes of a series."""

    folder: Path
    images: list[Path]
    told: dict[str, Any]
    printed: str

    @property
    def weightings(self) -> tuple[np.ndarray, np.ndarray] | None:
        """B-values and directions of its volumes, if it writes any."""
        stem = self.images[0].with_suffix("")
        if not stem.with_suffix(".bval").exists():
            return None
        b_values = np.atleast_1d(np.loadtxt(stem.with_suffix(".bval")))
        return b_values, np.atleast_2d(np.loadtxt(stem.with_suffix(".bvec"))).T

    def displayed(self) -> np.ndarray:
        """Convert again, into displayed values of Philips."""
        _convert(self.folder, "p", "-p", "n")
        return np.asarray(nibabel.load(self.folder / "p.nii").dataobj)


def theirs(paths: list[str], out: Path) -> Theirs:
    """Convert files with dcm2niix; its sidecar is that of the first image."""
    (out / "in").mkdir(parents=True)
    for number, path in enumerate(paths):
        (out / "in" / f"{number:06}.dcm").symlink_to(path)
    printed = _convert(out, "o")
    images = sorted(out.glob("o*.nii"))
    sidecars = sorted(out.glob("o*.json"))
    return Theirs(out, images, json.loads(sidecars[0].read_text()) if sidecars else {}, printed)


def _convert(folder: Path, name: str, *options: str) -> str:
    common = ["-b", "y", "-ba", "n", "-z", "n", "-f", name, *options, "-o", folder, folder / "in"]
    ran = subprocess.run(
        [BINARY, *common], capture_output=True, text=True, check=False, timeout=300
    )
    return ran.stdout + ran.stderr


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


@dataclass(frozen=True)
class Judged:
    """One value of a series."""

    name: str
    verdict: str
    wanted: Any
    mine: Any
    is_floating: bool = False


def judged(name: str, wanted: Any, mine: Any, is_same: bool | None = None) -> Judged:
    equal = same(wanted, mine) if is_same is None else is_same
    return Judged(
        name, "equal" if equal else "not written" if mine is None else "different", wanted, mine
    )


def compared(made: Theirs, ours: Ours) -> list[Judged]:
    """Return the verdicts on the image, its gradients and its sidecar."""
    if len(made.images) != 1:
        return [Judged("images", "different", len(made.images), 1)]
    image: Any = nibabel.load(made.images[0])
    turn = Turn.between(ours.image.affine, image.affine)
    found = [*_of_voxels(made, ours, image, turn)]
    _, affine = turn.of_image(ours.image, scaled=False)
    off = float(np.abs(affine - image.affine).max())
    found.append(judged("affine", 0.0, off, off < 1e-3))
    if image.ndim > 3 and image.shape[3] > 1:
        zooms = ours.image.header.get_zooms()
        step = float(zooms[3]) if len(zooms) > 3 else None
        found.append(judged("pixdim[4]", float(image.header.get_zooms()[3]), step))
    for name, value in made.told.items():
        if name not in NOT_COMPARED and name not in PATIENT:
            mine = ours.fields.get(name)
            found.append(judged(name, value, None if mine is None else turn.of_field(name, mine)))
    if made.weightings is not None:
        b_values, vectors = made.weightings
        found.append(
            judged(
                "bval", b_values.tolist(), None if ours.b_values is None else ours.b_values.tolist()
            )
        )
        if ours.vectors is not None:
            mine = turn.of_vectors(ours.vectors, ours.image.affine, image.affine)
            is_same = mine.shape == vectors.shape and np.allclose(mine, vectors, rtol=0, atol=1e-3)
            found.append(judged("bvec", vectors, mine, bool(is_same)))
    return found


def _of_voxels(made: Theirs, ours: Ours, image: Any, turn: Turn) -> list[Judged]:
    voxels, _ = turn.of_image(ours.image, scaled=True)
    wanted = np.asarray(image.dataobj)
    is_color = wanted.dtype.names is not None
    equal = voxels.shape == wanted.shape and bool(
        (voxels == wanted).all() if is_color else np.allclose(voxels, wanted, rtol=1e-5, atol=1e-5)
    )
    if equal or is_color:
        return [judged("voxels", wanted.shape, voxels.shape, equal)]
    # dcm2niix may scale otherwise: then the stored values are the same, and those it displays.
    stored, _ = turn.of_image(ours.image, scaled=False)
    raw = image.dataobj.get_unscaled()
    if stored.shape != raw.shape or not (stored == raw).all():
        return [judged("voxels", wanted.shape, voxels.shape, False)]
    displayed = made.displayed()
    is_displayed = bool(np.allclose(voxels, displayed, rtol=1e-5, atol=1e-5))
    scale = made.told.get("PhilipsRescaleSlope", 0) * made.told.get("PhilipsScaleSlope", 0)
    is_floating = scale > 0 and bool(np.allclose(voxels / scale, wanted, rtol=1e-4))
    return [
        Judged(
            "voxels, scaled", "different", wanted.shape, voxels.shape, is_floating and is_displayed
        ),
        judged("voxels, stored", raw.shape, stored.shape, True),
        judged("voxels, dcm2niix -p n", displayed.shape, voxels.shape, is_displayed),
    ]


def weighted(catalog: Any, uid: str, made: Theirs) -> list[Judged]:
    """Compare what frames say with the gradients of dcm2niix, whatever the volumes are."""
    if made.weightings is None:
        return []
    rows = catalog.connection.execute(FRAMES, [uid]).fetchall()
    is_directed = any(direction for _, direction in rows)
    kept = [(b, d) for b, d in rows if b == 0 or d or not is_directed or b < _UNDIRECTED]
    b_values, vectors = made.weightings
    found = [judged("b-values of frames", sorted(set(b_values)), sorted({b for b, _ in kept}))]
    if is_directed:
        affine: np.ndarray = nibabel.load(made.images[0]).affine[:3, :3]  # type: ignore[attr-defined]
        axes = affine / np.linalg.norm(affine, axis=0)
        turned = np.array([d or (0.0,) * 3 for _, d in kept]) * [-1, -1, 1] @ axes
        mine = turned * [-1 if np.linalg.det(affine) > 0 else 1, 1, 1]
        ours = np.column_stack([[b for b, _ in kept], mine])
        wanted = np.column_stack([b_values, vectors])
        off = np.abs(ours[:, None] - wanted[None]).max(axis=2)
        is_same = bool((off.min(axis=0) < 1e-2).all() and (off.min(axis=1) < 1e-2).all())
        off = np.abs(mine[:, None] - vectors[None]).max(axis=2)
        is_same &= bool((off.min(axis=0) < 1e-3).all() and (off.min(axis=1) < 1e-3).all())
        found.append(judged("directions of frames", wanted, ours, is_same))
    return found


FRAMES = """
    select distinct b_value, diffusion_gradient_direction from diffusion_frames
    where series_key = $1 and b_value is not null
"""
_UNDIRECTED = 50
"""s/mm²: below it a volume without a direction is one without weighting, to dcm2niix too."""


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
        frames = statement("diffusion_frames", "bids")
        catalog.connection.execute(f"create temp table diffusion_frames as {frames}")
        for number, (uid, maker, paths) in enumerate(wh.sql(SERIES).fetchall()):
            made = theirs(paths, Path(folder) / str(number))
            ours: Ours | None = None
            try:
                ours = exported(catalog, facts[uid], open_volume(catalog, uid))
                found = compared(made, ours)
            except (PixelError, Refused) as error:
                found = [Judged("volume", "refused", None, getattr(error, "why", str(error)))]
            headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
            series = {
                "maker": maker,
                "header": headers[0],
                "told": made.told,
                "fields": ours.fields if ours else {},
                "protocol": dict(wh.sql(PROTOCOL, {"uid": uid}).fetchall()),
                "volumes": ours.image.shape[3] if ours and ours.image.ndim > 3 else 1,
                "positions": Counter(tuple(h.get("ImagePositionPatient", ())) for h in headers),
                "printed": made.printed,
            }
            for one in [*found, *weighted(catalog, uid, made)]:
                verdict = one.verdict
                if verdict != "equal":
                    difference = Difference(
                        one.name, one.wanted, one.mine, is_floating=one.is_floating, **series
                    )
                    if statement_of := why(difference):
                        verdict = f"{verdict}, explained"
                        said[statement_of].append(f"{maker} {one.name}")
                counts[maker, one.name, verdict] += 1
                details[maker, one.name, verdict] = f"{uid}: {one.wanted!r} and {one.mine!r}"
    for (maker, name, verdict), count in sorted(counts.items()):
        detail = details[maker, name, verdict][-150:].replace("\n", " ")
        print(
            f"{maker:18} {name:36} {verdict:24} {count:4}  {'' if verdict == 'equal' else detail}"
        )
    agreed = sum(count for (*_, verdict), count in counts.items() if verdict == "equal")
    open_ones = sum(count for (*_, verdict), count in counts.items() if verdict in OPEN)
    print(f"\n{agreed} of {counts.total()} values equal, {open_ones} different and not explained\n")
    for statement_of, of in said.items():
        print(f"- {', '.join(dict.fromkeys(of))}: {statement_of}")
    return int(open_ones > 0)


OPEN = {"different", "refused", "not written"}
"""Verdicts that nothing explains."""


if __name__ == "__main__":
    sys.exit(main())
