"""De-identify a portion of the members of a run, in a worker process.

In: a portion of members and how to treat them. Out: files named by their new identities, and a
note, written last, that the portion is done. Each file is read back and passed through the engine
again, which must find nothing to remove.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from warehouse.cohorts.names import fill
from warehouse.deidentify import mapping
from warehouse.deidentify.audit import write_part
from warehouse.deidentify.engine import deidentify
from warehouse.deidentify.pixels import PixelRules, masked_file, pixels
from warehouse.deidentify.work import treating
from warehouse.dicom.open import open_source
from warehouse.dicom.source import known_source
from warehouse.errors import ExportFailed, NotAsIngested, NotDeidentified, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from warehouse.cohorts.members import Member
    from warehouse.deidentify.facts import Change, Result
    from warehouse.deidentify.identity import Known
    from warehouse.deidentify.key import Key
    from warehouse.deidentify.profile import Profile
    from warehouse.settings import S3Access

CURRENT = ".current"
"""Suffix of the file with the index of the member that is being treated."""

KILLED = "the process that de-identified it was killed, even while no other one ran"

_MAPPED_BYTES = 8 << 20
"""Files larger than this are memory-mapped."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """Picklable settings of a de-identification."""

    profile: Profile
    key: Key
    pixels: PixelRules
    template: str
    has_mapping: bool
    s3: S3Access


@dataclass(frozen=True, slots=True)
class Portion:
    """Members that are de-identified together, and their output folder."""

    number: int
    members: tuple[Member, ...]
    files: Path
    """Folder of the new files."""
    notes: Path
    """Folder of notes about them, and of their tables."""
    known: dict[str, Known] = field(default_factory=dict)
    """Key of a patient → names and IDs in the warehouse."""
    killers: frozenset[int] = frozenset()
    """Indices of members whose process was killed: they are left out."""

    @property
    def note(self) -> Path:
        """File that exists when the portion is done."""
        return self.notes / f"{self.number:08}.json"

    def beside(self, suffix: str) -> Path:
        """Return the path of another file of the portion."""
        return self.notes / f"{self.number:08}{suffix}"

    @property
    def current(self) -> Path:
        """File with the index of the member that is being treated; a killed process leaves it."""
        return self.beside(CURRENT)


def treat(portion: Portion, how: Treatment) -> None:
    """Write the files of a portion, then its note, under the lock that a new export waits for.

    Raises
    ------
    ExportFailed
        A source is gone or has changed, or a file reads back differently.
    """
    with treating(portion.notes):
        try:
            _treat_members(portion, how)
        finally:
            portion.current.unlink(missing_ok=True)


def _treat_members(portion: Portion, how: Treatment) -> None:
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, str]] = []
    changes: list[tuple[str, list[Change]]] = []
    uids: dict[str, str] = {}
    patients: dict[str, str] = {}
    for index, member in enumerate(portion.members):
        patient = member.names["PatientID"]
        portion.current.write_text(str(index), encoding="ascii")
        try:
            _refuse_killer(portion, index)
            with _source_bytes(member, how.s3) as content:
                known = portion.known.get(patient, ())
                row, result = _write_file(content, patient, portion.files, how, known)
        except NotDeidentified as error:
            keeps = "uids" in how.profile.options
            new_uid = member.instance_key if keeps else how.key.uid(member.instance_key)
            if new_uid != member.instance_key:
                # The mapping includes instances that are left out.
                uids[member.instance_key] = new_uid
            left_out.append({"SOPInstanceUID": new_uid, "reason": error.reason})
            continue
        rows.append(row)
        changes.append((row["instance_key"], result.changes))
        uids |= result.uids
        patients[patient] = how.key.patient(patient)
    count = write_part(portion.beside(".parquet"), changes, how.profile.keywords)
    if how.has_mapping:
        portion.beside(".uids").write_bytes(mapping.sealed(uids.items(), how.key))
        portion.beside(".patients").write_bytes(mapping.sealed(patients.items(), how.key))
    note = {"files": rows, "left_out": left_out, "changes": count}
    draft = portion.beside(".begun")
    draft.write_text(json.dumps(note), encoding="utf-8")
    draft.replace(portion.note)


def _refuse_killer(portion: Portion, index: int) -> None:
    if index in portion.killers:
        raise NotDeidentified(KILLED)


def _write_file(
    content: bytes, patient: str, folder: Path, how: Treatment, known: Known
) -> tuple[dict[str, Any], Result]:
    """De-identify, write and verify a file; return its row of the manifest and the result."""
    result = deidentify(
        content, how.profile, how.key, patient,
        lambda facts, data: pixels(facts, data, how.pixels), known,
    )  # fmt: skip
    chunks = result.chunks
    if result.masked and result.masked.rectangles:
        chunks = [masked_file(b"".join(chunks), result.masked.rectangles)]
    name = fill(how.template, result.names)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    try:
        with path.open("wb") as out:
            for chunk in chunks:
                digest.update(chunk)
                out.write(chunk)
        size = path.stat().st_size
        _verify_file(path, digest.hexdigest(), patient, result, how)
    except NotDeidentified:
        path.unlink(missing_ok=True)
        raise
    except OSError as error:  # such as a full disk, which is not an error of the source
        raise ExportFailed("a de-identified file", error.strerror or str(error)) from error
    row = {
        "name": name, "instance_key": result.names["SOPInstanceUID"], "size_bytes": size,
        "sha256": digest.hexdigest(),
    }  # fmt: skip
    return row, result


def _verify_file(path: Path, sha256: str, patient: str, result: Result, how: Treatment) -> None:
    """Read a written file back, and check that it has nothing more to remove."""
    with path.open("rb") as file, _file_bytes(file) as content:
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ExportFailed("a de-identified file", "it reads back differently")
        second_pass = deidentify(content, how.profile, how.key, patient)
        # Dates were shifted: a second shift may end at one that stands for none.
        remaining = [
            change for change in second_pass.changes
            if change.action in {"X", "Z"} and change.option != "dates-shifted"
        ]  # fmt: skip
        header = bytes(content[: second_pass.header_bytes]).lower()
    if remaining:
        raise NotDeidentified("the written file still has elements that are to be removed")
    if result.identity.is_in(header):
        raise NotDeidentified("an identifying value would remain in its header")


@contextmanager
def _source_bytes(member: Member, s3: S3Access) -> Iterator[bytes]:
    """Yield the bytes of a source, unless it has changed since it was ingested."""
    try:
        source = known_source(member.path, member.size_bytes, member.modified_us, s3)
        with open_source(source) as file, _file_bytes(file) as content:
            yield content
    except NotAsIngested as error:
        why = "is gone" if error.is_gone else "has changed since it was ingested; ingest again"
        raise ExportFailed(member.path, f"its source {why}") from error
    except SourceError as error:
        raise ExportFailed(member.path, str(error)) from error


@contextmanager
def _file_bytes(file: IO[bytes]) -> Iterator[bytes]:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size <= _MAPPED_BYTES:
        yield file.read()
        return
    try:
        descriptor = file.fileno()
    except OSError:  # in memory, as a member of an archive is
        yield file.read()
        return
    # The mapping is closed with its last view, which a result may still hold.
    yield mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)  # type: ignore[misc]
