"""Jobs that users submit one by one, and jobs that external executors claim and report.

In: values by socket, or the result of an external executor. Out: events. The inputs of a submitted
job are validated first: its sockets must be those of one interface, and its values valid for them.
A claimed job is reported with a signature within a day; later it is cancelled, and the report is
refused.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from warehouse.algorithms import jobs
from warehouse.algorithms.cases import require_complete, series_states, with_states
from warehouse.algorithms.jobs import Case, Event, Input, Spec, record, spec_of
from warehouse.algorithms.output_folder import collected
from warehouse.algorithms.registry import interfaces_of, known_algorithms
from warehouse.algorithms.states import CLAIMED
from warehouse.algorithms.tasks import Done, Task, tasks_of
from warehouse.catalog.connect import open_catalog
from warehouse.components import ledger
from warehouse.components.checking import now, recheck
from warehouse.components.interfaces import chosen, known_interfaces
from warehouse.components.socket_store import known_sockets
from warehouse.errors import AlgorithmError, JobRefused, OutputRefused
from warehouse.store import delta, locks

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from pathlib import Path

    from warehouse.algorithms.registry import Algorithm

REPORT_SECONDS = 86_400
"""Seconds after a claim within which an external executor must report the job."""


def submit(
    root: Path, algorithm: Algorithm, values: Mapping[str, str | None], *,
    series: Mapping[str, str] | None = None, by: str = "",
) -> Spec:  # fmt: skip
    """Create one job from values and series, and validate its inputs.

    Parameters
    ----------
    root, algorithm
        Folder of a warehouse, and the algorithm to run.
    values
        Socket → id of a value; None for a nullable socket without value.
    series
        Socket → series key.
    by
        The user; the number of active jobs per user is limited, see ``jobs.LIMITS``.

    Returns
    -------
    Spec
        The job: queued, or cancelled if an input is invalid for its socket.

    Raises
    ------
    ComponentError
        No interface takes exactly these sockets; the message lists the interfaces.
    JobRefused
        The same job exists, or there are too many active jobs.
    """
    series_by_slug = dict(series or {})
    sockets = known_sockets(root)
    interface = chosen(interfaces_of(root, algorithm), [*values, *series_by_slug])
    provided = {slug: value is not None for slug, value in values.items()}
    require_complete(interface, sockets, provided | dict.fromkeys(series_by_slug, True))
    inputs = [Input(slug, value) for slug, value in values.items() if value is not None]
    keys = list(series_by_slug.values())
    reads_series = keys or any(sockets[slug].kind == "DCMIS" for slug in values)
    catalog = open_catalog(root) if reads_series else None
    states = series_states(catalog, keys) if catalog else {}
    inputs += [
        Input(slug, series_key=key, state=states.get(key, ""))
        for slug, key in series_by_slug.items()
    ]
    about_series = next(iter(series_by_slug.values())) if len(series_by_slug) == 1 else None
    if algorithm.matching:
        about_series = series_by_slug.get(algorithm.matching[0][0])
    case = Case(interface.interface_id, tuple(inputs), about_series)
    if catalog:
        (case,) = with_states(catalog, [case])
    (spec,) = jobs.add_jobs(root, [spec_of(algorithm, case, by=by)], as_system=False)
    record(root, [validated(root, spec, states, by=by)])
    return spec


def validated(root: Path, spec: Spec, series_keys: Container[str], *, by: str = "") -> Event:
    """Return the event that the inputs of a job are valid, or refused with the reasons.

    ``series_keys`` has the series that are in the warehouse.
    """
    details = _input_errors(root, spec, series_keys)
    if not details:
        return Event(spec.job_id, "validated", now(), by)
    fields = {
        "error_message": "One or more of the inputs failed validation.",
        "detailed_error_message": details,
    }
    return Event(spec.job_id, "refused", now(), by, fields)


def _input_errors(root: Path, spec: Spec, series_keys: Container[str]) -> dict[str, str]:
    """Return the errors of the inputs of a job, by title of socket.

    ``series_keys`` has the series that are in the warehouse.
    """
    sockets = known_sockets(root)
    value_ids = [value for value in spec.input_values if value]
    with ledger.connected(root) as connection:
        rows = ledger.dictionaries(
            connection,
            "select value_id, slug, form, value, sha256, size_in_storage from socket_values "
            "where value_id in (select unnest($1))", value_ids,
        )  # fmt: skip
    stored = {row["value_id"]: row for row in rows}
    details = {}
    for job_input in spec.inputs:
        socket = sockets[job_input.slug]
        if not job_input.value_id:
            if not socket.of_kind.is_image:
                details[socket.title] = "the socket takes a value, not a series"
            elif job_input.series_key not in series_keys:
                details[socket.title] = "the series is not in the warehouse"
            continue
        row = stored.get(job_input.value_id)
        if row is None or row["slug"] != job_input.slug:
            details[socket.title] = "the socket has no value with this id"
        elif why := recheck(root, socket, row).why_not:
            details[socket.title] = why
    return details


# -- external executors ---------------------------------------------------------------------------


def signature_of(body: bytes, signing_key: str) -> str:
    """Return the signature of a result: HMAC-SHA256, as hex digits."""
    return hmac.new(bytes.fromhex(signing_key), body, hashlib.sha256).hexdigest()


def require_signed(body: bytes, signature: str, spec: Spec) -> dict[str, Any]:
    """Verify the signature of the result of a job, and return the parsed result.

    Raises
    ------
    OutputRefused
        The signature is wrong, the result is of another job, or a field is invalid.
    """
    expected = signature_of(body, spec.signing_key).encode()
    if not hmac.compare_digest(expected, signature.encode("utf-8", "replace")):
        raise OutputRefused("the signature does not match the result")
    try:
        result = json.loads(body)
    except (ValueError, RecursionError):
        result = None
    if not isinstance(result, dict) or spec.job_id not in str(result.get("pk", "")):
        raise OutputRefused("the result is not a JSON object of this job")
    code = result.setdefault("return_code", 1)
    if type(code) is not int or not -(2**31) <= code < 2**31:
        raise OutputRefused("return_code of the result is not a 32-bit integer")
    for name in ("exec_duration", "invoke_duration"):
        seconds = result.get(name)
        if seconds is None:
            continue
        if type(seconds) not in {int, float} or not 0 <= seconds <= sys.float_info.max:
            raise OutputRefused(f"{name} of the result is not a number of seconds")
    return result


def claim(root: Path, job_id: str, *, by: str = "") -> Spec:
    """Claim a job of an external algorithm; the result is signed with the key of its ``Spec``.

    Raises
    ------
    UnknownJob, TransitionRefused
    JobRefused
        Its algorithm is not external.
    """
    expire(root)
    spec = jobs.find_job(root, job_id)
    algorithm = known_algorithms(root, all_versions=True)[
        f"{spec.algorithm}@{spec.algorithm_version}"
    ]
    if algorithm.api_method != "external":
        raise JobRefused(f"{spec.algorithm} is not external; run its jobs with dicom-warehouse run")
    jobs.happen(root, spec.job_id, "claimed", by=by)
    return spec


def expire(root: Path, at: dt.datetime | None = None) -> list[str]:
    """Cancel the claimed jobs that were not reported in time; return their ids."""
    with ledger.connected(root, None, ("job_events",)) as connection:
        rows = connection.execute(
            "select job_id from job_events group by job_id having arg_max(status, event) = $1 "
            "and max(happened_at) < $2",
            [CLAIMED, (at or now()) - dt.timedelta(seconds=REPORT_SECONDS)],
        ).fetchall()
    late = [row[0] for row in rows]
    if late:
        text = "Time limit exceeded: the job was not reported in time"
        fields = {"error_message": text}
        record(root, [Event(job_id, "expired", now(), "", fields) for job_id in late])
    return late


def report(root: Path, job_id: str, body: bytes, signature: str, outputs: Path) -> None:
    """Store the result that an external executor reports for a claimed job.

    Parameters
    ----------
    root
        Folder of a warehouse.
    job_id
        The job.
    body
        JSON with ``pk`` (the job) and ``return_code``, and optionally ``exec_duration``,
        ``invoke_duration`` (seconds) and ``error_message``.
    signature
        Signature of the body, see ``signature_of``.
    outputs
        Folder with the outputs, as written by the algorithm.

    Raises
    ------
    OutputRefused
        The signature is wrong, or an output is missing or invalid for its socket.
    TransitionRefused
        The job is not claimed, or the report is too late.
    """
    expire(root)
    spec = jobs.find_job(root, job_id)
    result = require_signed(body, signature, spec)
    fields: dict[str, Any] = {
        "runner": "external", "exit_code": result["return_code"],
        "exec_seconds": result.get("exec_duration"),
        "invoke_seconds": result.get("invoke_duration"),
    }  # fmt: skip
    if fields["exit_code"] != 0:
        fields["error_message"] = str(result.get("error_message") or "the external executor failed")
        jobs.happen(root, spec.job_id, "reported failed", **fields)
        return
    task = task_of(root, spec)
    done = Done(spec.job_id, "executed", "external")
    with ExitStack() as stack, locks.writing(root):
        values = collected(root, task, done, known_sockets(root), stack, folder=outputs)
        slugs = sorted(values)
        fields |= {
            "output_slugs": slugs, "output_values": [values[slug].value_id for slug in slugs],
        }  # fmt: skip
        event = Event(spec.job_id, "reported", now(), "", fields)
        refused = record(root, [event], {spec.job_id: list(values.values())})
    if refused:
        raise refused[spec.job_id]


def task_of(root: Path, spec: Spec) -> Task:
    """Return the task of one job, which reads the newest version of the warehouse."""
    algorithms = known_algorithms(root, all_versions=True)
    attempt = jobs.states(root, [spec.job_id])[spec.job_id].attempt
    tasks = tasks_of(
        root, delta.snapshot(root).version, [spec], {spec.job_id: attempt}, algorithms,
        known_interfaces(root), known_sockets(root),
    )  # fmt: skip
    if not tasks:
        raise AlgorithmError("the job cannot be read")
    return tasks[0]
