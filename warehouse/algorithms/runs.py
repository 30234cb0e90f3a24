"""Run the jobs of an algorithm; finished jobs are not repeated, and stopped runs are continued.

In: an algorithm and its cases. Out: ``Report``. A file lock allows one run per algorithm; the
system releases it when the process is killed. The outputs of a job and its final event are in one
commit, so they are never stored in part; commits follow every second, so a kill loses little work.
"""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from warehouse.algorithms import jobs
from warehouse.algorithms.cases import series_states, specs_of
from warehouse.algorithms.jobs import Event, Spec, State, add_jobs, record
from warehouse.algorithms.outcomes import (
    events_of,
    in_order,
    outcome_of_lost_worker,
    parsed,
    refused,
)
from warehouse.algorithms.output_folder import collected, misplaced
from warehouse.algorithms.registry import known_algorithms
from warehouse.algorithms.scratch import alone, clear_folder
from warehouse.algorithms.states import (
    CANCELLED,
    EXECUTED,
    EXECUTING,
    FAILED,
    MAX_ATTEMPT,
    PROVISIONED,
    QUEUED,
    REQUEUED,
    VALIDATING,
)
from warehouse.algorithms.submitting import validated
from warehouse.algorithms.tasks import Done, Task, tasks_of
from warehouse.components.checking import now
from warehouse.components.interfaces import known_interfaces
from warehouse.components.socket_store import known_sockets
from warehouse.errors import OutputRefused, WarehouseError
from warehouse.inputs import require_seconds
from warehouse.store import locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from warehouse.algorithms.cases import Found
    from warehouse.algorithms.registry import Algorithm
    from warehouse.catalog.connect import Catalog
    from warehouse.components.sockets import Socket
    from warehouse.components.values import Prepared

COMMIT_SECONDS = 1.0
"""Seconds between commits of finished jobs."""

COMMIT_JOBS = 500
"""Number of finished jobs at which a commit is made early."""

TASKS_AT_ONCE = 1000
"""Number of jobs whose tasks are created, with their inputs in memory, at a time."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run."""

    total: int
    done: int
    failed: int
    seconds_left: float | None
    """Estimate in seconds; None before the first job has ended."""


@dataclass(slots=True)
class Report:
    """Result of a run."""

    algorithm: str
    version: int
    asked_for: str | None = None
    cases: int = 0
    """Number of distinct jobs."""
    done_before: int = 0
    """Jobs that were not run, as they had ended before or are not ready."""
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    unmatched: dict[str, str] = field(default_factory=dict)
    """Series, study or item → why it is not a case."""
    failures: dict[str, str] = field(default_factory=dict)
    """Job → error message."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TaskPool:
    """An executor for tasks, with its limits and how to stop it."""

    executor: Executor
    perform: Callable[[Task], Done]
    at_once: int
    runner: str
    stop: Callable[[set[str]], None] = lambda _: None
    """Stops the running jobs with these ids, which were cancelled."""
    halt: Callable[[], None] = lambda: None
    """Stops all jobs immediately."""
    watched: bool = False
    """Whether running jobs can be stopped; the run then polls for cancelled jobs."""


def run_cases(
    catalog: Catalog, root: Path, algorithm: Algorithm, found: Found,
    open_pool: Callable[[], Any], *,
    asked_for: str | None = None, by: str = "", again: bool = False, seconds: float | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:  # fmt: skip
    """Run an algorithm over cases.

    Parameters
    ----------
    catalog, root
        The newest version of a warehouse, and its folder.
    algorithm, found
        What to run, and its cases.
    open_pool
        Returns a context manager that yields the ``TaskPool``.
    asked_for, by
        The run of a cohort or the set, and the user.
    again
        Retry jobs that failed or were cancelled.
    seconds
        Time limit of each job in seconds, if it is shorter than its own.
    progress
        Called after every commit.

    Raises
    ------
    RunLocked
        Another process runs jobs of this algorithm.
    UsageError
        ``seconds`` cannot be waited for.
    """
    if seconds is not None:
        require_seconds("seconds", seconds)
    began = time.monotonic()
    with alone(root, algorithm.algorithm):
        specs = specs_of(root, algorithm, found, by=by, asked_for=asked_for)
        specs_by_id = {spec.job_id: spec for spec in specs}
        known = jobs.states(root, specs_by_id, catalog.snapshot)
        missing = [spec for spec in specs_by_id.values() if spec.job_id not in known]
        new = {spec.job_id for spec in add_jobs(root, missing)} if missing else set()
        if len(new) < len(specs_by_id):
            specs_by_id |= jobs.specs(root, set(specs_by_id) - new)
        report = Report(algorithm.algorithm, algorithm.version, asked_for, len(specs_by_id))
        report.unmatched = dict(found.unmatched)
        ready, report.done_before = _ready_jobs(catalog, root, specs_by_id, new, again=again, by=by)
        if ready:
            _Run(root, catalog, ready, report, seconds, progress).execute(open_pool)
        report.seconds = time.monotonic() - began
    return report


@dataclass(frozen=True, slots=True)
class Queued:
    """Numbers of cases and of new jobs, and the reasons for series or items without a job."""

    cases: int
    new: int
    unmatched: dict[str, str]


def queue_cases(
    root: Path, algorithm: Algorithm, found: Found, *, asked_for: str | None = None, by: str = ""
) -> Queued:
    """Store the jobs of cases that do not exist yet, without executing them."""
    specs = specs_of(root, algorithm, found, by=by, asked_for=asked_for)
    new = add_jobs(root, specs) if specs else []
    return Queued(len({spec.job_id for spec in specs}), len(new), dict(found.unmatched))


def run_waiting(
    catalog: Catalog, root: Path, algorithm: Algorithm, open_pool: Callable[[], Any], *,
    by: str = "",
    seconds: float | None = None, progress: Callable[[Progress], None] | None = None,
) -> Report:  # fmt: skip
    """Execute the active jobs of all versions of an algorithm, including those of a killed run.

    Raises
    ------
    RunLocked
    UsageError
        ``seconds`` cannot be waited for.
    """
    if seconds is not None:
        require_seconds("seconds", seconds)
    began = time.monotonic()
    with alone(root, algorithm.algorithm):
        rows = catalog.connection.execute(
            "select job_id from jobs where algorithm = $1 and is_active", [algorithm.algorithm]
        ).fetchall()
        specs_by_id = jobs.specs(root, [row[0] for row in rows])
        report = Report(algorithm.algorithm, algorithm.version, None, len(specs_by_id))
        ready, report.done_before = _ready_jobs(
            catalog, root, specs_by_id, set(), again=False, by=by
        )
        if ready:
            _Run(root, catalog, ready, report, seconds, progress).execute(open_pool)
        report.seconds = time.monotonic() - began
    return report


def _ready_jobs(
    catalog: Catalog,
    root: Path,
    specs_by_id: Mapping[str, Spec],
    new: set[str],
    *,
    again: bool,
    by: str,
) -> tuple[dict[str, tuple[Spec, int]], int]:
    """Return jobs to run with their attempt numbers, and the number of other jobs.

    Jobs left by a killed run are made ready by events.
    """
    states = jobs.states(root, set(specs_by_id) - new) if set(specs_by_id) - new else {}
    states |= {job_id: State(QUEUED, 0, 0) for job_id in new}
    events: list[Event] = []
    ready, skipped = {}, 0
    for job_id, spec in specs_by_id.items():
        state = states[job_id]
        recovery = _RECOVERY_EVENTS.get(state.status)
        if again and state.status in {FAILED, CANCELLED}:
            recovery = ("requeued",)
        if state.status == VALIDATING:
            # Who submitted it was killed before its inputs were validated.
            series_keys = series_states(catalog, [key for key in spec.input_series if key])
            event = validated(root, spec, series_keys, by=by)
            if event.what == "refused":
                events.append(event)
                skipped += 1
                continue
        if recovery is None or state.attempt + (1 if "retried" in recovery else 0) > MAX_ATTEMPT:
            skipped += 1
            continue
        events += [Event(job_id, what, now(), by) for what in recovery]
        new_attempts = {"retried", "requeued"} & set(recovery)
        ready[job_id] = (spec, state.attempt + len(new_attempts))
    if events:
        refused = record(root, events)
        ready = {job_id: job for job_id, job in ready.items() if job_id not in refused}
    return ready, skipped


_RECOVERY_EVENTS: dict[int, tuple[str, ...]] = {
    QUEUED: (), REQUEUED: (), VALIDATING: ("validated",), PROVISIONED: ("retried",),
    EXECUTING: ("interrupted", "retried"), EXECUTED: ("cancelled", "requeued"),
}  # fmt: skip
"""State of a job, such as left by a killed run → events that make the job ready."""


class _Run:
    """The state of one run: tasks in flight, and results that wait for their commit."""

    def __init__(
        self, root: Path, catalog: Catalog, ready: Mapping[str, tuple[Spec, int]],
        report: Report, seconds: float | None, progress: Callable[[Progress], None] | None,
    ) -> None:  # fmt: skip
        self._root, self._catalog = root, catalog
        self._ready, self._report = ready, report
        self._seconds, self._progress = seconds, progress
        self._sockets: dict[str, Socket] = known_sockets(root, catalog.snapshot)
        self._in_flight: dict[Future[Done], Task] = {}
        self._events: list[Event] = []
        self._values: dict[str, list[Prepared]] = {}
        self._stack = ExitStack()
        self._folders: list[Path] = []
        self._began = self._committed = self._last_check = time.monotonic()

    def execute(self, open_pool: Callable[[], Any]) -> None:
        """Execute all ready jobs; commit finished ones even if it is interrupted."""
        with locks.writing(self._root), open_pool() as pool:
            try:
                for tasks in self._portions():
                    self._submit(pool, tasks)
                while self._in_flight:
                    self._collect_finished(pool)
            except BaseException:
                pool.halt()
                raise
            finally:
                # Finished jobs are kept even if the run is stopped.
                self._commit()
                self._clear_folders()

    def _portions(self) -> Iterator[list[Task]]:
        """Yield the tasks of the ready jobs, ``TASKS_AT_ONCE`` at a time."""
        snapshot = self._catalog.snapshot
        algorithms = known_algorithms(self._root, snapshot, all_versions=True)
        interfaces = known_interfaces(self._root, snapshot)
        waiting = list(self._ready.values())
        for start in range(0, len(waiting), TASKS_AT_ONCE):
            portion = waiting[start : start + TASKS_AT_ONCE]
            attempts = {spec.job_id: attempt for spec, attempt in portion}
            make = partial(
                tasks_of, self._root, snapshot.version, attempts=attempts, algorithms=algorithms,
                interfaces=interfaces, sockets=self._sockets, seconds=self._seconds,
            )  # fmt: skip
            try:
                tasks = make([spec for spec, _ in portion])
            except WarehouseError:
                tasks = self._readable_tasks(make, [spec for spec, _ in portion])
            yield tasks

    def _readable_tasks(
        self, make: Callable[[list[Spec]], list[Task]], specs: Sequence[Spec]
    ) -> list[Task]:
        """Return the tasks of jobs whose inputs can be read; the other jobs fail."""
        tasks: list[Task] = []
        for spec in specs:
            try:
                tasks += make([spec])
            except WarehouseError as error:
                done = Done(spec.job_id, "not provisioned", "", error=str(error))
                self._events += events_of(done, self._report.algorithm)
        return tasks

    def _submit(self, pool: TaskPool, tasks: Sequence[Task]) -> None:
        """Submit tasks to the pool, without exceeding its limit of tasks in flight."""
        for task in tasks:
            while len(self._in_flight) >= pool.at_once:
                self._collect_finished(pool)
            self._in_flight[pool.executor.submit(pool.perform, task)] = task

    def _collect_finished(self, pool: TaskPool) -> None:
        """Collect finished tasks, stop cancelled ones, and commit if due."""
        finished, _ = wait(self._in_flight, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in finished:
            task = self._in_flight.pop(future)
            try:
                done = future.result()
            except CancelledError:
                continue
            except WarehouseError as error:
                done = Done(task.spec.job_id, "failed", pool.runner, error=str(error))
            except Exception as error:  # noqa: BLE001 - the worker ended or failed
                done = outcome_of_lost_worker(task, pool.runner, error)
            self._add_result(task, done)
        clock = time.monotonic()
        if pool.watched and clock - self._last_check >= COMMIT_SECONDS:
            self._last_check = clock
            pool.stop(self._cancelled_jobs())
        if clock - self._committed >= COMMIT_SECONDS or len(self._events) >= 4 * COMMIT_JOBS:
            self._commit()

    def _cancelled_jobs(self) -> set[str]:
        """Return the jobs in flight that were cancelled."""
        job_ids = [task.spec.job_id for task in self._in_flight.values()]
        states = jobs.states(self._root, job_ids)
        return {job_id for job_id, state in states.items() if state.status == CANCELLED}

    def _add_result(self, task: Task, done: Done) -> None:
        """Validate the outputs of a task, and add its events and values to the next commit."""
        self._folders.append(task.folder)
        if done.what == "interrupted":
            return
        events = events_of(done, self._report.algorithm)
        if done.what == "executed":
            with ExitStack() as stack:
                try:
                    outputs = collected(self._root, task, done, self._sockets, stack)
                except OutputRefused as error:
                    events.append(refused(done, error))
                else:
                    warnings = misplaced(task, self._catalog, outputs)
                    events.append(parsed(done, outputs, warnings))
                    self._values[done.job_id] = list(outputs.values())
                    # Temporary copies are kept until the commit moves them to the value files.
                    self._stack.enter_context(stack.pop_all())
        self._events += in_order(task, events)

    def _commit(self) -> None:
        """Commit the collected events and values, and count the results."""
        self._committed = time.monotonic()
        if not self._events:
            return
        events, values = self._events, self._values
        self._events, self._values = [], {}
        with self._stack:
            refused = record(self._root, events, values)
        self._stack = ExitStack()
        ends = {event.job_id: event for event in events}
        for job_id, event in ends.items():
            if job_id in refused or event.what in {"stopped", "cancelled"}:
                self._report.cancelled += 1
            elif event.what == "parsed":
                self._report.succeeded += 1
            elif event.what in {"failed", "not parsed", "not provisioned"}:
                self._report.failed += 1
                self._report.failures[job_id] = str(event.fields.get("error_message", ""))
        self._clear_folders()
        if self._progress:
            self._progress(self._current_progress())

    def _current_progress(self) -> Progress:
        report = self._report
        done = report.succeeded + report.failed + report.cancelled
        passed = time.monotonic() - self._began
        left = passed / done * (len(self._ready) - done) if done else None
        return Progress(len(self._ready), done, report.failed, left)

    def _clear_folders(self) -> None:
        for folder in self._folders:
            clear_folder(folder)
        self._folders = []
