"""Export the members of a run as de-identified files, in portions; a stopped export is resumed.

In: a run, a profile, a key. Out: a folder or a zip of new files, or a BIDS data set, with
``manifest.csv``, ``cohort.json``, ``audit.parquet`` (a row for every change), ``left_out.csv``
(instances that cannot be de-identified, and why) and ``report.html``. Sources are opened read-only.
An export with a key resumes at the first unfinished portion, if everything that determines its
files is unchanged.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import zipfile
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from warehouse.bids.export import FORMAT as BIDS
from warehouse.bids.export import Options
from warehouse.cohorts.drafts import finish_export, refuse_export
from warehouse.cohorts.members import members_of, sources
from warehouse.cohorts.names import TEMPLATE, check_template
from warehouse.cohorts.provenance import ABOUT, MANIFEST, MANIFEST_FIELDS, sha256_of, text
from warehouse.cohorts.runs import package_version
from warehouse.deidentify import mapping
from warehouse.deidentify.audit import join_parts
from warehouse.deidentify.data_set import data_set, sizes
from warehouse.deidentify.files import Portion, Treatment, treat
from warehouse.deidentify.identity import known_of
from warehouse.deidentify.key import Key, random_key
from warehouse.deidentify.pixels import PixelRules
from warehouse.deidentify.profile import BASIC, profile
from warehouse.deidentify.report import write_report
from warehouse.deidentify.work import (
    FILES,
    NOTES,
    clear_placed,
    mark_complete,
    resumable_folder,
    was_placing,
)
from warehouse.errors import DeidentifierLost, TargetExists, UsageError
from warehouse.outputs import draft_of, refuse_existing
from warehouse.settings import DEFAULT_LIMITS, IngestSettings, Limits, S3Access
from warehouse.sqlfiles import sql_folder, statement
from warehouse.workers import ServerFailed, WorkerLost, WorkerPool, start_server

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from warehouse.cohorts.members import Member
    from warehouse.cohorts.runs import Run
    from warehouse.deidentify.identity import Known

FILE_FORMATS = ("copy", "zip", BIDS)
AUDIT, LEFT_OUT, REPORT = "audit.parquet", "left_out.csv", "report.html"
PORTION = 64
"""Files in a portion: at most these are treated again by each process after a stop."""
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_FROM_PORTIONS = 16
"""Number of portions from which workers are used; for fewer they take too long to start."""


def export_deidentified(
    root: Path, run: Run, target: Path, form: str, *, name: str = BASIC,
    retain: Iterable[str] = (), clean: Iterable[str] = (), key: Key | None = None,
    pixels: PixelRules | None = None, template: str = TEMPLATE, mapping_folder: Path | None = None,
    data_set_options: Options | None = None, workers: int | None = None,
    s3: S3Access | None = None, limits: Limits = DEFAULT_LIMITS, force: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Write the members of a run as de-identified files; return the provenance.

    Parameters
    ----------
    root
        Folder of the warehouse.
    run
        What to export.
    target
        Folder or zip that does not exist yet.
    form
        ``copy``, a folder; ``zip``; ``bids``, a data set made from the de-identified files.
    name, retain, clean
        See ``warehouse.deidentify.profile.profile``.
    key
        Derives the new identities, the same in every export. By default a random key that is not
        stored, so that a stopped export starts again.
    pixels
        How to treat pixel data that may show text.
    template
        Template of file names, filled with de-identified values.
    mapping_folder
        Folder for the encrypted tables of old and new identities; by default none are written.
    data_set_options
        Options of ``bids``.
    workers
        Number of processes; by default that of processors.
    s3
        Access to sources in buckets.
    limits
        Limits per file with which a data set reads the de-identified files.
    force
        Replace a zip of that name.

    Raises
    ------
    TargetExists, UsageError, NotInstalled
    ExportFailed
        A source is gone or has changed, or the disk is full.
    DeidentifierLost
        Worker processes are killed even without work. An instance whose process is killed twice is
        left out, with that reason.
    """
    if form not in FILE_FORMATS:
        raise UsageError(f"de-identified files are written as one of: {', '.join(FILE_FORMATS)}")
    check_template(template)
    _check_target(target, form, mapping_folder, key, force=force)
    how = Treatment(
        profile(name, retain=retain, clean=clean), key or random_key(), pixels or PixelRules(),
        template, mapping_folder is not None, s3 or S3Access(),
    )  # fmt: skip
    workers = 1 if how.pixels.hook else IngestSettings(workers=workers).worker_count
    if workers > 1 and run.counts["instances"] >= _FROM_PORTIONS * PORTION:
        start_server()  # it imports modules while the members are looked up
    catalog = members_of(root, run)
    mark = _settings_digest(run, catalog.snapshot.version, how, form)
    with resumable_folder(target, mark, lasts=key is not None) as work:
        patients = catalog.connection.execute(statement("old_patients", "runs")).fetchall()
        portions = _portions(sources(catalog), work, known_of(patients))
        done = list(_treat_portions(portions, how, workers))
        facts = _write_accompanying(work, done, how, form)
        output = work / FILES
        if form == BIDS:
            output = data_set(
                work, facts, sizes(catalog, how), data_set_options or Options(), limits
            )
        tables = () if mapping_folder is None else _write_mapping(mapping_folder, done, how.key)
        mark_complete(work)
        for table in tables:
            table.rename(table.with_name(table.name.removeprefix(".")))
        if form == "zip":
            with draft_of(target) as draft:
                _write_zip(output, draft)
                finish_export(draft, target, facts, force=force)
        else:
            if os.path.lexists(target):
                raise TargetExists(target)
            output.rename(target)
    return facts


def _check_target(
    target: Path, form: str, mapping_folder: Path | None, key: Key | None, *, force: bool
) -> None:
    clear_placed(target)
    if form == "zip":
        refuse_export(target, force=force)
    else:
        refuse_existing(target)
    if mapping_folder is None:
        return
    if key is None:
        raise UsageError("a mapping is encrypted with the key: use --key FILE")
    mapping.cipher(key)
    if mapping_folder.resolve().is_relative_to(target.resolve()):
        raise UsageError("the mapping must be stored apart from the files: choose another folder")
    for table in (mapping.UIDS, mapping.PATIENTS):
        existing = mapping_folder / f"{table}{mapping.SUFFIX}"
        if existing.exists() and not was_placing(target):
            raise TargetExists(existing)


def _name_of(hook: object) -> str:
    """Return the module and name of a pixel function, and a digest of its code if it has any."""
    code = getattr(getattr(hook, "__code__", None), "co_code", b"")
    name = getattr(hook, "__qualname__", type(hook).__qualname__)
    return f"{getattr(hook, '__module__', '')}.{name} {hashlib.sha256(code).hexdigest()}"


def _settings_digest(run: Run, version: int, how: Treatment, form: str) -> str:
    """Return a digest of everything that the content of the files depends on."""
    tables = sorted((sql_folder() / "rules").glob("*.csv"))
    settings = (
        run.digest, version, how.profile.name, how.profile.options, how.key.fingerprint,
        how.pixels.rectangles, how.pixels.accept, _name_of(how.pixels.hook), how.template,
        how.has_mapping, form, package_version(), [sha256_of(table) for table in tables],
    )  # fmt: skip
    return hashlib.sha256(repr(settings).encode()).hexdigest()


def _portions(members: Iterator[Member], work: Path, known: dict[str, Known]) -> Iterator[Portion]:
    """Yield portions of members, with the names and IDs of their patients."""
    number = 0
    while chunk := tuple(islice(members, PORTION)):
        patients = {member.names["PatientID"] for member in chunk}
        known_here = {patient: known[patient] for patient in patients if patient in known}
        yield Portion(number, chunk, work / FILES, work / NOTES, known_here)
        number += 1


def _treat_portions(portions: Iterator[Portion], how: Treatment, count: int) -> Iterator[Portion]:
    """De-identify the unfinished portions, and yield all portions in order.

    Portions whose process was killed, now or before this export was resumed, are treated at the
    end, one at a time.
    """
    first_portions = list(islice(portions, _FROM_PORTIONS))
    to_retry: list[Portion] = []
    # A function of the caller cannot be sent to another process.
    is_picklable = how.pixels.hook is None
    in_process = not is_picklable or count == 1 or len(first_portions) < _FROM_PORTIONS
    try:
        with WorkerPool(count) as pool:
            running: dict[Future[None], Portion] = {}
            for portion in _chained(first_portions, portions):
                if portion.current.exists() and is_picklable:
                    to_retry.append(portion)
                elif not portion.note.exists() and in_process:
                    treat(portion, how)
                elif not portion.note.exists():
                    running[pool.submit(treat, portion, how)] = portion
                if len(running) > 2 * count:
                    wait(running, return_when=FIRST_COMPLETED)
                    to_retry += _collect_killed(pool, running)
                yield _without_members(portion)
            wait(running)
            to_retry += _collect_killed(pool, running)
            for portion in to_retry:
                _treat_alone(pool, portion, how)
    except WorkerLost as error:
        raise DeidentifierLost(str(error)) from None


def _collect_killed(pool: WorkerPool, running: dict[Future[None], Portion]) -> list[Portion]:
    """Remove finished calls from ``running``; return portions whose process was killed."""
    killed = []
    for future in [future for future in running if future.done()]:
        portion = running.pop(future)
        try:
            future.result()
        except ServerFailed:
            raise
        except WorkerLost:
            if pool.is_killed or not portion.current.exists():
                raise
            killed.append(portion)
    return killed


def _treat_alone(pool: WorkerPool, portion: Portion, how: Treatment) -> None:
    """Treat a portion while no other is running; leave out members whose process is killed.

    Raises
    ------
    WorkerLost
        A process without work is killed, too: no member is the cause.
    """
    while True:
        try:
            pool.submit(treat, portion, how).result()
        except ServerFailed:
            raise
        except WorkerLost:
            if pool.is_killed or not portion.current.exists():
                raise
            pool.submit(os.getpid).result()
            killer = int(portion.current.read_text(encoding="ascii"))
            portion = replace(portion, killers=portion.killers | {killer})
        else:
            return


def _chained(first: Iterable[Portion], rest: Iterable[Portion]) -> Iterator[Portion]:
    yield from first
    yield from rest


def _without_members(portion: Portion) -> Portion:
    return Portion(portion.number, (), portion.files, portion.notes)


def _write_accompanying(
    work: Path, done: Sequence[Portion], how: Treatment, form: str
) -> dict[str, Any]:
    """Write the accompanying files, and return the provenance."""
    folder = work / FILES
    digest, files, left_out, changes = hashlib.sha256(), 0, 0, 0
    with (
        (folder / MANIFEST).open("w", encoding="utf-8", newline="") as manifest,
        (folder / LEFT_OUT).open("w", encoding="utf-8", newline="") as out,
    ):
        rows = csv.writer(manifest, lineterminator="\n")
        rows.writerow(MANIFEST_FIELDS)
        reasons = csv.writer(out, lineterminator="\n")
        reasons.writerow(("SOPInstanceUID", "reason"))
        for portion in done:
            note = json.loads(portion.note.read_text(encoding="utf-8"))
            changes += note["changes"]
            for row in note["files"]:
                digest.update(f"{row['instance_key']}\n".encode())
                rows.writerow([row.get(field, "") for field in MANIFEST_FIELDS])
                files += 1
            for row in note["left_out"]:
                reasons.writerow((row["SOPInstanceUID"], row["reason"]))
                left_out += 1
    join_parts((portion.beside(".parquet") for portion in done), folder / AUDIT)
    facts: dict[str, Any] = {
        "digest": digest.hexdigest(),
        "format": form,
        "package_version": package_version(),
        "counts": {"instances": files, "left_out": left_out, "changes": changes},
        "deidentified": {
            "profile": how.profile.name, "options": list(how.profile.options),
            "codes": [code for code, _ in how.profile.codes], "edition": "PS3.15 2026c",
            "pixels_accepted": how.pixels.accept,
        },
    }  # fmt: skip
    write_report(folder, facts, AUDIT, LEFT_OUT, MANIFEST, REPORT)
    beside = (AUDIT, LEFT_OUT, REPORT)
    facts["beside"] = {name: sha256_of(folder / name) for name in beside}
    facts["manifest_sha256"] = sha256_of(folder / MANIFEST)
    (folder / ABOUT).write_text(text(facts), encoding="utf-8")
    return facts


def _write_mapping(folder: Path, done: Sequence[Portion], key: Key) -> list[Path]:
    """Write both tables under hidden names, which are replaced when the export is complete."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    tables = []
    for table, suffix in ((mapping.UIDS, ".uids"), (mapping.PATIENTS, ".patients")):
        parts = (portion.beside(suffix) for portion in done)
        tables.append(folder / f".{table}{mapping.SUFFIX}")
        mapping.join(parts, tables[-1], key)
    return tables


def _write_zip(folder: Path, draft: Path) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for path in paths:
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _ZIP_TIME)
            info.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(info, "w") as packed:
                shutil.copyfileobj(source, packed, 1 << 20)
