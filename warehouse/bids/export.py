"""Export a run as a BIDS data set.

In: a run and the newest version of its warehouse. Out: a folder with images, sidecars and tables,
one series in memory at a time. A series that is not exported is a row of ``series.tsv`` with the
reason. An interrupted export can be resumed: existing images are not written again.
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
from warehouse.errors import NotAVolume, PixelError, UsageError
from warehouse.pixels.files import nifti
from warehouse.pixels.gradients import Gradients, gradients
from warehouse.pixels.straighten import straightened
from warehouse.pixels.volume import open_volume
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.bids.split import Piece
    from warehouse.catalog.connect import Catalog
    from warehouse.cohorts.runs import Run
    from warehouse.pixels.volume import LazyVolume

FORMAT = "bids"
_MAX_NAME = 255
"""Bytes of a file name on usual file systems; names have ASCII characters only."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a data set.

    Attributes
    ----------
    identifiers
        Write UIDs, institution, device, station, age, sex, dates and times, which identify a person
        in addition to the labels of names.
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
    """Description of a data set that must not reveal its run, such as a de-identified one.

    Attributes
    ----------
    facts
        Provenance, instead of that of the run.
    refused
        Reasons why series are not written, by series key.
    beside
        Names of other top-level files of the data set.
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
        Run to export. A series is written if all its instances are members.
    target
        Folder: new, empty, or of the same export, if that was interrupted.
    identifiers
        Write UIDs, institution, device, station, age, sex, dates and times. Without them labels of
        subjects and sessions still come from PatientID and the time of the study.
    isotropic
        Keep diffusion weighted volumes without a direction beside others that have one.
    allow_gaps
        Write series of single images with missing slices, which are filled with zeros; the sidecar
        lists them in ``MissingSlices``, from 0.
    resample
        ``tilt``: write series whose slices are shifted evenly, as by a tilted gantry, and resample
        them within their planes to align them; the sidecar states ``ResampledFromTilt``.

    Returns
    -------
    dict
        Provenance, as of every export, and ``bids``: the numbers of written series, of other series
        and of images.

    Raises
    ------
    TargetExists
        The folder contains something else.
    ExportFailed
        A member is no longer in the warehouse, or the disk is full.
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
    """Write a data set as ``export_bids`` does, optionally with another description of itself."""
    if options.resample not in {None, "tilt"}:
        raise UsageError(f"unknown resampling {options.resample!r}; choose: tilt")
    catalog = members_of(root, run)
    facts = account.facts if account else provenance(run, FORMAT, catalog.snapshot.version)
    facts["options"] = asdict(options)
    with folder.claimed(target, facts) as descriptor:
        # These tables replace the views for this connection, as they are queried repeatedly.
        weighted = statement("diffusion_frames", "bids")
        catalog.connection.execute(f"create temp table diffusion_frames as {weighted}")
        # Materialized series are read from their files at once.
        views = ("sequence_facts", "sequence_types", *(() if catalog.is_kept else ("series",)))
        for view in views:
            catalog.connection.execute(f"create temp table {view} as from {view}")
        series = _query_rows(catalog, "series")
        refused = account.refused if account else {}
        for row in series:
            row["why_not"] = row["why_not"] or refused.get(row["series_key"])
        facts_by_key = {row["series_key"]: row for row in _query_rows(catalog, "sidecars")}
        images: list[Written] = []
        used_names: set[str] = set()
        shows_paths = options.identifiers and account is None
        report = [
            _export_series(
                catalog,
                row,
                facts_by_key,
                descriptor,
                options,
                images,
                used_names,
                shows_paths=shows_paths,
            )
            for row in series
        ]
        field_map_fields = links(images)
        contents = {
            f"{image.name}.json": json_bytes(image.sidecar | field_map_fields.get(image.name, {}))
            for image in images
        }
        for image in images:
            contents |= {f"{image.name}{ending}": more for ending, more in image.beside.items()}
        series_by_key = {row["series_key"]: row for row in series}
        contents |= patient_files(images, series_by_key, identifiers=options.identifiers)
        contents |= root_files(run, report)
        if account:
            contents |= descriptions_without(run, account.readme, account.beside)
        for name, content in contents.items():
            folder.write(descriptor, name, content)
        written = sum(row["why_not"] is None for row in report)
        facts["bids"] = {
            "series_written": written, "series_not_written": len(report) - written,
            "images": len(images),
        }  # fmt: skip
        _write_manifest(descriptor, images, contents, facts)
    return facts


def _query_rows(catalog: Catalog, name: str) -> list[dict[str, Any]]:
    # Executed directly: a relation would plan this large query a second time.
    result = catalog.connection.execute(statement(name, "bids"))
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _export_series(
    catalog: Catalog, row: dict[str, Any], facts_by_key: dict[str, dict[str, Any]], descriptor: int,
    options: Options, images: list[Written], used_names: set[str], *, shows_paths: bool,
) -> dict[str, Any]:  # fmt: skip
    """Write the images of a series; return its row of ``series.tsv``."""
    key = row["series_key"]
    key_text = key if options.identifiers else hashlib.sha256(key.encode()).hexdigest()[:12]
    why: str | None = row["why_not"]
    written: list[Written] = []
    notes: list[str] = []
    if why is None:
        try:
            written, notes = _write_images(
                catalog, row, facts_by_key.get(key), descriptor, options, used_names
            )
        except Refused as refused:
            why = refused.why
        except PixelError as error:
            # Messages contain UIDs and paths.
            message = str(error) if shows_paths else type(error).__name__
            why = getattr(error, "why", None) or message
    images += written
    return {
        "series_key": key_text, "files": " ".join(f"{image.name}.nii.gz" for image in written),
        "why_not": why, "notes": "; ".join(dict.fromkeys(notes)),
    }  # fmt: skip


def _write_images(
    catalog: Catalog, row: dict[str, Any], facts: dict[str, Any] | None, descriptor: int,
    options: Options, used_names: set[str],
) -> tuple[list[Written], list[str]]:  # fmt: skip
    """Plan all images of a series, then write the missing ones."""
    if facts is None:
        raise Refused("none of its instances of Modality MR is an image")
    if facts["not_read"] is not None:
        raise Refused(facts["not_read"])
    suffix = row["suffix"]
    volume, is_tilted = _opened(catalog, row["series_key"], options)
    if volume.affine is None:
        raise Refused("its frames have no position in space")
    weighting, notes = None, []
    if (row["data_type"], suffix) == ("dwi", "dwi"):
        if is_tilted:
            raise Refused(
                "gradients of slices that are shifted against each other are not supported"
            )
        weighting = gradients(catalog, volume, isotropic=options.isotropic, unweighted=True)
        notes = _notes_on_b_values(weighting)
    kept = None if weighting is None else weighting.volumes
    planned = pieces(volume, row["path"], suffix, row["labels"], kept)
    marks, mark_notes = _volume_marks(volume, is_tilted=is_tilted)
    notes += mark_notes
    fields = marks | facts["fields"] | (facts["identifiers"] if options.identifiers else {})
    if not options.identifiers:
        fields.pop("AcquisitionTime")
    start_times = along(volume, "time_s")
    times_of_slices = _slice_times(catalog, volume, fields, suffix)
    images = []
    for piece in planned:
        if len(piece.name.rpartition("/")[2]) + len(".nii.gz") > _MAX_NAME:
            raise Refused(f"its file name would have more than {_MAX_NAME} characters")
        if piece.name.lower() in used_names:
            raise Refused(f"another series has the name {piece.name}")
        times = [start_times[number] for number in piece.volumes] if start_times else None
        suffix_of_piece = suffix_of(piece.name)
        fields_of_piece, omitted = sidecar(fields, piece, suffix_of_piece, row["task"], times)
        of_field_map(
            fields_of_piece, suffix_of_piece, facts["field_map_echo_times_s"], facts["rescale_type"]
        )
        notes += omitted + sliced(fields_of_piece, times_of_slices, volume.shape[volume.leading])
        gradient_files = {} if weighting is None else _gradient_files(weighting, piece)
        images.append(
            Written(
                piece.name, row["series_key"], row["subject"], row["session"], row["data_type"],
                suffix, row["task"], row["acquired_at"], fields_of_piece, gradient_files,
            )
        )  # fmt: skip
    missing = [
        (piece, image)
        for piece, image in zip(planned, images, strict=True)
        if not folder.has(descriptor, f"{piece.name}.nii.gz")
    ]
    nifti_image = nifti(volume) if missing else None
    if missing and is_tilted:
        nifti_image = straightened(nifti_image)
    for piece, image in missing:
        is_series = len(piece.volumes) > 1 or suffix in {"bold", "dwi"}
        content = packed(
            nifti_image, piece.volumes, is_series=is_series,
            step_s=image.sidecar.get("RepetitionTime"), axis=_phase_encoding_axis(image.sidecar),
        )  # fmt: skip
        folder.write(descriptor, f"{piece.name}.nii.gz", content)
    used_names.update(piece.name.lower() for piece in planned)
    return images, notes


def _opened(catalog: Catalog, series_key: str, options: Options) -> tuple[LazyVolume, bool]:
    """Open a series; return it, and whether that takes the option for a tilted gantry.

    Slices that are shifted by rounding alone form a volume without the option.
    """
    gaps = options.allow_gaps
    try:
        return open_volume(catalog, series_key, gaps=gaps), False
    except NotAVolume:
        if options.resample != "tilt":
            raise
        return open_volume(catalog, series_key, gaps=gaps, tilt=True), True


def _volume_marks(volume: LazyVolume, *, is_tilted: bool) -> tuple[dict[str, Any], list[str]]:
    """Return sidecar fields and notes about missing and resampled slices."""
    marks: dict[str, Any] = {}
    notes = []
    if volume.leading == 0 and (missing := np.flatnonzero(volume.layout.grid < 0).tolist()):
        marks["MissingSlices"] = missing
        notes.append(f"{len(missing)} missing slices are filled with zeros")
    if is_tilted:
        marks["ResampledFromTilt"] = True
        notes.append("slices were resampled within their planes, because the gantry was tilted")
    return marks, notes


def _notes_on_b_values(weighting: Gradients) -> list[str]:
    """Return notes about volumes without direction, and about inferred or private b-values."""
    notes = []
    if weighting.isotropic:
        notes.append(
            f"{len(weighting.isotropic)} weighted volumes without a direction were omitted"
        )
    if weighting.inferred:
        notes.append(f"b-value 0 of {len(weighting.inferred)} volumes is not stated but inferred")
    if weighting.without_creator:
        notes.append("b-values come from private elements without a creator")
    return notes


def _slice_times(
    catalog: Catalog, volume: LazyVolume, fields: dict[str, Any], suffix: str
) -> list[float] | None:
    is_epi = "EP" in (fields["ScanningSequence"] or "").split("\\")
    if suffix not in SERIES_OF_VOLUMES or not is_epi or fields["MRAcquisitionType"] == "3D":
        return None
    return slice_times(catalog, volume)


def _gradient_files(weighting: Gradients, piece: Piece) -> dict[str, bytes]:
    indices = [weighting.volumes.index(number) for number in piece.volumes]
    of_piece = replace(
        weighting, volumes=piece.volumes, b_values=weighting.b_values[indices],
        directions=weighting.directions[indices], vectors=weighting.vectors[indices],
    )  # fmt: skip
    return {".bval": of_piece.bval.encode(), ".bvec": of_piece.bvec.encode()}


def _phase_encoding_axis(fields: dict[str, Any]) -> str | None:
    direction = fields.get("PhaseEncodingDirection") or fields.get("PhaseEncodingAxis")
    return None if direction is None else str(direction)[0]


def _write_manifest(
    descriptor: int, images: list[Written], contents: dict[str, bytes], facts: dict[str, Any]
) -> None:
    """Write the manifest with the digests of all files, and the provenance with its digest."""
    series = {image.name: image.series_key for image in images}
    names = sorted([*contents, *(f"{name}.nii.gz" for name in series)])
    rows = io.StringIO()
    out = csv.writer(rows, lineterminator="\n")
    out.writerow(MANIFEST_FIELDS)
    for name in names:
        with folder.opened(descriptor, name) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            out.writerow((name, "", file.tell(), digest, ""))
    content = rows.getvalue().encode()
    folder.write(descriptor, MANIFEST, content)
    facts["manifest_sha256"] = hashlib.sha256(content).hexdigest()
    folder.write(descriptor, ABOUT, text(facts).encode())
