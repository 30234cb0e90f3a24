"""Artifacts: validated archives of images, models and ground truths, stored by digest.

In: a file. Out: rows of ``artifact_events``, and the archive in the folder of value files. An
import has the states of Grand Challenge; a failed one is stored as a row with its reason, without
its file. At most one artifact per parent and kind is the desired version, which new versions of the
algorithm use.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.algorithms.archives import ImageArchive, model_members, read_archive
from warehouse.components import ledger
from warehouse.components.checking import now
from warehouse.components.files import opened
from warehouse.dicom.scan import path_text
from warehouse.errors import AlgorithmError, ArchiveRefused, UnknownArtifact
from warehouse.sqlfiles import statement
from warehouse.store import locks
from warehouse.store.marker import require

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from warehouse.store.delta import Snapshot

INITIALIZED, QUEUED, REQUEUED, STARTED, CANCELLED, FAILED, COMPLETED = range(7)

KINDS = ("image", "model", "ground truth")

_DUPLICATE = "the same archive was imported before"


@dataclass(frozen=True, slots=True)
class Artifact:
    """The current state of an artifact: a row of the view ``artifacts`` with its run settings."""

    artifact_id: str
    kind: str
    parent: str
    import_status: int
    message: str
    sha256: str | None
    file_sha256: str | None
    size_in_storage: int
    size_in_registry: int
    is_removed: bool
    is_marked: bool
    api_method: str | None
    config: str | None
    event: int

    @property
    def is_executable(self) -> bool:
        """Whether jobs can use it: its import completed and its file is not removed."""
        return self.import_status == COMPLETED and not self.is_removed


_FIELDS = tuple(Artifact.__dataclass_fields__)


def add_artifact(
    root: Path, file: str | os.PathLike[str], kind: str, parent: str, *, by: str = ""
) -> Artifact:
    """Import an archive; it becomes the desired version of its parent.

    Parameters
    ----------
    root
        Folder of a warehouse.
    file
        An image as ``.tar``, ``.tar.gz`` or ``.tar.xz``; a model or ground truth as ``.tar.gz``.
    kind
        ``image``, ``model`` or ``ground truth``.
    parent
        Name of the algorithm.
    by
        User who imports it.

    Raises
    ------
    ArchiveRefused
        The archive is invalid or was imported before; the failed import is stored as a row.
    SourceNotFound, ValueRefused, WriteFailed
    """
    require(root)
    if kind not in KINDS:
        raise AlgorithmError(f"kind of artifact {kind!r} is unknown; use one of {', '.join(KINDS)}")
    path = Path(file)
    artifact_id = uuid.uuid4().hex
    row = dict.fromkeys(_FIELDS) | {
        "artifact_id": artifact_id, "kind": kind, "parent": parent, "message": "",
        "file_name": path_text(path.name), "size_in_storage": 0, "size_in_registry": 0,
        "is_manifest_valid": None, "is_removed": False, "is_marked": False, "happened_by": by,
    }  # fmt: skip
    with opened(path) as source, locks.writing(root):
        transitions = [(INITIALIZED, 0), (QUEUED, 1), (STARTED, 2)]
        ledger.add_rows(
            root,
            lambda _: {
                "artifact_events": [
                    row | {"event": event, "import_status": status, "happened_at": now()}
                    for status, event in transitions
                ]
            },
            "import artifact",
        )
        with ledger.copied(root, source) as (draft, digest, size):
            result = row | {"event": 3, "import_status": FAILED}
            try:
                result |= _validated_fields(kind, draft, digest)
            except ArchiveRefused as error:
                result["message"] = str(error)
                result["is_manifest_valid"] = False if kind == "image" else None
            _record_result(root, result, draft, digest, size)
    artifact = find_artifact(root, artifact_id)
    if artifact.message:
        raise ArchiveRefused(f"the {kind} is refused: {artifact.message}")
    return artifact


def _validated_fields(kind: str, draft: Path, digest: str) -> dict[str, Any]:
    """Validate an archive, and return the fields of its row that depend on its content."""
    if kind == "image":
        image = read_archive(draft)
        return {
            "sha256": image.sha256, "size_in_registry": image.size, "is_manifest_valid": True,
            "api_method": image.api_method, "config": json.dumps(image.config),
        }  # fmt: skip
    for _ in model_members(draft):
        pass
    return {"sha256": digest}


def _record_result(root: Path, result: dict[str, Any], draft: Path, digest: str, size: int) -> None:
    """Record the result of an import; store the file first if it is accepted."""

    def make(base: Snapshot) -> Mapping[str, ledger.Rows]:
        if not result["message"]:
            identity = (result["kind"], result["parent"], result["sha256"])
            duplicates = [
                other for other in _current_artifacts(root, base)
                if (other.kind, other.parent, other.sha256) == identity and other.is_executable
            ]  # fmt: skip
            if duplicates:
                result.update(message=_DUPLICATE, size_in_registry=0)
            else:
                ledger.store_file(root, draft, digest)
                result.update(
                    import_status=COMPLETED, file_sha256=digest, size_in_storage=size,
                    is_marked=True,
                )  # fmt: skip
        return {"artifact_events": [result | {"happened_at": now()}]}

    ledger.add_rows(root, make, "import artifact")


def _current_artifacts(
    root: Path, snapshot: Snapshot | None = None, begins: str = ""
) -> list[Artifact]:
    """Return the newest state of the artifacts whose id begins with ``begins``."""
    with ledger.connected(root, snapshot, ("artifact_events",)) as connection:
        query = statement("newest_artifacts", "components")
        rows = ledger.dictionaries(connection, query, begins)
    return [Artifact(**row) for row in rows]


def find_artifact(root: Path, artifact_id: str, snapshot: Snapshot | None = None) -> Artifact:
    """Return an artifact by its id or a unique prefix of it.

    Raises
    ------
    UnknownArtifact
    """
    artifacts = _current_artifacts(root, snapshot, artifact_id)
    if not artifact_id or len(artifacts) != 1:
        subject = "no artifact" if not artifacts else "more than one artifact"
        raise UnknownArtifact(f"{subject} has this id or prefix; the view artifacts lists them")
    return artifacts[0]


def desired(root: Path, kind: str, parent: str) -> Artifact | None:
    """Return the desired version of a parent, or None if there is none that jobs can use."""
    with ledger.connected(root, None, ("artifact_events",)) as connection:
        rows = connection.execute(
            "select artifact_id from artifact_events where kind = $1 and parent = $2 and is_marked "
            "order by happened_at desc limit 1", [kind, parent],
        ).fetchall()  # fmt: skip
    artifact = find_artifact(root, rows[0][0]) if rows else None
    return artifact if artifact is not None and artifact.is_executable else None


def mark_desired(root: Path, artifact_id: str, *, by: str = "") -> Artifact:
    """Mark an artifact as the desired version of its parent, and unmark the others.

    Raises
    ------
    UnknownArtifact
    AlgorithmError
        Its import failed, or its file was removed.
    """
    return _append_change(root, artifact_id, by, is_marked=True)


def remove_artifact(root: Path, artifact_id: str, *, by: str = "") -> Artifact:
    """Delete the file of an artifact; its row stays.

    Raises
    ------
    UnknownArtifact
    AlgorithmError
        Active jobs use it, its import failed, or its file was removed already.
    """
    with ledger.connected(root, None, ("job_specs", "job_events")) as connection:
        (active,) = connection.execute(
            "select count(*) from job_specs join (select job_id, arg_max(status, event) as status "
            "from job_events group by job_id) using (job_id) "
            "where status not in (3, 4, 5) and $1 in (image_id, model_id)",
            [find_artifact(root, artifact_id).artifact_id],
        ).fetchall()[0]
    if active:
        raise AlgorithmError(f"{active} active jobs use it; cancel them, or wait")
    artifact = find_artifact(root, artifact_id)
    removed = _append_change(root, artifact_id, by, is_removed=True)
    if artifact.file_sha256 and not _is_referenced(root, artifact.file_sha256):
        ledger.value_file(root, artifact.file_sha256).unlink(missing_ok=True)
    return removed


def _is_referenced(root: Path, digest: str) -> bool:
    """Return whether a value or an artifact has the file with this digest."""
    with ledger.connected(root) as connection:
        (values,) = connection.execute(
            "select count(*) from socket_values where sha256 = $1", [digest]
        ).fetchall()[0]
    return bool(values) or any(
        artifact.file_sha256 == digest for artifact in _current_artifacts(root)
    )


def _append_change(root: Path, artifact_id: str, by: str, **changes: Any) -> Artifact:
    """Append an event that changes an artifact; return its new state."""
    artifact = find_artifact(root, artifact_id)

    def make(base: Snapshot) -> Mapping[str, ledger.Rows]:
        current = find_artifact(root, artifact.artifact_id, base)
        if not current.is_executable:
            raise AlgorithmError(
                "it cannot be executed: its import failed, or its file was removed"
            )
        with ledger.connected(root, base, ("artifact_events",)) as connection:
            row = ledger.dictionaries(
                connection,
                "select * exclude batch from artifact_events where artifact_id = $1 and event = $2",
                artifact.artifact_id, current.event,
            )[0]  # fmt: skip
        row |= {"event": current.event + 1, "is_marked": False, **changes}
        if changes.get("is_removed"):
            row |= {"file_sha256": None, "size_in_storage": 0, "size_in_registry": 0}
        return {"artifact_events": [row | {"happened_at": now(), "happened_by": by}]}

    ledger.add_rows(root, make, "change artifact")
    return find_artifact(root, artifact.artifact_id)


def archive_of(root: Path, artifact: Artifact) -> Path:
    """Return the path of the archive of an artifact.

    Raises
    ------
    AlgorithmError
        It was removed.
    """
    if artifact.file_sha256 is None:
        raise AlgorithmError(f"the {artifact.kind} of {artifact.parent} was removed")
    return ledger.open_value(root, artifact.file_sha256)


def image_of(root: Path, artifact: Artifact) -> ImageArchive:
    """Read and validate the archive of an artifact, and return its image."""
    return read_archive(archive_of(root, artifact))
