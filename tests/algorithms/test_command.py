"""``dicom-warehouse algorithm``, ``image``, ``run`` and ``job``, as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import warehouse
from tests.algorithms.conftest import CT, CT2, DX, function
from tests.algorithms.test_artifacts import archive
from tests.command_line import run
from tests.documented_keys import unlike_the_page


def test_a_job_is_run_and_shown_by_command(wh: warehouse.Warehouse) -> None:
    w = ("-w", wh.root)
    how = ("--function", function("measure"), "--interface", "ct -> mean-value, voxel-count")
    made = run("algorithm", "create", "measure", *how, *w)
    assert made.stdout == "algorithm measure: version 1, python\n"
    done = run("run", "measure", "--series", CT, "--series", DX, "--jobs", "0", "--json", *w)
    report = json.loads(done.stdout)
    assert (report["succeeded"], report["failed"], done.returncode) == (1, 1, 0)
    good = json.loads(run("job", "list", "--status", "Succeeded", "--format", "json", *w).stdout)
    assert [row["series_key"] for row in good] == [CT]
    assert run("job", "logs", good[0]["job_id"], *w).stdout == "measured\n"
    refused = run("job", "cancel", good[0]["job_id"], *w)
    assert (refused.returncode, "cannot be 'cancelled'" in refused.stderr) == (2, True)


@pytest.mark.long("test_a_job_is_run_and_shown_by_command")
def test_the_life_of_a_job_by_command(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    w = ("-w", wh.root)
    image = ("image", "add", archive(tmp_path / "i.tar"), "--algorithm", "boxed")
    imported = json.loads(run(*image, "--json", *w).stdout)
    assert unlike_the_page("image add", imported) == []
    assert imported.items() >= {"kind": "image", "parent": "boxed", "is_removed": False}.items()
    again = run(*image, *w)
    assert (again.returncode, "imported before" in again.stderr) == (2, True)
    listed = json.loads(run("image", "list", "--format", "json", *w).stdout)
    assert [(row["import_label"], row["is_desired_version"]) for row in listed] == [
        ("Completed", True),
        ("Failed", False),
    ]
    made = run(
        "algorithm",
        "create",
        "measure",
        "--function",
        function("measure"),
        "--interface",
        "ct -> mean-value, voxel-count",
        *w,
    )
    assert made.stdout == "algorithm measure: version 1, python\n"
    assert (
        "boxed: version 1, exec"
        in run("algorithm", "create", "boxed", "--interface", "ct -> mask", *w).stdout
    )
    names = json.loads(run("algorithm", "list", "--format", "json", *w).stdout)
    assert [row["algorithm"] for row in names] == ["boxed", "measure"]
    for wrong in (
        ("run", "measure"),
        ("run", "measure", "a", "--all"),
        ("run", "nothing", "--all"),
        ("run", "measure", "none"),
    ):
        assert run(*wrong, *w).returncode == 2, wrong
    done = run("run", "measure", "--series", CT, "--series", DX, "--jobs", "0", "--json", *w)
    report = json.loads(done.stdout)
    assert unlike_the_page("run", report) == []
    assert (report["succeeded"], report["failed"], done.returncode) == (1, 1, 0)
    assert (
        run("run", "measure", "--series", DX, "--jobs", "0", "--again", "--strict", *w).returncode
        == 1
    )
    failed = json.loads(
        run("job", "list", "measure", "--status", "Failed", "--format", "json", *w).stdout
    )
    assert [(row["series_key"], row["attempt"]) for row in failed] == [(DX, 1)]
    good = json.loads(run("job", "list", "--status", "Succeeded", "--format", "json", *w).stdout)[
        0
    ]["job_id"]
    shown = json.loads(run("job", "show", good[:8], *w).stdout)
    assert [output["slug"] for output in shown["outputs"]] == ["mean-value", "voxel-count"]
    assert [state["label"] for state in shown["states"]][-1] == "Succeeded"
    assert "signing_key" not in json.dumps(shown)
    assert run("job", "logs", good, *w).stdout == "measured\n"
    logs = json.loads(run("job", "logs", good[:8], "--json", *w).stdout)
    assert unlike_the_page("job logs", logs) == []
    assert (logs["job_id"], logs["stdout"].strip()) == (good, "measured")
    refused = run("job", "cancel", good, *w)
    assert (
        refused.returncode,
        "a job in state Succeeded cannot be 'cancelled'" in refused.stderr,
    ) == (2, True)
    assert json.loads(run("job", "list", "measure@1", "--format", "json", *w).stdout)
    misspelt = run("job", "list", "--status", "succeded", *w)
    assert (misspelt.returncode, "Succeeded, Cancelled" in misspelt.stderr) == (2, True)
    unknown = run("job", "list", "measures", *w)
    assert (unknown.returncode, "similar: measure" in unknown.stderr) == (2, True)
    assert "queued again" in run("job", "retry", failed[0]["job_id"], *w).stdout
    cancelled = json.loads(run("job", "cancel", failed[0]["job_id"], "--json", *w).stdout)
    assert unlike_the_page("job cancel", cancelled) == []
    assert cancelled == {"job_id": failed[0]["job_id"], "done": "cancelled"}
    assert run("job", "show", "zzz", *w).returncode == 2
    assert "1 case: 1 succeeded" in run("run", "measure", "--series", CT2, "--jobs", "0", *w).stdout
