"""A job that somebody outside executes, as a folder that is mounted there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import warehouse
from tests.algorithms.conftest import CT, DX
from tests.command_line import run
from warehouse.errors import AlgorithmError, OutputRefused, TransitionRefused


def test_a_job_goes_out_and_comes_back_as_a_folder(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    parts = wh.algorithms
    parts.create("outside", "ct -> voxel-count", api_method="external")
    parts.queue("outside", [CT, DX])
    jobs = dict(wh.sql("select series_key, job_id from jobs").fetchall())
    w, folder = ("-w", wh.root), tmp_path / "work"
    done = run("job", "claim", jobs[CT], "--folder", folder, "--by", "pod", *w)
    assert (done.returncode, "its inputs are in" in done.stdout) == (0, True)
    assert "signing_key" not in done.stdout
    # Anybody may read the inputs and write outputs; the key is for who reports.
    assert json.loads((folder / "input/inputs.json").read_text())[0]["socket"]["slug"] == "ct"
    assert (folder / "output").stat().st_mode & 0o777 == 0o777
    assert (folder / "job.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(AlgorithmError, match="not empty"):
        parts.claim(jobs[CT], folder=folder)
    with pytest.raises(TransitionRefused, match="Progress"):
        parts.claim(jobs[CT], folder=tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []  # another job can be claimed to it
    # Outputs that are not there leave the job as it is.
    with pytest.raises(OutputRefused, match="not produced"):
        parts.report_from(folder)
    (folder / "output" / "count.json").write_text("60")
    assert run("job", "report", "--folder", folder, *w).stdout == "reported\n"
    wh.refresh()
    assert wh.sql(
        "select voxel_count from outputs('outside') where series_key = $1", [CT]
    ).fetchall() == [(60,)]
    with pytest.raises(TransitionRefused, match="Succeeded"):
        parts.report_from(folder)
    # A film is no volume: the job has failed, and says so.
    with pytest.raises(AlgorithmError, match="an input cannot be written"):
        parts.claim(jobs[DX], folder=tmp_path / "dx")
    wh.refresh()
    ((message, details),) = wh.sql(
        "select error_message, detailed_error_message from jobs where label = 'Failed'"
    ).fetchall()
    assert "is not a volume" in message
    assert list(json.loads(details)) == ["CT"]
    for given in (
        (),
        ("--folder", tmp_path),
        ("--folder", folder, "--signature", "00"),
        (jobs[CT],),
    ):
        assert run("job", "report", *given, *w).returncode in {1, 2}, given


def test_who_executed_it_says_that_it_failed(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    parts = wh.algorithms
    parts.create("outside", "ct -> voxel-count", api_method="external")
    parts.queue("outside", [CT])
    ((job,),) = wh.sql("select job_id from jobs").fetchall()
    # Also what no pod has claimed, since none could start.
    parts.report_failed(job, "the pod has not begun")
    assert wh.sql("select label, error_message from jobs").fetchall() == [
        ("Failed", "the pod has not begun")
    ]
    with pytest.raises(TransitionRefused, match="Failed"):
        parts.report_failed(job, "again")
    parts.retry(job)
    parts.claim(job, folder=tmp_path / "a")
    parts.report_from(tmp_path / "a", return_code=3, error="no GPU")
    assert wh.sql("select label, error_message, exit_code from jobs").fetchall() == [
        ("Failed", "no GPU", 3)
    ]
    parts.retry(job)
    parts.claim(job, folder=tmp_path / "b")
    parts.report_failed(job, "the pod is gone")
    assert wh.sql("select label, error_message, attempt from jobs").fetchall() == [
        ("Failed", "the pod is gone", 2)
    ]
