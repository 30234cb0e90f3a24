"""Prepare evaluations: jobs that compare the outputs of an algorithm with a reference.

In: a method (an algorithm of kind ``evaluation``), the jobs of an algorithm, and the author of the
reference values. Out: an evaluation job, whose input has ``predictions.json``, the outputs of each
job below ``<job>/output/``, and the reference for its case below ``ground_truth/<job>/``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.algorithms import jobs
from warehouse.algorithms.jobs import Case, Event, Input, record, spec_of
from warehouse.algorithms.states import FAILED, QUEUED, REQUEUED, SUCCEEDED, statuses
from warehouse.catalog.connect import open_catalog
from warehouse.components import ledger
from warehouse.components.checking import now
from warehouse.components.socket_store import known_sockets
from warehouse.components.values import Given, add_values
from warehouse.counted import counted
from warehouse.errors import AlgorithmError, JobRefused
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from warehouse.algorithms.registry import Algorithm
    from warehouse.components.sockets import Socket

PREDICTIONS = "predictions-json-file"
TRUTH = "ground_truth"


@dataclass(frozen=True, slots=True)
class Prepared:
    """An evaluation that is ready to run, or that has failed already."""

    job_id: str
    case: Case | None
    why_not: str | None


def prepare(
    root: Path, method: Algorithm, algorithm: Algorithm, *, truth: str | None = None
) -> Prepared:
    """Store ``predictions.json`` of an algorithm, and return the evaluation job to run.

    Parameters
    ----------
    root
        Folder of a warehouse.
    method
        An algorithm of kind ``evaluation`` that takes ``predictions-json-file``.
    algorithm
        The algorithm whose newest job of each case is evaluated.
    truth
        ``added_by`` of the reference values, of the same sockets and series as the outputs. None if
        the method has an archive with the ground truth, at ``/opt/ml/input/data/ground_truth``.

    Returns
    -------
    Prepared
        Without a case if a job of the algorithm failed or was cancelled: the evaluation fails too,
        and jobs that have not started are cancelled.

    Raises
    ------
    AlgorithmError
        The method is not of kind ``evaluation``, there are no jobs, cases were last run by another
        version of the algorithm, or the reference for a case is missing.
    JobRefused
        Jobs have not ended; the evaluation is stored as waiting.
    """
    if method.kind != "evaluation":
        raise AlgorithmError(f"{method.algorithm} is not of kind evaluation")
    if truth is None and method.model_id is None:
        raise AlgorithmError(
            f"{method.algorithm} has no ground truth; name the author of the reference values "
            "(truth), or import an archive with model add --ground-truth"
        )
    catalog = open_catalog(root)
    rows = ledger.dictionaries(
        catalog.connection, statement("predictions", "components"), algorithm.algorithm, truth
    )
    if not rows:
        raise AlgorithmError(f"{algorithm.algorithm} has no jobs to evaluate; run it first")
    others = sorted({row["algorithm_version"] for row in rows} - {algorithm.version})
    if others:
        count = sum(row["algorithm_version"] in others for row in rows)
        raise AlgorithmError(
            f"{count} of {len(rows)} cases of {algorithm.algorithm} were last run by version "
            f"{', '.join(map(str, others))}, not {algorithm.version}; run them again, or name the "
            f"version: {algorithm.algorithm}@{others[-1]}"
        )
    unfinished = [row for row in rows if row["status"] != SUCCEEDED]
    if unfinished:
        return _wait_or_fail(root, method, algorithm, unfinished)
    without_truth = [row for row in rows if truth is not None and not row["truth_slugs"]]
    if without_truth:
        raise AlgorithmError(
            f"{truth!r} has no reference values for {len(without_truth)} of {len(rows)} cases"
        )
    sockets = known_sockets(root)
    entries = [_prediction(row, sockets) for row in rows]
    (added,) = add_values(root, [Given(PREDICTIONS, entries, added_by=method.algorithm)])
    inputs = [Input(PREDICTIONS, added.value_id)]
    for row in rows:
        groups = (
            ("output", row["output_slugs"], row["output_values"], f"{row['job_id']}/output/"),
            (
                "truth",
                row["truth_slugs"] or [],
                row["truth_values"] or [],
                f"{TRUTH}/{row['job_id']}/",
            ),
        )
        for _, slugs, values, prefix in groups:
            inputs += [
                Input(slug, value, prefix=prefix) for slug, value in zip(slugs, values, strict=True)
            ]
    item = f"{algorithm.algorithm}@{algorithm.version}"
    case = Case(method.interfaces[0], tuple(inputs), None, item)
    job_id = spec_of(method, case).job_id
    _end_waiting(root, method, item, job_id)
    return Prepared(job_id, case, None)


def _end_waiting(root: Path, method: Algorithm, item: str, job_id: str) -> None:
    """Cancel evaluations that waited for jobs and are replaced by a newer one."""
    rows = open_catalog(root).connection.execute(
        statement("waiting_evaluations", "components"), [method.algorithm, item, job_id]
    ).fetchall()  # fmt: skip
    text = {"error_message": f"replaced by evaluation {job_id}"}
    record(root, [Event(waiting, "cancelled", now(), "", text) for (waiting,) in rows])


def _wait_or_fail(
    root: Path, method: Algorithm, algorithm: Algorithm, unfinished: Sequence[Mapping[str, Any]]
) -> Prepared:
    """Store the evaluation as failed if a job has failed, else as waiting.

    Raises
    ------
    JobRefused
        No job has failed, but some have not ended.
    """
    failed = [row["job_id"] for row in unfinished if statuses()[row["status"]].is_final]
    item = f"{algorithm.algorithm}@{algorithm.version}"
    waits_for = tuple(Input(PREDICTIONS, prefix=f"{row['job_id']}/output/") for row in unfinished)
    spec = spec_of(method, Case(method.interfaces[0], waits_for, None, item))
    jobs.add_jobs(root, [spec])
    state = jobs.states(root, [spec.job_id])[spec.job_id]
    _end_waiting(root, method, item, spec.job_id)
    is_queued = state.status in {QUEUED, REQUEUED}
    events = [Event(spec.job_id, "waiting", now())] if is_queued else []
    if not failed:
        record(root, events)
        raise JobRefused(
            f"{counted(len(unfinished), 'job')} of {algorithm.algorithm} must end before an "
            "evaluation; run the algorithm, then evaluate again"
        )
    reason = f"{counted(len(failed), 'job')} of {algorithm.algorithm} failed, such as {min(failed)}"
    if state.status != FAILED:
        events.append(Event(spec.job_id, "not predicted", now(), "", {"error_message": reason}))
        record(root, events)
    queued = [row["job_id"] for row in unfinished if row["status"] in {0, 2, 7}]
    text = {"error_message": "Another job of the algorithm has failed"}
    record(root, [Event(job_id, "cancelled", now(), "", text) for job_id in queued])
    return Prepared(spec.job_id, None, reason)


def _prediction(row: Mapping[str, Any], sockets: Mapping[str, Socket]) -> dict[str, Any]:
    """Return the entry of a job in ``predictions.json``."""
    job_id = row["job_id"]
    inputs = [
        _socket_value(sockets[slug], value or series, None, series is not None)
        for slug, value, series in zip(
            row["input_slugs"], row["input_values"], row["input_series"], strict=True
        )
    ]
    outputs = [
        _socket_value(sockets[slug], value, text, sockets[slug].of_kind.is_image)
        for slug, value, text in zip(
            row["output_slugs"], row["output_values"], row["output_texts"], strict=True
        )
    ]
    return {
        "pk": job_id, "url": "", "api_url": "", "algorithm_image": row["image_id"] or "",
        "series": row["series_key"], "inputs": inputs, "outputs": outputs, "status": "Succeeded",
        "rendered_result_text": "", "exec_duration": _iso(row["exec_seconds"]),
        "invoke_duration": _iso(row["invoke_seconds"]),
    }  # fmt: skip


def _socket_value(socket: Socket, pk: str, text: str | None, is_image: bool) -> dict[str, Any]:
    """Return the entry of an input or output in ``predictions.json``."""
    described = socket.serialized()
    is_value = text is not None
    return {
        "socket": described, "interface": described,
        "value": json.loads(text) if text is not None else None,
        "file": None if is_value or is_image else socket.relative_path,
        "image": {"pk": pk, "name": pk} if is_image else None, "pk": pk,
    }  # fmt: skip


def _iso(seconds: float | None) -> str | None:
    """Return a duration in ISO 8601, as in the API of Grand Challenge.

    >>> _iso(61.5)
    'P0DT00H01M01.500000S'
    >>> _iso(59.9999999)
    'P0DT00H01M00.000000S'
    """
    if seconds is None:
        return None
    whole, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"P{days}DT{hours:02}H{minutes:02}M{rest:02}.{microseconds:06}S"
