"""States of jobs and what leads from one to another, read from ``sql/rules/job_*.csv``.

In: the state of a job and the name of an event. Out: the state after it, or ``TransitionRefused``.
The same tables are the views ``job_statuses`` and ``job_transitions``.
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
"""Number of the last attempt that a job may have."""

QUEUED, REQUEUED, FAILED, SUCCEEDED, CANCELLED = 0, 2, 3, 4, 5
PROVISIONED, EXECUTING, EXECUTED, WAITING, CLAIMED, VALIDATING = 7, 8, 9, 11, 12, 13

NEW = -1
"""The state of a job that is not there yet."""


@dataclass(frozen=True, slots=True)
class Status:
    """A state of a job."""

    code: int
    label: str
    is_final: bool
    is_active: bool


@dataclass(frozen=True, slots=True)
class Step:
    """Where an event leads."""

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
        for row in _rows("job_states.csv")
    }


@cache
def transitions() -> dict[tuple[str, int], Step]:
    """Return where each event leads, by its name and the state before."""
    return {
        (row["event"], int(row["from_status"] or NEW)): Step(
            int(row["to_status"]), int(row["attempt_step"])
        )
        for row in _rows("job_transitions.csv")
    }


def _rows(file: str) -> list[dict[str, str]]:
    text = read_text(sql_folder() / "rules" / file)
    return list(csv.DictReader(io.StringIO(text)))


def step(what: str, status: int, attempt: int = 0) -> Step:
    """Return where an event leads from a state.

    Parameters
    ----------
    what
        Name of the event.
    status
        State of the job; ``NEW`` for one that is not there yet.
    attempt
        Number of its attempt.

    Raises
    ------
    TransitionRefused
        The event cannot happen in this state, or there were too many attempts.

    Examples
    --------
    >>> step("started", 7)
    Step(status=8, attempt_step=0)
    >>> step("started", 4)
    Traceback (most recent call last):
    warehouse.errors.jobs.TransitionRefused: a job in state Succeeded cannot be 'started'; ...
    """
    found = transitions().get((what, status))
    if found is None:
        label = "new" if status == NEW else statuses()[status].label
        events = sorted(event for event, before in transitions() if before == status)
        raise TransitionRefused(label, what, events)
    if attempt + found.attempt_step > MAX_ATTEMPT:
        raise TransitionRefused(statuses()[status].label, f"attempt {attempt + 1}", ["cancelled"])
    return found
