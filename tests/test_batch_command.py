"""``batch``: plan here, run there, run again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import warehouse
from tests.command_line import run
from tests.dicom_files import image, write

if TYPE_CHECKING:
    from pathlib import Path


def test_plan_run_and_run_again(tmp_path: Path) -> None:
    for number in range(5):
        made = image(f"1.{number}")
        made.add_new(0x00090010, "LO", "SOMEBODY")
        made.add_new(0x00091001, "LO", "private")
        write(tmp_path / "in" / f"{number}.dcm", made)
    root = ("-w", tmp_path / "w")
    planned = run("batch", "plan", tmp_path / "in", "--batch-files", "3", *root)
    assert planned.stdout.split() == ["000001", "000002"]
    # As the task number of a job array comes.
    one = run("batch", "run", "2", "--mode", "full", "--workers", "1", "--json", *root)
    (report,) = json.loads(one.stdout)["batches"]
    assert (report["batch"], report["created"], report["files"]) == ("000002", 2, 2)
    listed = json.loads(run("batch", "list", "--json", *root).stdout)
    assert listed == {"waiting": ["000001"], "stored": ["000002"]}
    run("batch", "run", "000001", "000002", "--mode", "full", "--workers", "1", "--quiet", *root)
    wh = warehouse.open(tmp_path / "w", create=True)
    private = "select count(*) from elements where creator = 'SOMEBODY'"
    ((before,),) = wh.sql(private).fetchall()
    assert before >= 5
    # Read anew without a mode: as completely as before.
    again = json.loads(run("batch", "run", "1", "--workers", "1", "--json", *root).stdout)[
        "batches"
    ][0]
    assert (again["replaced"], again["created"]) == (3, 0)
    wh.refresh()
    assert wh.sql(private).fetchall() == [(before,)]


def test_a_key_of_nobody(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.dcm", uid="1.1")
    run("batch", "plan", tmp_path / "in", "-w", tmp_path / "w")
    done = run("batch", "run", "7", "-w", tmp_path / "w")
    assert done.returncode == 2
    assert "no batch '000007'; planned: 000001" in done.stderr


def test_the_variable_is_the_mode_of_both_commands(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.dcm", uid="1.1")
    root, mode = ("-w", tmp_path / "w"), {"DICOM_WAREHOUSE_MODE": "normal"}
    run("batch", "plan", tmp_path / "in", *root, **mode)
    run("batch", "run", "1", "--workers", "1", "--quiet", *root, **mode)
    modes = "select distinct mode from files"
    assert warehouse.open(tmp_path / "w").sql(modes).fetchall() == [("normal",)]
    # A stored batch keeps its mode.
    run("batch", "run", "1", "--workers", "1", "--quiet", *root, DICOM_WAREHOUSE_MODE="minimal")
    assert warehouse.open(tmp_path / "w").sql(modes).fetchall() == [("normal",)]
