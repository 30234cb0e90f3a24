"""Jobs: an immutable specification, and an append-only list of events.

In: what is to be done, and what happened. Out: rows of ``job_specs`` and ``job_events``. The
identity of a job is a digest of algorithm and inputs: what is asked for again is the same job. An
event is checked against the newest state of its job under the writer's lock, so that of two who
change a job at a time one is refused.
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
"""Characters of an error message that are kept."""

LIMITS = {"in all": 128, "of one algorithm": 16, "of one user": 16}
"""Active jobs that people may have, besides those that runs over cohorts ask for."""


@dataclass(frozen=True, slots=True)
class Input:
    """What goes into one socket of a job: a value that is stored, or a series of the archive."""

    slug: str
    value_id: str | None = None
    series_key: str | None = None
    state: str = ""
    """Of a series: a digest of its instances, so that a job with others is another one."""
    prefix: str = ""
    """Folder below /input."""


@dataclass(frozen=True, slots=True)
class Case:
    """The inputs of one job, and what its outputs will be about."""

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
        """Its inputs, by socket."""
        columns = (self.input_slugs, self.input_values, self.input_series, self.input_prefixes)
        return [
            Input(slug, value, series, "", prefix)
            for slug, value, series, prefix in zip(*columns, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job."""

    job_id: str
    what: str
    """Name in ``job_transitions``."""
    at: dt.datetime
    by: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of ``job_events``."""


@dataclass(frozen=True, slots=True)
class State:
    """Where a job is."""

    status: int
    attempt: int
    event: int
    """Number of its last event."""


def spec_of(
    algorithm: Algorithm, case: Case, *, by: str = "", asked_for: str | None = None
) -> Spec:
    """Return the job of an algorithm on a case; its identity follows from both."""
    inputs = sorted(case.inputs, key=lambda each: each.slug)
    identity = json.dumps(
        [
            algorithm.algorithm, algorithm.version, algorithm.image_id, algorithm.model_id,
            case.interface_id,
            [[i.slug, i.value_id, i.series_key, i.state, i.prefix] for i in inputs],
        ]
    )  # fmt: skip
    return Spec(
        str(uuid.UUID(digest(identity)[:32])), algorithm.kind, algorithm.algorithm,
        algorithm.version, algorithm.image_id, algorithm.model_id, case.interface_id,
        [each.slug for each in inputs], [each.value_id for each in inputs],
        [each.series_key for each in inputs], [each.prefix for each in inputs],
        case.series_key, case.item, asked_for, algorithm.time_limit_s,
        algorithm.requires_gpu_type, algorithm.requires_memory_gb, secrets.token_hex(32), now(), by,
    )  # fmt: skip


def add_jobs(root: Path, specs: Sequence[Spec], *, as_system: bool = True) -> list[Spec]:
    """Store jobs that are not there yet, in one commit.

    Parameters
    ----------
    root
        Folder of a warehouse.
    specs
        The jobs.
    as_system
        A run over a cohort asks for them: they are queued, without the limits of active jobs and
        those that are there already are left out. A person's job begins with its inputs being
        checked, and one that is there already is refused.

    Returns
    -------
    list of Spec
        Those that are new.

    Raises
    ------
    JobRefused
        A person's job is there already, or there are too many active ones.
    """
    new: list[Spec] = []
    what = "created by system" if as_system else "created"

    def make(base: Snapshot) -> Mapping[str, ledger.Rows]:
        with ledger.connected(root, base, TABLES) as connection:
            existing = _states(connection, [spec.job_id for spec in specs])
            if not as_system:
                _require_new(existing)
                _require_room(connection, specs)
        new[:] = list({s.job_id: s for s in specs if s.job_id not in existing}.values())
        events = [
            _row(Event(spec.job_id, what, spec.created_at, spec.created_by), None) for spec in new
        ]
        return {"job_specs": [asdict(spec) for spec in new], "job_events": events}

    ledger.add_rows(root, make, "add jobs")
    return new


def _require_new(existing: Mapping[str, State]) -> None:
    if existing:
        raise JobRefused(
            f"job {min(existing)} has the same algorithm and inputs; "
            "dicom-warehouse job retry asks for another attempt"
        )


def _require_room(connection: duckdb.DuckDBPyConnection, specs: Sequence[Spec]) -> None:
    """Refuse more active jobs than people may have, those that are asked for now included."""
    active = [status.code for status in statuses().values() if status.is_active]
    counts = Counter[tuple[str, str]]()
    for algorithm, user, count in connection.execute(
        statement("active_jobs", "components"), [active]
    ).fetchall():
        counts.update(dict.fromkeys(_shares(algorithm, user), count))
    for spec in specs:
        mine = _shares(spec.algorithm, spec.created_by)
        for share in mine:
            if counts[share] >= LIMITS[share[0]]:
                raise JobRefused(
                    f"there are {counts[share]} active jobs {share[0]}, and {LIMITS[share[0]]} "
                    "may be; wait, or cancel some"
                )
        counts.update(mine)


def _shares(algorithm: str, user: str) -> list[tuple[str, str]]:
    """Return what a job counts for, by the names of ``LIMITS``."""
    return [("in all", ""), ("of one algorithm", algorithm), ("of one user", user)]


def states(
    root: Path, job_ids: Iterable[str], snapshot: Snapshot | None = None
) -> dict[str, State]:
    """Return where jobs are; those that do not exist are missing."""
    with ledger.connected(root, snapshot, ("job_events",)) as connection:
        return _states(connection, list(job_ids))


def _states(connection: duckdb.DuckDBPyConnection, job_ids: Sequence[str]) -> dict[str, State]:
    rows = connection.execute(
        "select job_id, arg_max(status, event), arg_max(attempt, event), max(event) "
        "from job_events where job_id in (select unnest($1)) group by job_id", [list(job_ids)],
    ).fetchall()  # fmt: skip
    return {row[0]: State(*row[1:]) for row in rows}


class _Refused(Exception):
    def __init__(self, why: dict[str, TransitionRefused]) -> None:
        self.why = why


def record(
    root: Path, events: Sequence[Event], values: Mapping[str, Sequence[Prepared]] | None = None
) -> dict[str, TransitionRefused]:
    """Add events, and the values that jobs brought, in one commit.

    Parameters
    ----------
    root
        Folder of a warehouse; the caller holds ``locks.writing`` if there are values.
    events
        In the order in which they happened.
    values
        Values that were checked, by the job that brought them.

    Returns
    -------
    dict
        Jobs whose events could not happen any more, such as one that was cancelled meanwhile:
        nothing of them was stored.
    """
    refused: dict[str, TransitionRefused] = {}
    while True:
        waiting = [event for event in events if event.job_id not in refused]
        prepared = [
            one for job_id, some in (values or {}).items() if job_id not in refused for one in some
        ]
        if not waiting:
            return refused
        try:
            store_prepared(root, prepared, partial(_checked, root, waiting), "record jobs")
        except _Refused as stop:
            refused |= stop.why
        else:
            return refused


def _checked(root: Path, events: Sequence[Event], base: Snapshot) -> dict[str, ledger.Rows]:
    by_job: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_job[event.job_id].append(event)
    with ledger.connected(root, base, ("job_events",)) as connection:
        known: dict[str, State] = _states(connection, list(by_job))
    rows: ledger.Rows = []
    why: dict[str, TransitionRefused] = {}
    for job_id, some in by_job.items():
        state: State | None = known.get(job_id)
        for event in some:
            try:
                rows.append(_row(event, state))
            except TransitionRefused as error:
                why[job_id] = error
                break
            state = State(rows[-1]["status"], rows[-1]["attempt"], rows[-1]["event"])
    if why:
        raise _Refused(why)
    return {"job_events": rows}


_EMPTY = dict.fromkeys(
    (
        "runner", "detailed_error_message", "stdout", "stderr", "exit_code", "exec_seconds",
        "invoke_seconds", "utilization_seconds", "output_slugs", "output_values", "metric_names",
        "metric_seconds", "metric_values",
    )
)  # fmt: skip


def _row(event: Event, before: State | None) -> dict[str, Any]:
    status, attempt = (before.status, before.attempt) if before else (NEW, 0)
    found = step(event.what, status, attempt)
    given = dict(event.fields)
    message = str(given.pop("error_message", "")).replace("\0", "")
    details = given.pop("detailed_error_message", None)
    return {
        **_EMPTY,
        **given,
        "job_id": event.job_id,
        "event": before.event + 1 if before else 0,
        "what": event.what,
        "attempt": attempt + found.attempt_step,
        "status": found.status,
        "happened_at": event.at,
        "happened_by": event.by,
        "error_message": message[:MAX_MESSAGE],
        "detailed_error_message": json.dumps(details, ensure_ascii=False) if details else None,
    }


def happen(root: Path, job_id: str, what: str, *, by: str = "", **given: Any) -> None:
    """Record one event of a job.

    Raises
    ------
    TransitionRefused, UnknownJob
    """
    found = find_job(root, job_id).job_id
    refused = record(root, [Event(found, what, now(), by, given)])
    if refused:
        raise refused[found]


def find_job(root: Path, job_id: str) -> Spec:
    """Return a job by its id, or how it begins.

    Raises
    ------
    UnknownJob
    """
    with ledger.connected(root, None, ("job_specs",)) as connection:
        rows = ledger.dictionaries(connection, statement("jobs_that_begin", "components"), job_id)
    if not job_id or len(rows) != 1:
        what = "no job" if not rows else "more than one job"
        raise UnknownJob(f"there is {what} whose id begins so; dicom-warehouse job list shows all")
    return Spec(**rows[0])


def specs(root: Path, job_ids: Iterable[str]) -> dict[str, Spec]:
    """Return jobs by their ids."""
    with ledger.connected(root, None, ("job_specs",)) as connection:
        query = statement("jobs_by_id", "components")
        rows = ledger.dictionaries(connection, query, list(job_ids))
    return {row["job_id"]: Spec(**row) for row in rows}


def change_job(root: Path, job_id: str, **changes: Any) -> None:
    """Refuse to change a specification.

    Raises
    ------
    JobRefused
        Always: a job with other wishes is another version of its algorithm.
    """
    found = find_job(root, job_id)
    names = ", ".join(sorted(changes)) or "nothing"
    raise JobRefused(
        f"what job {found.job_id} is to do never changes: {names} cannot be set; "
        "create the algorithm with other wishes, which makes another version of it"
    )
