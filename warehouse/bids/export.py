"""Export a run as a BIDS data set.

In: a run and the newest version of its warehouse. Out: a folder with images, sidecars and tables,
one series in memory at a time. What is no image of BIDS is a row of ``series.tsv`` with the reason.
An export that was broken off goes on where it ended: images that are there are not written again.
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.bids import folder
from warehouse.bids.fieldmaps import links
from warehouse.bids.image import packed
from warehouse.bids.refused import Refused
from warehouse.bids.sidecar import of_field_map, sidecar, sliced
from warehouse.bids.slices import slice_times
from warehouse.bids.split import SERIES_OF_VOLUMES, along, pieces, suffix_of
from warehouse.bids.tables import descriptions_without, json_bytes, patient_files, root_files
from warehouse.bids.written import Written
from warehouse.cohorts.members import members_of
from warehouse.cohorts.provenance import (
    ABOUT,
    MANIFEST,
    MANIFEST_FIELDS,
    provenance,
    text,
)
from warehouse.errors import PixelError, UsageError
from warehouse.pixels.files import nifti
from warehouse.pixels.gradients import Gradients, gradients
from warehouse.pixels.straighten import is_sheared, straightened
from warehouse.pixels.volume import open_volume
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.bids.split import Piece
    from warehouse.catalog.connect import Catalog
    from warehouse.cohorts.runs import Run
    from warehouse.pixels.volume import LazyVolume

FORMAT = "bids"


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a data set.

    Attributes
    ----------
    identifiers
        Write what identifies besides the labels of names: UIDs, institution, device, station, age,
        sex, dates and times.
    isotropic
        Keep diffusion weighted volumes without a direction beside others that have one.
    allow_gaps, resample
        As of ``export_bids``.
    """

    identifiers: bool = True
    isotropic: bool = False
    allow_gaps: bool = False
    resample: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """What is told of a data set whose run nobody may hear of, as one that was de-identified.

    Attributes
    ----------
    facts
        In the place of those of the run.
    refused
        Why series are not written, by their key.
    beside
        Names of other files at the top of the data set.
    readme
        Text of its README.
    """

    facts: dict[str, Any]
    refused: dict[str, str]
    beside: tuple[str, ...]
    readme: str


def export_bids(
    root: Path, run: Run, target: Path, *, identifiers: bool = True, isotropic: bool = False,
    allow_gaps: bool = False, resample: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write the series of a run as a BIDS data set; return the provenance.

    Parameters
    ----------
    root
        Folder of the warehouse.
    run
        What to export. A series is written if all its instances are members.
    target
        Folder: new, empty, or of the same export that was broken off.
    identifiers
        Write UIDs, institution, device, station, age, sex, dates and times. Without them labels of
        subjects and sessions still come from PatientID and the time of the study.
    isotropic
        Keep diffusion weighted volumes without a direction beside others that have one.
    allow_gaps
        Write series of single images in which slices are missing, with zeros in their place; the
        sidecar says which: ``MissingSlices``, from 0.
    resample
        ``tilt``: write series whose slices are shifted evenly, as by a tilted gantry, moved within
        their planes to lie above each other; the sidecar says so: ``ResampledFromTilt``.

    Returns
    -------
    dict
        The facts of every export, and ``bids``: how many series and images were written, and how
        many series were not.

    Raises
    ------
    TargetExists
        The folder holds something else.
    ExportFailed
        A member has left the warehouse, or the disk is full.
    NotInstalled

    Examples
    --------
    >>> run = wh.cohort("mr_by_sequence")  # doctest: +SKIP
    >>> wh.export(run, "dataset", "bids")["bids"]  # doctest: +SKIP
    {'series_written': 12, 'series_not_written': 3, 'images': 15}
    """
    return write_data_set(root, run, target, Options(identifiers, isotropic, allow_gaps, resample))


def write_data_set(
    root: Path, run: Run, target: Path, options: Options, account: Account | None = None
) -> dict[str, Any]:
    """Write a data set as ``export_bids`` does, which may tell another account of itself."""
    if options.resample not in {None, "tilt"}:
        raise UsageError(f"unknown resampling {options.resample!r}; there is: tilt")
    catalog = members_of(root, run)
    facts = account.facts if account else provenance(run, FORMAT, catalog.snapshot.version)
    facts["options"] = asdict(options)
    with folder.claimed(target, facts) as place:
        # In the place of the views, for this connection: what follows asks them time and again.
        weighted = statement("diffusion_frames", "bids")
        catalog.connection.execute(f"create temp table diffusion_frames as {weighted}")
        # Materialized series are read from their files at once.
        views = ("sequence_facts", "sequence_types", *(() if catalog.is_kept else ("series",)))
        for view in views:
            catalog.connection.execute(f"create temp table {view} as from {view}")
        series = _rows(catalog, "series")
        refused = account.refused if account else {}
        for row in series:
            row["why_not"] = row["why_not"] or refused.get(row["series_key"])
        known = {row["series_key"]: row for row in _rows(catalog, "sidecars")}
        images: list[Written] = []
        taken: set[str] = set()
        says_paths = options.identifiers and account is None
        report = [
            _exported(catalog, row, known, place, options, images, taken, says_paths=says_paths)
            for row in series
        ]
        relations = links(images)
        contents = {
            f"{image.name}.json": json_bytes(image.sidecar | relations.get(image.name, {}))
            for image in images
        }
        for image in images:
            contents |= {f"{image.name}{ending}": more for ending, more in image.beside.items()}
        of_series = {row["series_key"]: row for row in series}
        contents |= patient_files(images, of_series, identifiers=options.identifiers)
        contents |= root_files(run, report)
        if account:
            contents |= descriptions_without(run, account.readme, account.beside)
        for name, content in contents.items():
            folder.write(place, name, content)
        written = sum(row["why_not"] is None for row in report)
        facts["bids"] = {
            "series_written": written, "series_not_written": len(report) - written,
            "images": len(images),
        }  # fmt: skip
        _manifest(place, images, contents, facts)
    return facts


def _rows(catalog: Catalog, name: str) -> list[dict[str, Any]]:
    # Executed at once: a relation would plan this large question a second time.
    answer = catalog.connection.execute(statement(name, "bids"))
    names = [described[0] for described in answer.description or ()]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def _exported(
    catalog: Catalog, row: dict[str, Any], known: dict[str, dict[str, Any]], place: int,
    options: Options, images: list[Written], taken: set[str], *, says_paths: bool,
) -> dict[str, Any]:  # fmt: skip
    """Write the images of a series; return its row of ``series.tsv``."""
    key = row["series_key"]
    key_text = key if options.identifiers else hashlib.sha256(key.encode()).hexdigest()[:12]
    why: str | None = row["why_not"]
    made: list[Written] = []
    notes: list[str] = []
    if why is None:
        try:
            made, notes = _written(catalog, row, known[key], place, options, taken)
        except Refused as refused:
            why = refused.why
        except PixelError as error:
            # Messages name series and files.
            said_so = str(error) if says_paths else type(error).__name__
            why = getattr(error, "why", None) or said_so
    images += made
    return {
        "series_key": key_text, "files": " ".join(f"{image.name}.nii.gz" for image in made),
        "why_not": why, "notes": "; ".join(dict.fromkeys(notes)),
    }  # fmt: skip


def _written(
    catalog: Catalog, row: dict[str, Any], facts: dict[str, Any], place: int, options: Options,
    taken: set[str],
) -> tuple[list[Written], list[str]]:  # fmt: skip
    """Plan all images of a series, then write the missing ones."""
    if facts["not_read"] is not None:
        raise Refused(facts["not_read"])
    suffix = row["suffix"]
    tilt = options.resample == "tilt"
    volume = open_volume(catalog, row["series_key"], gaps=options.allow_gaps, tilt=tilt)
    if volume.affine is None:
        raise Refused("its frames have no place in space")
    weighting, notes = None, []
    if (row["data_type"], suffix) == ("dwi", "dwi"):
        if is_sheared(volume):
            raise Refused("gradients of slices that are shifted against each other are not known")
        weighting = gradients(catalog, volume, isotropic=options.isotropic, unweighted=True)
        notes = _notes_on_b_values(weighting)
    kept = None if weighting is None else weighting.volumes
    found = pieces(volume, row["path"], suffix, row["labels"], kept)
    marks, description = _marks(volume)
    notes += description
    fields = marks | facts["fields"] | (facts["identifiers"] if options.identifiers else {})
    if not options.identifiers:
        fields.pop("AcquisitionTime")
    begins = along(volume, "time_s")
    of_slices = _slice_times(catalog, volume, fields, suffix)
    made = []
    for piece in found:
        if piece.name.lower() in taken:
            raise Refused(f"another series is {piece.name} already")
        times = [begins[number] for number in piece.volumes] if begins else None
        own = suffix_of(piece.name)
        written, left_out = sidecar(fields, piece, own, row["task"], times)
        of_field_map(written, own, facts["field_map_echo_times_s"], facts["rescale_type"])
        notes += left_out + sliced(written, of_slices, volume.shape[volume.leading])
        beside = {} if weighting is None else _gradient_files(weighting, piece)
        made.append(
            Written(
                piece.name, row["series_key"], row["subject"], row["session"], row["data_type"],
                suffix, row["task"], row["acquired_at"], written, beside,
            )
        )  # fmt: skip
    lacking = [
        (piece, image)
        for piece, image in zip(found, made, strict=True)
        if not folder.has(place, f"{piece.name}.nii.gz")
    ]
    whole = nifti(volume) if lacking else None
    if lacking and "ResampledFromTilt" in marks:
        whole = straightened(whole)
    for piece, image in lacking:
        is_series = len(piece.volumes) > 1 or suffix in {"bold", "dwi"}
        content = packed(
            whole, piece.volumes, is_series=is_series,
            step_s=image.sidecar.get("RepetitionTime"), axis=_axis(image.sidecar),
        )  # fmt: skip
        folder.write(place, f"{piece.name}.nii.gz", content)
    taken.update(piece.name.lower() for piece in found)
    return made, notes


def _marks(volume: LazyVolume) -> tuple[dict[str, Any], list[str]]:
    """Return what the sidecar and the report say of a volume that is not as it was acquired."""
    marks: dict[str, Any] = {}
    notes = []
    if volume.leading == 0 and (missing := np.flatnonzero(volume.layout.grid < 0).tolist()):
        marks["MissingSlices"] = missing
        notes.append(f"{len(missing)} missing slices are zero")
    if is_sheared(volume):
        marks["ResampledFromTilt"] = True
        notes.append("slices were moved within their planes: the gantry was tilted")
    return marks, notes


def _notes_on_b_values(weighting: Gradients) -> list[str]:
    """Return what a reader of the data set must know of its b-values."""
    notes = []
    if weighting.isotropic:
        notes.append(
            f"{len(weighting.isotropic)} weighted volumes without a direction were left out"
        )
    if weighting.inferred:
        notes.append(f"b-value 0 of {len(weighting.inferred)} volumes is not stated but follows")
    if weighting.without_creator:
        notes.append("b-values are of private elements without a creator")
    return notes


def _slice_times(
    catalog: Catalog, volume: LazyVolume, fields: dict[str, Any], suffix: str
) -> list[float] | None:
    is_epi = "EP" in (fields["ScanningSequence"] or "").split("\\")
    if suffix not in SERIES_OF_VOLUMES or not is_epi or fields["MRAcquisitionType"] == "3D":
        return None
    return slice_times(catalog, volume)


def _gradient_files(weighting: Gradients, piece: Piece) -> dict[str, bytes]:
    places = [weighting.volumes.index(number) for number in piece.volumes]
    of_piece = replace(
        weighting, volumes=piece.volumes, b_values=weighting.b_values[places],
        directions=weighting.directions[places], vectors=weighting.vectors[places],
    )  # fmt: skip
    return {".bval": of_piece.bval.encode(), ".bvec": of_piece.bvec.encode()}


def _axis(fields: dict[str, Any]) -> str | None:
    direction = fields.get("PhaseEncodingDirection") or fields.get("PhaseEncodingAxis")
    return None if direction is None else str(direction)[0]


def _manifest(
    place: int, images: list[Written], contents: dict[str, bytes], facts: dict[str, Any]
) -> None:
    """Write the digest of every file, and the provenance with the digest of these."""
    series = {image.name: image.series_key for image in images}
    names = sorted([*contents, *(f"{name}.nii.gz" for name in series)])
    rows = io.StringIO()
    out = csv.writer(rows, lineterminator="\n")
    out.writerow(MANIFEST_FIELDS)
    for name in names:
        with folder.opened(place, name) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            out.writerow((name, "", file.tell(), digest, ""))
    content = rows.getvalue().encode()
    folder.write(place, MANIFEST, content)
    facts["manifest_sha256"] = hashlib.sha256(content).hexdigest()
    folder.write(place, ABOUT, text(facts).encode())
