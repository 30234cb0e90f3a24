"""``Task``: a job with resolved inputs for a runner; ``Done``: the runner's result.

In: jobs. Out: ``Task``s, which can be sent to another process, and ``Done``. A task contains its
JSON inputs and the paths of its files, so that runners do not query tables for them.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warehouse.components import ledger
from warehouse.components.stored import read_value
from warehouse.errors import JobRefused
from warehouse.sqlfiles import statement
from warehouse.store import layout

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from warehouse.algorithms.jobs import Spec
    from warehouse.algorithms.registry import Algorithm
    from warehouse.components.interfaces import Interface
    from warehouse.components.sockets import Socket

FOLDER = layout.JOBS
"""Folder of a warehouse with the folders of jobs; may be deleted when no job runs."""

TIME_LIMIT_TEXT = "Time limit exceeded"
MEMORY_TEXT = "The algorithm was killed because it used more memory than requested"
CANCELLED_TEXT = "The job was cancelled"


@dataclass(frozen=True, slots=True)
class Content:
    """The resolved input of one socket."""

    socket: Socket
    form: str
    """``value``, ``file``, ``image`` or ``series``."""
    pk: str
    """Id of the value, or a UUID derived from the series key."""
    value: Any = None
    """The JSON value, of form ``value``."""
    path: Path | None = None
    """Path of its file in the warehouse, which must not be modified."""
    name: str = ""
    """Name of the file, or series key."""
    series_key: str | None = None
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A job to be executed."""

    root: Path
    version: int
    """Version of the warehouse from which series are read."""
    spec: Spec
    attempt: int
    algorithm: Algorithm
    inputs: tuple[Content, ...]
    outputs: tuple[Socket, ...]
    seconds: float
    """Time limit in seconds."""

    @property
    def folder(self) -> Path:
        """The folder of this attempt, which contains ``input`` and ``output``."""
        return self.root / FOLDER / self.name

    @property
    def reference(self) -> str | None:
        """The input series whose grid output images should have; None if it is ambiguous."""
        series_keys = {content.series_key for content in self.inputs if content.series_key}
        if self.spec.series_key in series_keys:
            return self.spec.series_key
        return min(series_keys) if len(series_keys) == 1 else None

    @property
    def name(self) -> str:
        """Name of the attempt, in the format of Grand Challenge."""
        return f"{self.spec.kind}-job-{self.spec.job_id}-{self.attempt:02}"


@dataclass(slots=True)
class Done:
    """Result of a task, before its outputs are validated."""

    job_id: str
    what: str
    """``executed``, ``failed``, ``not provisioned``, ``stopped`` or ``interrupted``."""
    runner: str
    began_at: dt.datetime | None = None
    """Start of provisioning."""
    provisioned_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    error: str = ""
    details: dict[str, str] = field(default_factory=dict)
    """Title of a socket → error."""
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    exec_seconds: float | None = None
    invoke_seconds: float | None = None
    metrics: list[tuple[str, float, float]] = field(default_factory=list)
    """Name, seconds from the start, and value of each measurement."""
    values: dict[str, Any] | None = None
    """JSON values that a Python function returned; other outputs are in the folder."""


def tasks_of(
    root: Path, version: int, specs: Sequence[Spec], attempts: Mapping[str, int],
    algorithms: Mapping[str, Algorithm], interfaces: Mapping[str, Interface],
    sockets: Mapping[str, Socket], *, seconds: float | None = None,
) -> list[Task]:  # fmt: skip
    """Return the tasks of jobs, with the content of their inputs.

    Raises
    ------
    JobRefused
        An input value does not exist.
    """
    value_ids = sorted({value for spec in specs for value in spec.input_values if value})
    rows: ledger.Rows = []
    if value_ids:
        with ledger.connected(root) as connection:
            query = statement("input_values", "components")
            rows = ledger.dictionaries(connection, query, value_ids)
    values = {row["value_id"]: _content(root, row, sockets[row["slug"]]) for row in rows}
    tasks = []
    for spec in specs:
        inputs = []
        for job_input in spec.inputs:
            if job_input.series_key:
                pk = str(uuid.uuid5(uuid.NAMESPACE_OID, job_input.series_key))
                inputs.append(
                    Content(
                        sockets[job_input.slug], "series", pk, name=job_input.series_key,
                        series_key=job_input.series_key, prefix=job_input.prefix,
                    )
                )  # fmt: skip
                continue
            if job_input.value_id not in values:
                raise JobRefused(f"an input of job {spec.job_id} is not in the warehouse")
            content = values[job_input.value_id]
            inputs.append(_with_prefix(content, job_input.prefix))
        algorithm = algorithms[f"{spec.algorithm}@{spec.algorithm_version}"]
        outputs = tuple(sockets[slug] for slug in sorted(interfaces[spec.interface_id].outputs))
        limit = spec.time_limit_s if seconds is None else min(seconds, spec.time_limit_s)
        tasks.append(
            Task(
                root, version, spec, attempts[spec.job_id], algorithm,
                tuple(sorted(inputs, key=_listing_order)), outputs, limit,
            )
        )  # fmt: skip
    return tasks


def _listing_order(content: Content) -> tuple[int, str]:
    return content.socket.listing_rank, content.socket.slug


def _with_prefix(content: Content, prefix: str) -> Content:
    return Content(
        content.socket, content.form, content.pk, content.value, content.path, content.name,
        content.series_key, prefix,
    )  # fmt: skip


def _content(root: Path, row: Mapping[str, Any], socket: Socket) -> Content:
    """Return the content of a stored value."""
    form, value_id = row["form"], row["value_id"]
    if form == "value":
        value = read_value(root, value_id) if row["is_annotation"] else json.loads(row["value"])
        return Content(socket, form, value_id, value)
    if form == "series":
        return Content(socket, form, value_id, name=row["series_key"], series_key=row["series_key"])
    path = ledger.open_value(root, row["sha256"])
    return Content(socket, form, value_id, path=path, name=row["file_name"] or "")
