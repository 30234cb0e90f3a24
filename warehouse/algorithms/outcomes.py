"""Derive the events of a job from the result of its task. Pure functions.

In: ``Done``, as returned by a runner. Out: events in the order of time, which ``runs`` commits with
the outputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.algorithms.jobs import Event
from warehouse.algorithms.logs import last_line
from warehouse.algorithms.tasks import TIME_LIMIT_TEXT, Done, Task
from warehouse.components.checking import now

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from warehouse.components.values import Prepared
    from warehouse.errors import OutputRefused


def outcome_of_lost_worker(task: Task, runner: str, error: BaseException) -> Done:
    """Return the result of a task whose worker process ended or raised an unexpected error."""
    text = str(error)
    if "SIGALRM" in text:
        text = TIME_LIMIT_TEXT
    elif text:
        text = f"the process that executed it {text}"
    done = Done(task.spec.job_id, "failed", runner, error=text or type(error).__name__)
    done.ended_at = now()
    return done


def events_of(done: Done, by: str) -> list[Event]:
    """Return the events of a task up to its end, before its outputs are validated."""
    job_id, at = done.job_id, done.ended_at or now()
    if done.what == "not provisioned":
        return [
            Event(job_id, done.what, at, by, {
                "runner": done.runner, "error_message": done.error, "stderr": done.stderr,
                "detailed_error_message": done.details,
            })
        ]  # fmt: skip
    began = done.provisioned_at or done.started_at or at
    message = done.error
    if done.what == "failed" and not message:
        message = last_line(done.stderr) or f"the algorithm ended with exit code {done.exit_code}"
    names, seconds, values = (
        (list(column) for column in zip(*done.metrics, strict=True))
        if (done.metrics)
        else (None, None, None)
    )
    fields = {
        "runner": done.runner, "stdout": done.stdout, "stderr": done.stderr,
        "exit_code": done.exit_code, "exec_seconds": done.exec_seconds,
        "invoke_seconds": done.invoke_seconds, "error_message": message,
        "utilization_seconds": (at - (done.began_at or began)).total_seconds(),
        "metric_names": names, "metric_seconds": seconds, "metric_values": values,
    }  # fmt: skip
    return [
        Event(job_id, "provisioned", began, by),
        Event(job_id, "started", done.started_at or began, by),
        Event(job_id, done.what, at, by, fields),
    ]


def refused(done: Done, error: OutputRefused) -> Event:
    """Return the event that the outputs are invalid, with the reasons."""
    fields = {"error_message": str(error), "detailed_error_message": error.details}
    return Event(done.job_id, "not parsed", now(), "", fields)


def parsed(done: Done, found: Mapping[str, Prepared], away: Mapping[str, str]) -> Event:
    """Return the event that the outputs are stored; ``away`` has warnings of ``misplaced``."""
    slugs = sorted(found)
    fields = {
        "output_slugs": slugs, "output_values": [found[slug].value_id for slug in slugs],
        "detailed_error_message": dict(away),
    }  # fmt: skip
    return Event(done.job_id, "parsed", now(), "", fields)


def in_order(task: Task, events: Sequence[Event]) -> list[Event]:
    """Return events with times made monotonic, as clocks of workers may differ."""
    last: dt.datetime = task.spec.created_at
    ordered = []
    for event in events:
        last = max(last, min(event.at, now()))
        ordered.append(Event(event.job_id, event.what, last, event.by, event.fields))
    return ordered
