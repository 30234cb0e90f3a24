"""States of jobs and the transitions between them, read from ``sql/rules/job_*.csv``.

In: the state of a job and the name of an event. Out: the next state, or ``TransitionRefused``. The
views ``job_statuses`` and ``job_transitions`` have the same tables.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cache

from warehouse.errors import TransitionRefused
from warehouse.inputs import read_text
from warehouse.sqlfiles import sql_folder

MAX_ATTEMPT = 99
"""Maximum attempt number of a job; the first is 0."""

QUEUED, REQUEUED, FAILED, SUCCEEDED, CANCELLED = 0, 2, 3, 4, 5
PROVISIONED, EXECUTING, EXECUTED, WAITING, CLAIMED, VALIDATING = 7, 8, 9, 11, 12, 13

NEW = -1
"""The state of a job that does not exist yet."""


@dataclass(frozen=True, slots=True)
class Status:
    """A state of a job."""

    code: int
    label: str
    is_final: bool
    is_active: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A transition: the next state, and the increment of the attempt number."""

    status: int
    attempt_step: int


@cache
def statuses() -> dict[int, Status]:
    """Return the 14 states by code.

    >>> statuses()[13].label
    'Validating inputs'
    """
    return {
        int(row["code"]): Status(
            int(row["code"]), row["label"], row["is_final"] == "true", row["is_active"] == "true"
        )
        for row in _csv_rows("job_states.csv")
    }


@cache
def transitions() -> dict[tuple[str, int], Step]:
    """Return the transitions by name of the event and state before it."""
    return {
        (row["event"], int(row["from_status"] or NEW)): Step(
            int(row["to_status"]), int(row["attempt_step"])
        )
        for row in _csv_rows("job_transitions.csv")
    }


def _csv_rows(file: str) -> list[dict[str, str]]:
    text = read_text(sql_folder() / "rules" / file)
    return list(csv.DictReader(io.StringIO(text)))


def step(what: str, status: int, attempt: int = 0) -> Step:
    """Return the transition of an event from a state.

    Parameters
    ----------
    what
        Name of the event.
    status
        State of the job; ``NEW`` for one that does not exist yet.
    attempt
        Current attempt number.

    Raises
    ------
    TransitionRefused
        The event is not possible in this state, or there were too many attempts.

    Examples
    --------
    >>> step("started", 7)
    Step(status=8, attempt_step=0)
    >>> step("started", 4)
    Traceback (most recent call last):
    warehouse.errors.jobs.TransitionRefused: a job in state Succeeded cannot be 'started'; ...
    """
    transition = transitions().get((what, status))
    if transition is None:
        label = "new" if status == NEW else statuses()[status].label
        events = sorted(event for event, before in transitions() if before == status)
        raise TransitionRefused(label, what, events)
    if attempt + transition.attempt_step > MAX_ATTEMPT:
        raise TransitionRefused(statuses()[status].label, f"attempt {attempt + 1}", ["cancelled"])
    return transition
