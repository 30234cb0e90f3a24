"""Jobs: an immutable specification, and an append-only list of events.

In: specifications and events. Out: rows of ``job_specs`` and ``job_events``. The id of a job is a
digest of its algorithm and inputs, so that a repeated request is the same job (see
``cases.specs_of`` for cases with equal inputs). Events are validated against the newest state of
the job under the writer lock, so that one of two concurrent changes of a job is refused.
"""

from __future__ import annotations

import json
import secrets
import uuid
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from warehouse.algorithms.registry import TABLES
from warehouse.algorithms.states import NEW, statuses, step
from warehouse.components import ledger
from warehouse.components.checking import digest, now
from warehouse.components.values import Prepared, store_prepared
from warehouse.errors import JobRefused, TransitionRefused, UnknownJob
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from warehouse.algorithms.registry import Algorithm
    from warehouse.store.delta import Snapshot

MAX_MESSAGE = 1024
"""Maximum number of characters of a stored error message."""

LIMITS = {"in all": 128, "of one algorithm": 16, "of one user": 16}
"""Maximum number of active jobs that users may submit one by one; cohort runs are not limited."""


@dataclass(frozen=True, slots=True)
class Input:
    """The input of one socket of a job: a stored value, or a series of the warehouse."""

    slug: str
    value_id: str | None = None
    series_key: str | None = None
    state: str = ""
    """Of a series, or of a value that names one: a digest of its files; if it changes, so does the
    id of the job."""
    prefix: str = ""
    """Folder below ``/input``, with a trailing slash."""


@dataclass(frozen=True, slots=True)
class Case:
    """The inputs of one job, and the series or item that its outputs are about."""

    interface_id: str
    inputs: tuple[Input, ...]
    series_key: str | None = None
    item: str | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """The immutable specification of a job: a row of ``job_specs``."""

    job_id: str
    kind: str
    algorithm: str
    algorithm_version: int
    image_id: str | None
    model_id: str | None
    interface_id: str
    input_slugs: list[str]
    input_values: list[str | None]
    input_series: list[str | None]
    input_prefixes: list[str]
    series_key: str | None
    item: str | None
    asked_for: str | None
    time_limit_s: int
    requires_gpu_type: str
    requires_memory_gb: int
    signing_key: str
    created_at: dt.datetime
    created_by: str

    @property
    def inputs(self) -> list[Input]:
        """The inputs, sorted by socket; ``state`` is not stored."""
        columns = (self.input_slugs, self.input_values, self.input_series, self.input_prefixes)
        return [
            Input(slug, value, series, "", prefix)
            for slug, value, series, prefix in zip(*columns, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Event:
    """A change of the state of a job."""

    job_id: str
    what: str
    """Name in ``job_transitions``."""
    at: dt.datetime
    by: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of ``job_events``."""


@dataclass(frozen=True, slots=True)
class State:
    """The current state of a job."""

    status: int
    attempt: int
    event: int
    """Number of its last event."""


def spec_of(
    algorithm: Algorithm, case: Case, *, by: str = "", asked_for: str | None = None
) -> Spec:
    """Return the specification of a job; its id is a digest of algorithm version and case."""
    inputs = sorted(case.inputs, key=lambda each: each.slug)
    identity = json.dumps(
        [
            algorithm.algorithm, algorithm.version, algorithm.image_id, algorithm.model_id,
            case.interface_id,
            [[i.slug, i.value_id, i.series_key, i.state, i.prefix] for i in inputs],
        ]
    )  # fmt: skip
    return Spec(
        id_of(identity), algorithm.kind, algorithm.algorithm,
        algorithm.version, algorithm.image_id, algorithm.model_id, case.interface_id,
        [each.slug for each in inputs], [each.value_id for each in inputs],
        [each.series_key for each in inputs], [each.prefix for each in inputs],
        case.series_key, case.item, asked_for, algorithm.time_limit_s,
        algorithm.requires_gpu_type, algorithm.requires_memory_gb, secrets.token_hex(32), now(), by,
    )  # fmt: skip


def id_of(identity: str) -> str:
    """Return the id of a job, a UUID, from the text that identifies it."""
    return str(uuid.UUID(digest(identity)[:32]))


def add_jobs(root: Path, specs: Sequence[Spec], *, as_system: bool = True) -> list[Spec]:
    """Store the jobs that do not exist yet, in one commit.

    Parameters
    ----------
    root
        Folder of a warehouse.
    specs
        The jobs.
    as_system
        The jobs of a cohort run: they are queued without ``LIMITS``, and existing jobs are skipped.
        False for jobs of a user: they start in the state of input validation, and existing jobs
        are refused.

    Returns
    -------
    list of Spec
        The new jobs.

    Raises
    ------
    JobRefused
        A job of a user exists already, or there are too many active jobs.
    """
    new: list[Spec] = []
    first_event = "created by system" if as_system else "created"

    def make(base: Snapshot) -> Mapping[str, ledger.Rows]:
        with ledger.connected(root, base, TABLES) as connection:
            existing = _states(connection, [spec.job_id for spec in specs])
            if not as_system:
                _require_new(existing)
                _require_limits(connection, specs)
        new[:] = list({s.job_id: s for s in specs if s.job_id not in existing}.values())
        events = [
            _event_row(Event(spec.job_id, first_event, spec.created_at, spec.created_by), None)
            for spec in new
        ]
        return {"job_specs": [asdict(spec) for spec in new], "job_events": events}

    ledger.add_rows(root, make, "add jobs")
    return new


def _require_new(existing: Mapping[str, State]) -> None:
    if existing:
        raise JobRefused(
            f"job {min(existing)} has the same algorithm and inputs; "
            "repeat it with dicom-warehouse job retry"
        )


def _require_limits(connection: duckdb.DuckDBPyConnection, specs: Sequence[Spec]) -> None:
    """Refuse jobs that would exceed ``LIMITS`` together with the active jobs."""
    active = [status.code for status in statuses().values() if status.is_active]
    counts = Counter[tuple[str, str]]()
    for algorithm, user, count in connection.execute(
        statement("active_jobs", "components"), [active]
    ).fetchall():
        counts.update(dict.fromkeys(_shares(algorithm, user), count))
    for spec in specs:
        shares = _shares(spec.algorithm, spec.created_by)
        for share in shares:
            if counts[share] >= LIMITS[share[0]]:
                raise JobRefused(
                    f"there are {counts[share]} active jobs {share[0]}, and the limit is "
                    f"{LIMITS[share[0]]}; wait, or cancel some"
                )
        counts.update(shares)


def _shares(algorithm: str, user: str) -> list[tuple[str, str]]:
    """Return the counters that a job increments: name in ``LIMITS``, and algorithm or user."""
    return [("in all", ""), ("of one algorithm", algorithm), ("of one user", user)]


def states(
    root: Path, job_ids: Iterable[str], snapshot: Snapshot | None = None
) -> dict[str, State]:
    """Return the states of jobs by id; unknown ids are omitted."""
    with ledger.connected(root, snapshot, ("job_events",)) as connection:
        return _states(connection, list(job_ids))


def _states(connection: duckdb.DuckDBPyConnection, job_ids: Sequence[str]) -> dict[str, State]:
    rows = connection.execute(
        "select job_id, arg_max(status, event), arg_max(attempt, event), max(event) "
        "from job_events where job_id in (select unnest($1)) group by job_id", [list(job_ids)],
    ).fetchall()  # fmt: skip
    return {row[0]: State(*row[1:]) for row in rows}


class _EventsRefused(Exception):
    """Events of some jobs are not possible; ``why`` has the error of each job."""

    def __init__(self, why: dict[str, TransitionRefused]) -> None:
        self.why = why


def record(
    root: Path, events: Sequence[Event], values: Mapping[str, Sequence[Prepared]] | None = None
) -> dict[str, TransitionRefused]:
    """Store events, and the output values of jobs, in one commit.

    Parameters
    ----------
    root
        Folder of a warehouse; the caller holds ``locks.writing`` if there are values.
    events
        In the order of time.
    values
        Validated output values by job.

    Returns
    -------
    dict
        The error of each job whose events its state does not allow, such as one that was cancelled
        meanwhile; none of its events and values are stored.
    """
    refused: dict[str, TransitionRefused] = {}
    while True:
        waiting = [event for event in events if event.job_id not in refused]
        prepared = [
            value
            for job_id, job_values in (values or {}).items()
            if job_id not in refused
            for value in job_values
        ]
        if not waiting:
            return refused
        try:
            store_prepared(root, prepared, partial(_event_rows, root, waiting), "record jobs")
        except _EventsRefused as stop:
            refused |= stop.why
        else:
            return refused


def _event_rows(root: Path, events: Sequence[Event], base: Snapshot) -> dict[str, ledger.Rows]:
    """Validate events against the states of their jobs, and return their rows."""
    by_job: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_job[event.job_id].append(event)
    with ledger.connected(root, base, ("job_events",)) as connection:
        known: dict[str, State] = _states(connection, list(by_job))
    rows: ledger.Rows = []
    refused: dict[str, TransitionRefused] = {}
    for job_id, job_events in by_job.items():
        state: State | None = known.get(job_id)
        for event in job_events:
            try:
                rows.append(_event_row(event, state))
            except TransitionRefused as error:
                refused[job_id] = error
                break
            state = State(rows[-1]["status"], rows[-1]["attempt"], rows[-1]["event"])
    if refused:
        raise _EventsRefused(refused)
    return {"job_events": rows}


_NO_FIELDS = dict.fromkeys(
    (
        "runner", "detailed_error_message", "stdout", "stderr", "exit_code", "exec_seconds",
        "invoke_seconds", "utilization_seconds", "output_slugs", "output_values", "metric_names",
        "metric_seconds", "metric_values",
    )
)  # fmt: skip


def _event_row(event: Event, before: State | None) -> dict[str, Any]:
    """Return the row of an event after the state ``before``; None for a new job."""
    status, attempt = (before.status, before.attempt) if before else (NEW, 0)
    transition = step(event.what, status, attempt)
    fields = dict(event.fields)
    message = str(fields.pop("error_message", "")).replace("\0", "")
    message = message.encode("utf-8", "replace").decode()  # lone surrogates cannot be stored
    details = fields.pop("detailed_error_message", None)
    return {
        **_NO_FIELDS,
        **fields,
        "job_id": event.job_id,
        "event": before.event + 1 if before else 0,
        "what": event.what,
        "attempt": attempt + transition.attempt_step,
        "status": transition.status,
        "happened_at": event.at,
        "happened_by": event.by,
        "error_message": message[:MAX_MESSAGE],
        "detailed_error_message": json.dumps(details, ensure_ascii=False) if details else None,
    }


def happen(root: Path, job_id: str, what: str, *, by: str = "", **fields: Any) -> None:
    """Record one event of a job.

    Raises
    ------
    TransitionRefused, UnknownJob
    """
    full_id = find_job(root, job_id).job_id
    refused = record(root, [Event(full_id, what, now(), by, fields)])
    if refused:
        raise refused[full_id]


def find_job(root: Path, job_id: str) -> Spec:
    """Return a job by its id or a unique prefix of it.

    Raises
    ------
    UnknownJob
    """
    with ledger.connected(root, None, ("job_specs",)) as connection:
        rows = ledger.dictionaries(connection, statement("jobs_that_begin", "components"), job_id)
    if not job_id or len(rows) != 1:
        subject = "no job" if not rows else "more than one job"
        raise UnknownJob(f"{subject} has this id or prefix; dicom-warehouse job list shows all")
    return Spec(**rows[0])


def specs(root: Path, job_ids: Iterable[str]) -> dict[str, Spec]:
    """Return the specifications of jobs by id; unknown ids are omitted."""
    with ledger.connected(root, None, ("job_specs",)) as connection:
        query = statement("jobs_by_id", "components")
        rows = ledger.dictionaries(connection, query, list(job_ids))
    return {row["job_id"]: Spec(**row) for row in rows}


def change_job(root: Path, job_id: str, **changes: Any) -> None:
    """Refuse to change a specification.

    Raises
    ------
    JobRefused
        Always: other requirements need another version of the algorithm.
    """
    spec = find_job(root, job_id)
    names = ", ".join(sorted(changes)) or "nothing"
    raise JobRefused(
        f"the specification of job {spec.job_id} cannot be changed: {names}; "
        "create another version of the algorithm instead"
    )
