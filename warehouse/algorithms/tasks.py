"""``Task``: a job with resolved inputs for a runner; ``Done``: the runner's result.

In: jobs. Out: ``Task``s, which can be sent to another process, and ``Done``. A task names the
content of its inputs, so that who runs it does not ask tables.
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
"""Folder of a warehouse in which jobs have theirs; what is in it may be deleted when none runs."""

TIME_LIMIT_TEXT = "Time limit exceeded"
MEMORY_TEXT = "The algorithm was killed because it used more memory than it asked for"
CANCELLED_TEXT = "The job was cancelled"


@dataclass(frozen=True, slots=True)
class Content:
    """What goes into one socket."""

    socket: Socket
    form: str
    """``value``, ``file``, ``image`` or ``series``."""
    pk: str
    """Id of the value, or of the series as one."""
    value: Any = None
    """The JSON value, of form ``value``."""
    path: Path | None = None
    """Where its file lies in the warehouse, not to be changed."""
    name: str = ""
    """Name of the file, or of the image."""
    series_key: str | None = None
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """A job to be executed."""

    root: Path
    version: int
    """Version of the warehouse whose series are read."""
    spec: Spec
    attempt: int
    algorithm: Algorithm
    inputs: tuple[Content, ...]
    outputs: tuple[Socket, ...]
    seconds: float
    """When our own clock stops it."""

    @property
    def folder(self) -> Path:
        """The folder of this attempt, with ``input`` and ``output``."""
        return self.root / FOLDER / self.name

    @property
    def reference(self) -> str | None:
        """The input series that images among the outputs should lie on; None of none or several."""
        some = {each.series_key for each in self.inputs if each.series_key}
        if self.spec.series_key in some:
            return self.spec.series_key
        return min(some) if len(some) == 1 else None

    @property
    def name(self) -> str:
        """Identity of the attempt, as Grand Challenge writes it."""
        return f"{self.spec.kind}-job-{self.spec.job_id}-{self.attempt:02}"


@dataclass(slots=True)
class Done:
    """Result of a task, before its outputs are validated."""

    job_id: str
    what: str
    """``executed``, ``failed``, ``not provisioned``, ``stopped`` or ``interrupted``."""
    runner: str
    began_at: dt.datetime | None = None
    """When the machine was taken for it."""
    provisioned_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    error: str = ""
    details: dict[str, str] = field(default_factory=dict)
    """Title of a socket → what is wrong with it."""
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    exec_seconds: float | None = None
    invoke_seconds: float | None = None
    metrics: list[tuple[str, float, float]] = field(default_factory=list)
    """Name, seconds from the start, and value of each measurement."""
    values: dict[str, Any] | None = None
    """JSON values that a Python function returned; else outputs lie in the folder."""


def tasks_of(
    root: Path, version: int, specs: Sequence[Spec], attempts: Mapping[str, int],
    algorithms: Mapping[str, Algorithm], interfaces: Mapping[str, Interface],
    sockets: Mapping[str, Socket], *, seconds: float | None = None,
) -> list[Task]:  # fmt: skip
    """Return the tasks of jobs, with the content of their inputs.

    Raises
    ------
    JobRefused
        A value that is an input is not there.
    """
    wanted = sorted({value for spec in specs for value in spec.input_values if value})
    rows: ledger.Rows = []
    if wanted:
        with ledger.connected(root) as connection:
            query = statement("input_values", "components")
            rows = ledger.dictionaries(connection, query, wanted)
    values = {row["value_id"]: _content(root, row, sockets[row["slug"]]) for row in rows}
    made = []
    for spec in specs:
        inputs = []
        for given in spec.inputs:
            if given.series_key:
                pk = str(uuid.uuid5(uuid.NAMESPACE_OID, given.series_key))
                inputs.append(
                    Content(
                        sockets[given.slug], "series", pk, name=given.series_key,
                        series_key=given.series_key, prefix=given.prefix,
                    )
                )  # fmt: skip
                continue
            if given.value_id not in values:
                raise JobRefused(f"an input of job {spec.job_id} is not in the warehouse")
            found = values[given.value_id]
            inputs.append(_replaced(found, given.prefix))
        algorithm = algorithms[f"{spec.algorithm}@{spec.algorithm_version}"]
        outputs = tuple(sockets[slug] for slug in sorted(interfaces[spec.interface_id].outputs))
        limit = spec.time_limit_s if seconds is None else min(seconds, spec.time_limit_s)
        made.append(
            Task(
                root, version, spec, attempts[spec.job_id], algorithm,
                tuple(sorted(inputs, key=_listed)), outputs, limit,
            )
        )  # fmt: skip
    return made


def _listed(content: Content) -> tuple[int, str]:
    return content.socket.listing_rank, content.socket.slug


def _replaced(content: Content, prefix: str) -> Content:
    return Content(
        content.socket, content.form, content.pk, content.value, content.path, content.name,
        content.series_key, prefix,
    )  # fmt: skip


def _content(root: Path, row: Mapping[str, Any], socket: Socket) -> Content:
    form, value_id = row["form"], row["value_id"]
    if form == "value":
        value = read_value(root, value_id) if row["is_annotation"] else json.loads(row["value"])
        return Content(socket, form, value_id, value)
    if form == "series":
        return Content(socket, form, value_id, name=row["series_key"], series_key=row["series_key"])
    path = ledger.open_value(root, row["sha256"])
    return Content(socket, form, value_id, path=path, name=row["file_name"] or "")
