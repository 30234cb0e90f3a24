"""Evaluations: run a method over the jobs of an algorithm, and store its metrics as values.

In: a method, which is an algorithm of kind ``evaluation``, the jobs of an algorithm, and who said
the truth. Out: an evaluation job, whose input holds ``predictions.json``, the outputs of each job
below ``<job>/output/``, and the truth about its case below ``ground_truth/<job>/``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.algorithms import jobs
from warehouse.algorithms.jobs import Case, Event, Input, record, spec_of
from warehouse.algorithms.states import FAILED, SUCCEEDED, statuses
from warehouse.catalog.connect import open_catalog
from warehouse.components import ledger
from warehouse.components.checking import now
from warehouse.components.socket_store import known_sockets
from warehouse.components.values import Given, add_values
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
    """An evaluation that can be run, or has failed already."""

    job_id: str
    case: Case | None
    why_not: str | None


def prepare(
    root: Path, method: Algorithm, algorithm: Algorithm, *, truth: str | None = None
) -> Prepared:
    """Gather the predictions of an algorithm, and the truth about them.

    Parameters
    ----------
    root
        Folder of a warehouse.
    method
        An algorithm of kind ``evaluation`` that takes ``predictions-json-file``.
    algorithm
        Whose newest job of each case is evaluated.
    truth
        Who said the truth (``added_by``), by the same sockets, about the same series. None if the
        method has the truth, as an archive that it finds in ``/opt/ml/input/data/ground_truth``.

    Returns
    -------
    Prepared
        The evaluation fails if a job has failed: jobs of the algorithm that still wait are then
        cancelled. If jobs still run, it waits.

    Raises
    ------
    AlgorithmError
        The method is none, there are no jobs, cases were run by another version of the algorithm,
        or the truth about one is missing.
    """
    if method.kind != "evaluation":
        raise AlgorithmError(f"{method.algorithm} is no method of evaluation")
    if truth is None and method.model_id is None:
        raise AlgorithmError(
            f"{method.algorithm} has no ground truth; say whose values are the truth, or import "
            "one with model add --ground-truth"
        )
    catalog = open_catalog(root)
    rows = ledger.dictionaries(
        catalog.connection, statement("predictions", "components"), algorithm.algorithm, truth
    )
    if not rows:
        raise AlgorithmError(f"no jobs of {algorithm.algorithm} are there to be evaluated")
    others = sorted({row["algorithm_version"] for row in rows} - {algorithm.version})
    if others:
        count = sum(row["algorithm_version"] in others for row in rows)
        raise AlgorithmError(
            f"{count} of {len(rows)} cases of {algorithm.algorithm} were last run by version "
            f"{', '.join(map(str, others))}, not {algorithm.version}; run them again, or name the "
            f"version: {algorithm.algorithm}@{others[-1]}"
        )
    bad = [row for row in rows if row["status"] != SUCCEEDED]
    if bad:
        return _not_predicted(root, method, algorithm, bad)
    without = [row for row in rows if truth is not None and not row["truth_slugs"]]
    if without:
        raise AlgorithmError(
            f"{truth or 'nobody'} said nothing about {len(without)} of {len(rows)} cases"
        )
    sockets = known_sockets(root)
    entries = [_serialized(row, sockets) for row in rows]
    (added,) = add_values(root, [Given(PREDICTIONS, entries, added_by=method.algorithm)])
    inputs = [Input(PREDICTIONS, added.value_id)]
    for row in rows:
        pairs = (
            ("output", row["output_slugs"], row["output_values"], f"{row['job_id']}/output/"),
            (
                "truth",
                row["truth_slugs"] or [],
                row["truth_values"] or [],
                f"{TRUTH}/{row['job_id']}/",
            ),
        )
        for _, slugs, values, prefix in pairs:
            inputs += [
                Input(slug, value, prefix=prefix) for slug, value in zip(slugs, values, strict=True)
            ]
    item = f"{algorithm.algorithm}@{algorithm.version}"
    case = Case(method.interfaces[0], tuple(inputs), None, item)
    return Prepared(spec_of(method, case).job_id, case, None)


def _not_predicted(
    root: Path, method: Algorithm, algorithm: Algorithm, bad: Sequence[Mapping[str, Any]]
) -> Prepared:
    """Let an evaluation wait, or fail if a job has failed."""
    failed = [row["job_id"] for row in bad if statuses()[row["status"]].is_final]
    item = f"{algorithm.algorithm}@{algorithm.version}"
    waits_for = tuple(Input(PREDICTIONS, series_key=row["job_id"]) for row in bad)
    spec = spec_of(method, Case(method.interfaces[0], waits_for, None, item))
    jobs.add_jobs(root, [spec])
    state = jobs.states(root, [spec.job_id])[spec.job_id]
    events = [] if state.status else [Event(spec.job_id, "waiting", now())]
    if not failed:
        record(root, events)
        raise JobRefused(
            f"{len(bad)} jobs of {algorithm.algorithm} have not ended; run them first: evaluation "
            f"{spec.job_id} waits"
        )
    why = f"{len(failed)} jobs of {algorithm.algorithm} have failed, such as {min(failed)}"
    if state.status != FAILED:
        events.append(Event(spec.job_id, "not predicted", now(), "", {"error_message": why}))
        record(root, events)
    queued = [row["job_id"] for row in bad if row["status"] in {0, 2, 7}]
    text = {"error_message": "Another job of the algorithm has failed"}
    record(root, [Event(job_id, "cancelled", now(), "", text) for job_id in queued])
    return Prepared(spec.job_id, None, why)


def _serialized(row: Mapping[str, Any], sockets: Mapping[str, Socket]) -> dict[str, Any]:
    """Return a job as ``predictions.json`` has it."""
    job_id = row["job_id"]
    inputs = [
        _entry(sockets[slug], value or series, None, series is not None)
        for slug, value, series in zip(
            row["input_slugs"], row["input_values"], row["input_series"], strict=True
        )
    ]
    outputs = [
        _entry(sockets[slug], value, text, sockets[slug].of_kind.is_image)
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


def _entry(socket: Socket, pk: str, text: str | None, is_image: bool) -> dict[str, Any]:
    described = socket.serialized()
    is_value = text is not None
    return {
        "socket": described, "interface": described,
        "value": json.loads(text) if text is not None else None,
        "file": None if is_value or is_image else socket.relative_path,
        "image": {"pk": pk, "name": pk} if is_image else None, "pk": pk,
    }  # fmt: skip


def _iso(seconds: float | None) -> str | None:
    """Return a duration as Grand Challenge's API writes it.

    >>> _iso(61.5)
    'P0DT00H01M01.500000S'
    """
    if seconds is None:
        return None
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    days, hours = divmod(hours, 24)
    return f"P{days}DT{hours:02}H{minutes:02}M{rest:09.6f}S"
