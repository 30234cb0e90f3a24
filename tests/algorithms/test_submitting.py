"""Jobs that people ask for, jobs that somebody outside executes, and evaluations."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import warehouse
from tests.algorithms.conftest import CT, CT2, function
from warehouse.algorithms import jobs, metrics, submitting
from warehouse.algorithms.mha import write_array
from warehouse.algorithms.submitting import REPORT_SECONDS, expire, signature_of
from warehouse.components.checking import now
from warehouse.errors import (
    AlgorithmError,
    ComponentError,
    JobRefused,
    OutputRefused,
    TransitionRefused,
    UsageError,
)


def label(wh: warehouse.Warehouse, job_id: str) -> str:
    wh.refresh()
    return wh.sql("select label from jobs where job_id = $1", [job_id]).fetchall()[0][0]


@pytest.mark.acceptance("G52")
def test_a_job_that_was_asked_for_waits_and_is_asked_for_once(wh: warehouse.Warehouse) -> None:
    parts = wh.algorithms
    parts.create("grow", "age -> voxel-count", function=function("by_age"))
    age, mode = (
        wh.components.add_value(slug, value).value_id
        for slug, value in (("age", 41), ("mode", "x"))
    )
    job = parts.submit("grow", {"age": age}, by="me")
    with pytest.raises(JobRefused, match="same algorithm and inputs"):
        parts.submit("grow", {"age": age}, by="you")
    with pytest.raises(ComponentError, match="age"):
        parts.submit("grow", {"mode": mode})
    bad = parts.submit("grow", {"age": mode})
    wh.refresh()
    labels = dict(wh.sql("select job_id, label from jobs").fetchall())
    assert labels == {job.job_id: "Queued", bad.job_id: "Cancelled"}


@pytest.mark.long("test_a_job_that_was_asked_for_waits_and_is_asked_for_once")
@pytest.mark.acceptance("G52")
@pytest.mark.acceptance("G59")
def test_a_person_asks_for_a_job(wh: warehouse.Warehouse) -> None:
    parts = wh.algorithms
    parts.create(
        "grow", "age -> voxel-count", "age, mode -> voxel-count", function=function("by_age")
    )
    age, mode = (
        wh.components.add_value(slug, value).value_id
        for slug, value in (("age", 41), ("mode", "x"))
    )
    job = parts.submit("grow", {"age": age}, by="me")
    assert label(wh, job.job_id) == "Queued"
    states = wh.sql("select label from job_times order by event").fetchall()
    assert states == [("Validating inputs",), ("Queued",)]
    with pytest.raises(JobRefused, match="same algorithm and inputs"):
        parts.submit("grow", {"age": age}, by="you")
    other = parts.submit("grow", {"age": age, "mode": mode})
    assert other.interface_id != job.interface_id
    with pytest.raises(ComponentError, match="age, mode; age"):
        parts.submit("grow", {"mode": mode})
    bad = parts.submit("grow", {"age": mode})
    assert label(wh, bad.job_id) == "Cancelled"
    ((message, details),) = wh.sql(
        "select error_message, detailed_error_message from jobs where label = 'Cancelled'"
    ).fetchall()
    assert message == "One or more of the inputs failed validation."
    assert json.loads(details) == {"Age": "the socket has no value with this id"}
    report = parts.run_waiting("grow", workers=0)
    assert (report.cases, report.succeeded) == (2, 2)
    with pytest.raises(TransitionRefused, match="Succeeded"):
        parts.cancel(job.job_id)
    parts.retry(bad.job_id[:8])
    assert label(wh, bad.job_id) == "Re-Queued"
    parts.cancel(bad.job_id)
    assert label(wh, bad.job_id) == "Cancelled"


@pytest.mark.slow
@pytest.mark.acceptance("G54")
def test_a_person_has_so_many_active_jobs(
    wh: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert jobs.LIMITS == {"in all": 128, "of one algorithm": 16, "of one user": 16}
    monkeypatch.setattr(jobs, "LIMITS", {"in all": 5, "of one algorithm": 4, "of one user": 2})
    for name in ("one", "two"):
        wh.algorithms.create(name, "age -> voxel-count", function=function("by_age"))
    ids = [wh.components.add_value("age", number).value_id for number in range(5)]
    asked = [("one", 0, "a"), ("one", 1, "a"), ("one", 2, "b"), ("one", 3, "c"), ("two", 0, "d")]
    made = []
    for name, number, by in asked:
        if len(made) == 2:
            with pytest.raises(JobRefused, match="2 active jobs of one user"):
                wh.algorithms.submit("one", {"age": ids[4]}, by="a")
        made.append(wh.algorithms.submit(name, {"age": ids[number]}, by=by).job_id)
    with pytest.raises(JobRefused, match="5 active jobs in all"):
        wh.algorithms.submit("two", {"age": ids[1]}, by="e")
    wh.algorithms.cancel(made[-1])
    with pytest.raises(JobRefused, match="4 active jobs of one algorithm"):
        wh.algorithms.submit("one", {"age": ids[4]}, by="e")
    wh.algorithms.submit("two", {"age": ids[1]}, by="e")


@pytest.mark.acceptance("G54")
def test_jobs_that_are_asked_for_at_once_count_together(
    wh: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert jobs.LIMITS == {"in all": 128, "of one algorithm": 16, "of one user": 16}
    monkeypatch.setattr(jobs, "LIMITS", {"in all": 9, "of one algorithm": 9, "of one user": 2})
    made = wh.algorithms.create("one", "age -> voxel-count", function=function("by_age"))
    ids = [wh.components.add_value("age", number).value_id for number in range(3)]
    asked = [
        jobs.spec_of(
            made, jobs.Case(made.interfaces[0], (jobs.Input("age", value_id=value),)), by="a"
        )
        for value in ids
    ]
    with pytest.raises(JobRefused, match="2 active jobs of one user"):
        jobs.add_jobs(wh.root, asked, as_system=False)
    assert wh.sql("select count(*) from job_specs").fetchall() == [(0,)]
    for share in ("in all", "of one algorithm"):
        monkeypatch.setattr(jobs, "LIMITS", dict.fromkeys(jobs.LIMITS, 9) | {share: 2})
        with pytest.raises(JobRefused, match=f"2 active jobs {share}"):
            jobs.add_jobs(wh.root, asked, as_system=False)
    assert len(jobs.add_jobs(wh.root, asked[:2], as_system=False)) == 2
    with pytest.raises(JobRefused, match="2 active jobs of one algorithm"):
        jobs.add_jobs(wh.root, asked[2:], as_system=False)


@pytest.mark.acceptance("G56")
def test_only_what_is_signed_for_a_job_reports_on_it(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    parts = wh.algorithms
    parts.create("outside", "age -> voxel-count", api_method="external")
    job = parts.submit("outside", {"age": wh.components.add_value("age", 1).value_id}).job_id
    key = parts.claim(job, by="cluster").signing_key
    (tmp_path / "count.json").write_text("7")
    body = json.dumps({"pk": job, "return_code": 0, "exec_duration": 1.5}).encode()
    signed = signature_of(body, key)
    for tampered, signature in ((body + b" ", signed), (body, signed[::-1]), (body, "")):
        with pytest.raises(OutputRefused, match="signature"):
            parts.report(job, tampered, signature, tmp_path)
    other = json.dumps({"pk": "another", "return_code": 0}).encode()
    with pytest.raises(OutputRefused, match="not a JSON object of this job"):
        parts.report(job, other, signature_of(other, key), tmp_path)
    parts.report(job, body, signed, tmp_path)
    assert label(wh, job) == "Succeeded"


@pytest.mark.long("test_only_what_is_signed_for_a_job_reports_on_it")
@pytest.mark.acceptance("G48")
@pytest.mark.acceptance("G56")
def test_a_job_that_somebody_outside_executes(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    parts = wh.algorithms
    parts.create("outside", "age -> voxel-count", api_method="external")
    ids = [wh.components.add_value("age", number).value_id for number in range(4)]
    made = [
        parts.submit("outside", {"age": value}, by=f"p{n}").job_id for n, value in enumerate(ids)
    ]
    with pytest.raises(AlgorithmError, match="executed outside"):
        parts.run_waiting("outside")
    key = parts.claim(made[0], by="cluster").signing_key
    assert label(wh, made[0]) == "External Execution In Progress"
    with pytest.raises(TransitionRefused):
        parts.claim(made[0])
    (tmp_path / "count.json").write_text("7")
    body = json.dumps({"pk": made[0], "return_code": 0, "exec_duration": 1.5}).encode()
    signed = signature_of(body, key)
    for tampered, signature in ((body + b" ", signed), (body, signed[:-1] + "0"), (body, "")):
        if (tampered, signature) != (body, signed):
            with pytest.raises(OutputRefused, match="signature"):
                parts.report(made[0], tampered, signature, tmp_path)
    other = json.dumps({"pk": made[1], "return_code": 0}).encode()
    with pytest.raises(OutputRefused, match="not a JSON object of this job"):
        parts.report(made[0], other, signature_of(other, key), tmp_path)
    parts.report(made[0], body, signed, tmp_path)
    assert label(wh, made[0]) == "Succeeded"
    assert wh.sql(
        "select voxel_count from outputs('outside') where voxel_count is not null"
    ).fetchall() == [(7,)]
    # An output that is missing leaves the job as it is; a failure needs no outputs.
    failed = parts.claim(made[1])
    body = json.dumps({"pk": made[1], "return_code": 3, "error_message": "no \ud800"}).encode()
    parts.report(made[1], body, signature_of(body, failed.signing_key), tmp_path)
    assert label(wh, made[1]) == "Failed"
    query = "select error_message from jobs where job_id = $1"
    assert wh.sql(query, [made[1]]).fetchall() == [("no ?",)], "half a surrogate pair is replaced"
    # Nobody reports in a day: the clock is moved, and a late report is refused.
    late = parts.claim(made[2])
    assert expire(wh.root, now() + dt.timedelta(seconds=REPORT_SECONDS - 60)) == []
    assert expire(wh.root, now() + dt.timedelta(seconds=86_401)) == [made[2]]
    assert label(wh, made[2]) == "Cancelled"
    body = json.dumps({"pk": made[2], "return_code": 0}).encode()
    with pytest.raises(TransitionRefused, match="Cancelled"):
        parts.report(made[2], body, signature_of(body, late.signing_key), tmp_path)
    key_rows = wh.sql("select * from jobs").columns
    assert "signing_key" not in key_rows


def test_a_job_with_a_wrong_value_does_not_stop_the_others(
    wh: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = wh.algorithms
    parts.create("grow", "age -> voxel-count", function=function("by_age"))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(submitting, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            parts.submit("grow", {"age": "0" * 32})
    parts.submit("grow", {"age": wh.components.add_value("age", 2).value_id})
    wh.refresh()
    report = parts.run_waiting("grow", workers=0)
    assert (report.cases, report.succeeded, report.failed) == (2, 1, 0)


@pytest.mark.long("test_a_job_with_a_wrong_value_does_not_stop_the_others")
def test_one_job_that_cannot_be_read_does_not_stop_the_others(
    wh: warehouse.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = wh.algorithms
    parts.create("grow", "age -> voxel-count", function=function("by_age"))
    ages = [wh.components.add_value("age", n).value_id for n in (1, 2)]
    mode = wh.components.add_value("mode", "x").value_id

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    # A kill between the two commits of a submission: what is not validated is not executed.
    for value in (mode, "0" * 32, ages[0]):
        with monkeypatch.context() as patched:
            patched.setattr(submitting, "record", killed)
            with pytest.raises(KeyboardInterrupt):
                parts.submit("grow", {"age": value})
    parts.submit("grow", {"age": ages[1]})
    wh.refresh()
    report = parts.run_waiting("grow", workers=0)
    assert (report.cases, report.succeeded, report.failed) == (4, 2, 0)
    labels = "select label from jobs order by label"
    assert wh.sql(labels).fetchall() == [(n,) for n in ("Cancelled",) * 2 + ("Succeeded",) * 2]
    # A file of a value that is gone fails its job only.
    parts.create("aged", "age, ct -> voxel-count", function=function("by_age"))
    files = []
    for number, value in enumerate(ages):
        write_array(np.full((1, 2, 3), number, "u1"), np.eye(4), tmp_path / "a.mha")
        image = wh.components.add_value("ct", file=tmp_path / "a.mha").value_id
        files.append(wh.components.value_file(image))
        wh.components.put("s", str(number), {"age": value, "ct": image})
    files[0].unlink()
    report = parts.run("aged", of_set="s", workers=0)
    assert (report.succeeded, report.failed) == (1, 1)
    assert "is gone" in next(iter(report.failures.values()))


@pytest.mark.acceptance("G55")
def test_an_evaluation_of_one_series(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    parts = wh.algorithms
    parts.create("segment", "ct -> mask", function=function("segment"))
    parts.create(
        "overlap", "predictions-json-file -> metrics-json-file", kind="evaluation",
        function="warehouse.algorithms.methods:segmentation",
    )  # fmt: skip
    parts.run("segment", [CT], workers=0)
    truth = np.zeros((3, 4, 5), "u1")
    truth[1:] = 1
    volume = wh.volume(CT)
    write_array(truth, volume.affine, tmp_path / "truth.mha")
    wh.add_value("mask", file=tmp_path / "truth.mha", series=CT, by="reader")
    assert parts.evaluate("overlap", "segment", truth="reader").succeeded == 1
    found = volume[:] > volume[:].mean()
    (dice,) = wh.sql("""
        select cast(value -> '$.aggregates.dice.mean' as double)
        from job_outputs join jobs using (job_id) where kind = 'evaluation'
    """).fetchall()
    assert dice[0] == pytest.approx(2 * (found & (truth > 0)).sum() / (found.sum() + truth.sum()))


@pytest.mark.long("test_an_evaluation_of_one_series")
@pytest.mark.acceptance("G55")
def test_an_evaluation_of_a_cohort(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    parts = wh.algorithms
    parts.create("segment", "ct -> mask", function=function("segment"))
    parts.create(
        "overlap", "predictions-json-file -> metrics-json-file", kind="evaluation",
        function="warehouse.algorithms.methods:segmentation",
    )  # fmt: skip
    with pytest.raises(AlgorithmError, match="no jobs"):
        parts.evaluate("overlap", "segment", truth="reader")
    parts.run("segment", [CT, CT2], workers=0)
    with pytest.raises(AlgorithmError, match="'reader' has no reference values for 2 of 2"):
        parts.evaluate("overlap", "segment", truth="reader")
    expected = {}
    for series in (CT, CT2):
        volume = wh.volume(series)
        truth = np.zeros((3, 4, 5), "u1")
        truth[1:] = 1
        truth[1, 0] = 0
        write_array(truth, volume.affine, tmp_path / f"{series}.mha")
        wh.add_value("mask", file=tmp_path / f"{series}.mha", series=series, by="reader")
        found = volume[:] > volume[:].mean()
        expected[series] = 2 * (found & (truth > 0)).sum() / (found.sum() + truth.sum())
    assert parts.evaluate("overlap", "segment", truth="reader").succeeded == 1
    # A leaderboard is a query.
    board = wh.sql("""
        select item, asked_for, cast(value -> '$.aggregates.dice.mean' as double), value
        from jobs join job_outputs using (job_id) where kind = 'evaluation'
    """).fetchall()
    assert [row[:2] for row in board] == [("segment@1", "reader")]
    assert np.isclose(board[0][2], np.mean(list(expected.values())))
    results = json.loads(board[0][3])["results"]
    by_job = dict(wh.sql("select job_id, series_key from jobs where kind = 'algorithm'").fetchall())
    assert {by_job[each["job"]]: each["dice"] for each in results} == pytest.approx(expected)
    assert all(each["hausdorff_95_mm"] >= 0 for each in results)
    # predictions.json is a value: the jobs with their outputs, and what they took.
    ((text, prefixes),) = wh.sql("""
        select any_value(socket_values.value), list(distinct prefix order by prefix)
        from job_inputs join jobs using (job_id) left join socket_values using (value_id)
        where kind = 'evaluation' and status = 4
    """).fetchall()
    predictions = wh.components.value(
        wh.sql(
            "select value_id from socket_values where slug = 'predictions-json-file'"
        ).fetchall()[0][0]
    )
    assert {each["pk"] for each in predictions} == set(by_job)
    assert predictions[0]["outputs"][0]["socket"]["slug"] == "mask"
    assert predictions[0]["status"] == "Succeeded"
    for job_id in by_job:
        assert {f"{job_id}/output/", f"ground_truth/{job_id}/"} <= set(prefixes)
    assert text
    # Done is done; with another truth it is another evaluation.
    assert parts.evaluate("overlap", "segment", truth="reader").done_before == 1
    # What the reader says about one image is no reference for its series.
    (instance,) = wh.sql(
        "select min(instance_key) from instances where series_key = $1", [CT]
    ).fetchall()[0]
    wh.add_value("mask", file=tmp_path / f"{CT2}.mha", instance=instance, by="reader")
    assert parts.evaluate("overlap", "segment", truth="reader").done_before == 1
    # Equal voxels elsewhere, or in another direction, are not the same part of the patient.
    for by, affine in (("aside", np.array(volume.affine)), ("turned", np.array(volume.affine))):
        if by == "aside":
            affine[0, 3] += 5
        else:
            affine[:3, 0] *= -1
        write_array(truth, affine, tmp_path / f"{by}.mha")
        for series in (CT, CT2):
            wh.add_value("mask", file=tmp_path / f"{by}.mha", series=series, by=by)
        report = parts.evaluate("overlap", "segment", truth=by)
        assert (report.succeeded, report.failed) == (0, 1)
        assert "are on different grids" in next(iter(report.failures.values()))


def test_a_failed_job_fails_the_evaluation(wh: warehouse.Warehouse) -> None:
    parts = wh.algorithms
    parts.create("measure", "ct -> mean-value, voxel-count", function=function("measure"))
    parts.create(
        "right", "predictions-json-file -> metrics-json-file", kind="evaluation",
        function="warehouse.algorithms.methods:classification",
    )  # fmt: skip
    parts.run("measure", [CT, "1.2.40"], workers=0)
    with pytest.raises(AlgorithmError, match="1 job of measure failed"):
        parts.evaluate("right", "measure", truth="reader")
    rows = wh.sql(
        "select what, job_times.label from job_times join jobs using (job_id) where kind = 'evaluation' order by event"
    ).fetchall()
    assert rows == [
        ("created by system", "Queued"),
        ("waiting", "Executing Algorithm"),
        ("not predicted", "Failed"),
    ]
    (failed,) = wh.sql("select job_id from jobs where series_key = '1.2.40'").fetchall()
    assert wh.sql(
        "select value_id, job_inputs.series_key, prefix from job_inputs join jobs using (job_id) where kind = 'evaluation'"
    ).fetchall() == [(None, None, f"{failed[0]}/output/")]
    # Asked for again, it is not left in the queue.
    (evaluation,) = wh.sql("select job_id from jobs where kind = 'evaluation'").fetchall()
    parts.retry(evaluation[0])
    with pytest.raises(AlgorithmError, match="1 job of measure failed"):
        parts.evaluate("right", "measure", truth="reader")
    assert wh.sql("select label from jobs where kind = 'evaluation'").fetchall() == [("Failed",)]


def test_metrics_equal_what_is_computed_otherwise() -> None:
    import SimpleITK

    rng = np.random.default_rng(3)
    a, b = (rng.random((6, 9, 8)) > 0.6 for _ in range(2))
    spacing = (2.0, 0.5, 0.75)
    images = []
    for mask in (a, b):
        image = SimpleITK.GetImageFromArray(mask.astype("u1"))
        image.SetSpacing(spacing[::-1])
        images.append(image)
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images)
    assert metrics.dice(a, b) == pytest.approx(overlap.GetDiceCoefficient())
    assert metrics.volume_difference_ml(a, b, spacing) == pytest.approx(
        (a.sum() - b.sum()) * 0.75 / 1000
    )

    # Brute force: every voxel of one surface against every one of the other.
    def surface(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1)
        inner = padded.copy()
        for axis in range(3):
            for step in (-1, 1):
                inner &= np.roll(padded, step, axis)
        return np.argwhere(mask & ~inner[1:-1, 1:-1, 1:-1]) * spacing

    distances = np.linalg.norm(surface(a)[:, None] - surface(b)[None], axis=2)
    expected = max(np.percentile(distances.min(0), 95), np.percentile(distances.min(1), 95))
    assert metrics.hausdorff_95_mm(a, b, spacing) == pytest.approx(expected)
    # And SimpleITK: its contours, and its distance map from each.
    contours = [SimpleITK.BinaryContour(image, fullyConnected=False) for image in images]
    both = []
    for mine, other in (contours, contours[::-1]):
        distance = SimpleITK.SignedMaurerDistanceMap(
            other, squaredDistance=False, useImageSpacing=True, insideIsPositive=False
        )
        near = np.abs(SimpleITK.GetArrayFromImage(distance))
        both.append(np.percentile(near[SimpleITK.GetArrayFromImage(mine) > 0], 95))
    assert metrics.hausdorff_95_mm(a, b, spacing) == pytest.approx(max(both), rel=1e-5)
    measured = SimpleITK.LabelShapeStatisticsImageFilter()
    volumes = [measured.Execute(image) or measured.GetPhysicalSize(1) for image in images]
    assert metrics.volume_difference_ml(a, b, spacing) == pytest.approx(
        (volumes[0] - volumes[1]) / 1000
    )
    empty = np.zeros_like(a)
    assert metrics.dice(empty, empty) is None
    assert metrics.hausdorff_95_mm(a, empty, spacing) is None
    # By hand: 2 of 4 pairs in order, one tie.
    assert metrics.auc([0.2, 0.7, 0.7, 0.9], [False, False, True, True]) == pytest.approx(3.5 / 4)
    assert metrics.auc([0.1], [True]) is None
    # Every pair of one that is and one that is not: in order, or half of it.
    scores, is_true = rng.integers(0, 5, 60) / 4, rng.random(60) > 0.4
    pairs = [(s, t) for s in scores[is_true] for t in scores[~is_true]]
    counted = sum((s > t) + (s == t) / 2 for s, t in pairs) / len(pairs)
    assert metrics.auc(list(scores), list(is_true)) == pytest.approx(counted)
    predicted, true = rng.integers(0, 3, 50).tolist(), rng.integers(0, 3, 50).tolist()
    cells = Counter(zip(true, predicted, strict=True))
    assert metrics.confusion_matrix(predicted, true) == (
        [0, 1, 2], [[cells[row, column] for column in range(3)] for row in range(3)],
    )  # fmt: skip
    assert metrics.confusion_matrix([1, 0, 1, 1], [1, 0, 0, 1]) == ([0, 1], [[1, 1], [0, 2]])
    with pytest.raises(UsageError, match="is no class"):
        metrics.confusion_matrix([["a"]], [["a"]])
    with pytest.raises(UsageError, match="is no number"):
        metrics.auc(["high", {}], [True, False])
