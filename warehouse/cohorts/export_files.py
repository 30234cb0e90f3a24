"""Export the files of a run: one zip, a folder of copies, or a folder of links.

In: a run and its source files, opened read-only. Out: files named by a template, ``manifest.csv``
with the sha256 of each, and ``cohort.json``. A source file that has changed since it was ingested
is an error, because the export must match the stored rows.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

from warehouse.cohorts.drafts import finish_export, refuse_export
from warehouse.cohorts.members import Member, members_of, sources
from warehouse.cohorts.names import TEMPLATE, check_template, fill
from warehouse.cohorts.provenance import ABOUT, MANIFEST, MANIFEST_FIELDS, provenance, text
from warehouse.dicom.open import local_path, open_source
from warehouse.dicom.source import known_source
from warehouse.errors import ExportFailed, NotAsIngested, SourceError, TargetExists, UsageError
from warehouse.outputs import draft_of, refuse_existing
from warehouse.settings import S3Access

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from warehouse.catalog.connect import Catalog
    from warehouse.cohorts.runs import Run
    from warehouse.dicom.scan import SourceFile

FILE_FORMATS = ("zip", "copy", "link")
_CHUNK = 1 << 20
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""Time of all archive members, so that the same run gives the same bytes."""


class _Out(Protocol):
    """Destination of exported files."""

    def put(self, name: str, member: Member, source: SourceFile, file: IO[bytes]) -> str: ...

    def note(self, name: str, content: IO[bytes]) -> None: ...


def export_files(
    root: Path,
    run: Run,
    target: Path,
    form: str,
    *,
    template: str = TEMPLATE,
    s3: S3Access | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Write the files of the members of a run; return the provenance.

    Parameters
    ----------
    root
        Folder of the warehouse.
    run
        The run to export.
    target
        File or folder that does not exist yet.
    form
        ``zip``, ``copy`` (a folder of copies) or ``link`` (a folder of symbolic links).
    template
        File name template; see ``warehouse.cohorts.names``.
    s3
        Access to sources in buckets.
    force
        Replace an existing zip and its sidecar. A folder is never replaced.

    Raises
    ------
    TargetExists, UsageError
    ExportFailed
        A source is missing or has changed, or the disk is full; partial output is deleted.
    """
    if form not in FILE_FORMATS:
        raise UsageError(f"unknown format {form!r}; choose one of: {', '.join(FILE_FORMATS)}")
    check_template(template)
    if form == "zip":
        refuse_export(target, force=force)
    elif os.path.lexists(target):
        raise TargetExists(target)
    else:
        refuse_existing(target)
    catalog = members_of(root, run)
    facts = provenance(run, form, catalog.snapshot.version)
    with draft_of(target) as draft:
        if form == "zip":
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                archive.comment = f"cohort {run.run} {run.digest}".encode()
                _write(_Zip(archive), catalog, template, facts, s3 or S3Access())
            finish_export(draft, target, facts, force=force)
        else:
            draft.mkdir()
            links = form == "link"
            _write(_Folder(draft, links), catalog, template, facts, s3 or S3Access())
            if os.path.lexists(target):
                raise TargetExists(target)
            draft.rename(target)
    return facts


def _write(out: _Out, catalog: Catalog, template: str, facts: dict[str, Any], s3: S3Access) -> None:
    """Write every member, then the manifest, then the provenance with its digest."""
    with tempfile.TemporaryFile() as raw:
        manifest = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        rows = csv.writer(manifest, lineterminator="\n")
        rows.writerow(MANIFEST_FIELDS)
        for member in sources(catalog):
            name = fill(template, member.names)
            with _opened(member, s3) as (source, file):
                try:
                    sha256 = out.put(name, member, source, file)
                except OSError as error:  # a full disk; the source is not the cause
                    raise ExportFailed(name, error.strerror or str(error)) from error
            rows.writerow(
                (name, member.instance_key, member.size_bytes, sha256, member.modified_us)
            )
        manifest.detach()
        raw.seek(0)
        facts["manifest_sha256"] = hashlib.file_digest(raw, "sha256").hexdigest()
        raw.seek(0)
        out.note(MANIFEST, raw)
        out.note(ABOUT, io.BytesIO(text(facts).encode()))


@dataclass(frozen=True, slots=True)
class _Zip:
    archive: zipfile.ZipFile

    def put(self, name: str, member: Member, source: SourceFile, file: IO[bytes]) -> str:
        del source
        info = zipfile.ZipInfo(name, _ZIP_TIME)
        info.file_size = member.size_bytes
        with self.archive.open(info, "w") as packed:
            return _copy(file, packed, member)

    def note(self, name: str, content: IO[bytes]) -> None:
        with self.archive.open(zipfile.ZipInfo(name, _ZIP_TIME), "w") as packed:
            while chunk := content.read(_CHUNK):
                packed.write(chunk)


@dataclass(frozen=True, slots=True)
class _Folder:
    folder: Path
    links: bool

    def put(self, name: str, member: Member, source: SourceFile, file: IO[bytes]) -> str:
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not self.links:
            with target.open("xb") as copy:
                return _copy(file, copy, member)
        if source.archive is not None or source.access is not None:
            what = "a member of an archive" if source.archive else "an object in a bucket"
            raise ExportFailed(
                "a folder of links",
                f"{member.path} is {what}, which cannot be linked; export copies",
            )
        os.symlink(os.fsencode(local_path(member.path)), os.fsencode(target))
        return ""

    def note(self, name: str, content: IO[bytes]) -> None:
        with (self.folder / name).open("xb") as file:
            while chunk := content.read(_CHUNK):
                file.write(chunk)


def _copy(file: IO[bytes], out: IO[bytes], member: Member) -> str:
    digest = hashlib.sha256()
    size = 0
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        out.write(chunk)
        size += len(chunk)
    if size != member.size_bytes:
        raise _changed(member)
    return digest.hexdigest()


@contextmanager
def _opened(member: Member, s3: S3Access) -> Iterator[tuple[SourceFile, IO[bytes]]]:
    """Open the source of a member, unless it has changed since it was ingested."""
    try:
        source = known_source(member.path, member.size_bytes, member.modified_us, s3)
        with open_source(source) as file:
            yield source, file
    except NotAsIngested as error:
        if not error.is_gone:
            raise _changed(member) from error
        why = f"its source cannot be read: {error}"
        raise ExportFailed(member.path, why) from error
    except SourceError as error:
        raise ExportFailed(member.path, str(error)) from error


def _changed(member: Member) -> ExportFailed:
    return ExportFailed(
        member.path, "its source has changed since it was ingested; ingest again, then rerun"
    )
