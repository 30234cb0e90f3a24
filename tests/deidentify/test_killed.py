"""Exports that are killed with SIGKILL at random moments and gone on with are equal to whole ones."""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from warehouse.deidentify import export, mapping
from warehouse.deidentify.key import read_key
from warehouse.deidentify.options import Deidentify
from warehouse.deidentify.work import folder_of, resumable_folder
from warehouse.errors import TargetExists, UsageError

if TYPE_CHECKING:
    from tests.deidentify.conftest import Exported

CHECKOUT = Path(__file__).parents[2]
PROGRAM = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
import warehouse
from warehouse.deidentify import export
from warehouse.deidentify.options import Deidentify
from warehouse.deidentify.key import read_key
_, _, root, key, target, form, apart, workers = sys.argv
export.PORTION, export._FROM_PORTIONS = 1, 4
how = Deidentify(
    retain=("dates-shifted",), key=read_key(pathlib.Path(key)), mapping=pathlib.Path(apart),
    workers=int(workers),
)
wh = warehouse.open(root)
print("begin", flush=True)
wh.export("all_of_it", target, form, deidentify=how)
"""


def start(exported: Exported, target: Path, form: str, workers: int) -> subprocess.Popen[str]:
    made = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(CHECKOUT), str(exported.wh.root), str(exported.key),
         str(target), form, str(target.with_name(f"{target.name}.apart")), str(workers)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert made.stdout is not None
    made.stdout.readline()
    return made


def killed(exported: Exported, target: Path, form: str, after_s: float, workers: int) -> bool:
    """Kill an export after a time; return whether it was done before."""
    made = start(exported, target, form, workers)
    time.sleep(after_s)
    made.send_signal(signal.SIGKILL)
    _, errors = made.communicate(timeout=60)
    if made.returncode == -signal.SIGKILL:
        return False
    assert made.returncode == 0 or TargetExists.__name__ in errors, errors
    return True


def everything(exported: Exported, target: Path) -> dict[str, object]:
    """Return digests of the files of an export and what its mapping says."""
    files = [path for path in target.rglob("*") if path.is_file()] if target.is_dir() else [target]
    found: dict[str, object] = {
        str(path.relative_to(target)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    apart = target.with_name(f"{target.name}.apart")
    for table in sorted(apart.iterdir()):  # encrypted with a number that is drawn each time
        found[table.name] = sorted(mapping.read(table, read_key(exported.key)))
    return found


def resumed(exported: Exported, target: Path, form: str) -> None:
    how = Deidentify(
        retain=("dates-shifted",), key=read_key(exported.key),
        mapping=target.with_name(f"{target.name}.apart"), workers=1,
    )  # fmt: skip
    exported.wh.export("all_of_it", target, form, deidentify=how)


def test_an_export_that_was_stopped_and_gone_on_with_equals_a_whole_one(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped where every file is written, and nothing is in its place yet."""
    (tmp_path / "w").mkdir()
    resumed(exported, tmp_path / "w" / "out", "copy")
    target = tmp_path / "out"

    def stops(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(export, "write_report", stops)
        with pytest.raises(KeyboardInterrupt):
            resumed(exported, target, "copy")
    assert not target.exists()
    assert folder_of(target).is_dir()
    resumed(exported, target, "copy")
    assert everything(exported, target) == everything(exported, tmp_path / "w" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.apart", "w"]


@pytest.mark.long("test_an_export_that_was_stopped_and_gone_on_with_equals_a_whole_one")
def test_an_export_that_was_killed_and_gone_on_with_equals_a_whole_one(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PORTION", 1)
    (tmp_path / "w").mkdir()
    resumed(exported, tmp_path / "w" / "out", "copy")
    target = tmp_path / "out"
    if not killed(exported, target, "copy", random.uniform(0.05, 0.3), workers=1):
        resumed(exported, target, "copy")
    assert everything(exported, target) == everything(exported, tmp_path / "w" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.apart", "w"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["copy", "zip", "bids"])
def test_killed_many_times_with_workers(exported: Exported, tmp_path: Path, form: str) -> None:
    name = "out.zip" if form == "zip" else "out"
    (tmp_path / "w").mkdir()
    began = time.monotonic()
    whole = start(exported, tmp_path / "w" / name, form, workers=2)
    _, errors = whole.communicate(timeout=120)
    assert whole.returncode == 0, errors
    lasts_s = time.monotonic() - began
    for turn in range(3):
        kills, share = 0, 0.8
        while not kills:
            folder = tmp_path / f"{turn}-{share}"
            folder.mkdir()
            while not killed(exported, folder / name, form, random.uniform(0, lasts_s * share), 2):
                kills += 1
            assert everything(exported, folder / name) == everything(
                exported, tmp_path / "w" / name
            )
            left = {path.name for path in folder.iterdir()} - {name, f"{name}.apart"}
            assert left <= {f"{name}.cohort.json", f".{name}.deidentify"} | {
                one for one in left if one.endswith(".part")
            }
            # Done before it was to be killed: the machine is quicker than it was at first.
            share /= 2


def test_what_a_stop_left_behind_a_target_goes(exported: Exported, tmp_path: Path) -> None:
    target = tmp_path / "out"
    work = folder_of(target)
    work.mkdir()
    (work / "placing").touch()
    target.mkdir()
    with pytest.raises(TargetExists):
        resumed(exported, target, "copy")
    assert not work.exists()


def test_two_at_once_are_refused(exported: Exported, tmp_path: Path) -> None:
    target = tmp_path / "out"
    with (
        resumable_folder(target, "mark", lasts=True),
        pytest.raises(UsageError, match="another process"),
    ):
        resumed(exported, target, "copy")
    assert not folder_of(target).exists()


def test_what_a_key_that_is_nowhere_left_is_no_hindrance(
    exported: Exported, tmp_path: Path
) -> None:
    work = folder_of(tmp_path / "out")
    (work / "files").mkdir(parents=True)
    (work / "files" / "old.dcm").touch()
    (work / "state").touch()  # as a process leaves it that was killed
    exported.wh.export("all_of_it", tmp_path / "out", "copy", deidentify="basic")
    assert not list((tmp_path / "out").rglob("old.dcm"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
