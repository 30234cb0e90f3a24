"""Jobs that a person asks for, and jobs that somebody outside executes.

In: values by socket, or what was found outside. Out: events. A person's job is checked first: its
sockets are those of one interface, and its values are what the sockets take. A job that was claimed
is reported with a signature, within a day: later it is cancelled, and a late report is refused.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from warehouse.algorithms import jobs
from warehouse.algorithms.cases import require_complete
from warehouse.algorithms.jobs import Case, Event, Input, Spec, record, spec_of
from warehouse.algorithms.output_folder import collected
from warehouse.algorithms.registry import interfaces_of, known_algorithms
from warehouse.algorithms.states import CLAIMED
from warehouse.algorithms.tasks import Done, Task, tasks_of
from warehouse.components import ledger
from warehouse.components.checking import now, recheck
from warehouse.components.interfaces import chosen, known_interfaces
from warehouse.components.socket_store import known_sockets
from warehouse.errors import AlgorithmError, JobRefused, OutputRefused
from warehouse.store import delta, locks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from warehouse.algorithms.registry import Algorithm

REPORT_SECONDS = 86_400
"""How long somebody outside may take for a job that was claimed."""


def submit(
    root: Path, algorithm: Algorithm, values: Mapping[str, str | None], *,
    series: Mapping[str, str] | None = None, by: str = "",
) -> Spec:  # fmt: skip
    """Make one job of values and series.

    Parameters
    ----------
    root, algorithm
        Folder of a warehouse, and what is run.
    values
        Socket → id of a value; None for one that may be null.
    series
        Socket → series of the archive.
    by
        Who asks; a person may have 16 active jobs.

    Returns
    -------
    Spec
        The job: queued, or cancelled because an input is not what its socket takes.

    Raises
    ------
    ComponentError
        No interface takes exactly these sockets; the message names those there are.
    JobRefused
        There is such a job, or there are too many active ones.
    """
    given = dict(series or {})
    sockets = known_sockets(root)
    interface = chosen(interfaces_of(root, algorithm), [*values, *given])
    provided = {slug: value is not None for slug, value in values.items()}
    require_complete(interface, sockets, provided | dict.fromkeys(given, True))
    inputs = [Input(slug, value) for slug, value in values.items() if value is not None]
    inputs += [Input(slug, series_key=key) for slug, key in given.items()]
    about = next(iter(given.values())) if len(given) == 1 else None
    if algorithm.matching:
        about = given.get(algorithm.matching[0][0])
    case = Case(interface.interface_id, tuple(inputs), about)
    (made,) = jobs.add_jobs(root, [spec_of(algorithm, case, by=by)], as_system=False)
    details = _wrong(root, made)
    fields: dict[str, Any] = {}
    if details:
        fields["error_message"] = "One or more of the inputs failed validation."
        fields["detailed_error_message"] = details
    record(root, [Event(made.job_id, "refused" if details else "validated", now(), by, fields)])
    return made


def _wrong(root: Path, spec: Spec) -> dict[str, str]:
    """Return what is wrong with the inputs of a job, by title of their sockets."""
    sockets = known_sockets(root)
    wanted = [value for value in spec.input_values if value]
    with ledger.connected(root) as connection:
        rows = ledger.dictionaries(
            connection,
            "select value_id, slug, form, value, sha256, size_in_storage from socket_values "
            "where value_id in (select unnest($1))", wanted,
        )  # fmt: skip
    found = {row["value_id"]: row for row in rows}
    details = {}
    for given in spec.inputs:
        if not given.value_id:
            continue
        row, socket = found.get(given.value_id), sockets[given.slug]
        if row is None or row["slug"] != given.slug:
            details[socket.title] = "there is no such value of the socket"
        elif why := recheck(root, socket, row).why_not:
            details[socket.title] = why
    return details


# -- executed outside -----------------------------------------------------------------------------


def signature_of(body: bytes, signing_key: str) -> str:
    """Return the signature of a result: HMAC-SHA256, as hex digits."""
    return hmac.new(bytes.fromhex(signing_key), body, hashlib.sha256).hexdigest()


def require_signed(body: bytes, signature: str, spec: Spec) -> dict[str, Any]:
    """Return the result that somebody signed with the key of a job.

    Raises
    ------
    OutputRefused
        The signature is another one, or the result that of another job.
    """
    expected = signature_of(body, spec.signing_key).encode()
    if not hmac.compare_digest(expected, signature.encode("utf-8", "replace")):
        raise OutputRefused("the signature of the result is not that of its content")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or spec.job_id not in str(found.get("pk", "")):
        raise OutputRefused("the result is not that of the job")
    code = found.setdefault("return_code", 1)
    if type(code) is not int or not -(2**31) <= code < 2**31:
        raise OutputRefused("return_code of the result is no whole number")
    for name in ("exec_duration", "invoke_duration"):
        seconds = found.get(name)
        if seconds is None:
            continue
        if type(seconds) not in {int, float} or not 0 <= seconds < math.inf:
            raise OutputRefused(f"{name} of the result is no number of seconds")
    return found


def claim(root: Path, job_id: str, *, by: str = "") -> Spec:
    """Take a job that is executed outside; the key of its ``Spec`` signs the result.

    Raises
    ------
    UnknownJob, TransitionRefused
    JobRefused
        Its algorithm is executed here.
    """
    expire(root)
    spec = jobs.find_job(root, job_id)
    algorithm = known_algorithms(root, all_versions=True)[
        f"{spec.algorithm}@{spec.algorithm_version}"
    ]
    if algorithm.api_method != "external":
        raise JobRefused(f"jobs of {spec.algorithm} are executed here; dicom-warehouse run does it")
    jobs.happen(root, spec.job_id, "claimed", by=by)
    return spec


def expire(root: Path, at: dt.datetime | None = None) -> list[str]:
    """Cancel the claimed jobs that nobody has reported in time; return their ids."""
    with ledger.connected(root, None, ("job_events",)) as connection:
        rows = connection.execute(
            "select job_id from job_events group by job_id having arg_max(status, event) = $1 "
            "and max(happened_at) < $2",
            [CLAIMED, (at or now()) - dt.timedelta(seconds=REPORT_SECONDS)],
        ).fetchall()
    late = [row[0] for row in rows]
    if late:
        text = "Time limit exceeded: nobody reported the job in time"
        fields = {"error_message": text}
        record(root, [Event(job_id, "expired", now(), "", fields) for job_id in late])
    return late


def report(root: Path, job_id: str, body: bytes, signature: str, outputs: Path) -> None:
    """Bring the outputs of a job that was claimed.

    Parameters
    ----------
    root
        Folder of a warehouse.
    job_id
        The job.
    body
        JSON with ``pk`` (the job), ``return_code``, and maybe ``exec_duration``,
        ``invoke_duration`` (seconds) and ``error_message``.
    signature
        Of the body, see ``signature_of``.
    outputs
        Folder with the outputs, as an algorithm leaves them.

    Raises
    ------
    OutputRefused
        The signature is wrong, or an output is missing or not what its socket takes.
    TransitionRefused
        The job was not claimed, or it is too late.
    """
    expire(root)
    spec = jobs.find_job(root, job_id)
    found = require_signed(body, signature, spec)
    fields: dict[str, Any] = {
        "runner": "external", "exit_code": found["return_code"],
        "exec_seconds": found.get("exec_duration"), "invoke_seconds": found.get("invoke_duration"),
    }  # fmt: skip
    if fields["exit_code"] != 0:
        fields["error_message"] = str(found.get("error_message") or "it failed outside")
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
    """Return the task of one job, of the newest version of the warehouse."""
    algorithms = known_algorithms(root, all_versions=True)
    attempt = jobs.states(root, [spec.job_id])[spec.job_id].attempt
    found = tasks_of(
        root, delta.snapshot(root).version, [spec], {spec.job_id: attempt}, algorithms,
        known_interfaces(root), known_sockets(root),
    )  # fmt: skip
    if not found:
        raise AlgorithmError("the job cannot be read")
    return found[0]
