"""Who changed a warehouse is noted for every change, and nothing else is in a line."""

from __future__ import annotations

import getpass
import json
import platform
from pathlib import Path

import pytest

import warehouse
from tests.command_line import run
from tests.dicom_files import write
from warehouse.errors import NothingToForget
from warehouse.store.audit import FOLDER, entries, note


@pytest.fixture
def wh(tmp_path: Path) -> warehouse.Warehouse:
    write(tmp_path / "in" / "PAT-0815", uid="1.1", PatientID="PAT-0815")
    write(tmp_path / "in" / "b", uid="1.2")
    made = warehouse.open(tmp_path / "w", create=True)
    made.ingest(tmp_path / "in", workers=1)
    return made


def lines(wh: warehouse.Warehouse) -> list[tuple[str, str, int | None, int | None]]:
    return [(e.what, e.how, e.version_before, e.version) for e in wh.upkeep.audit()]


def test_each_change_is_a_line_with_the_version_that_came_of_it(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    (tmp_path / "in" / "b").unlink()
    wh.remove(tmp_path / "in", delete=True)
    wh.cohort("ct_thin_slice")
    wh.upkeep.forget(patient="PAT-0815", delete=True)
    wh.upkeep.allow(patient="PAT-0815")
    wh.compact()
    assert lines(wh) == [
        ("ingest", "done", None, 1), ("remove", "done", 1, 2), ("cohort run", "done", 2, 2),
        ("forget", "done", 2, 3), ("allow", "done", 3, 3), ("compact", "done", 3, 3),
    ]  # fmt: skip
    first = wh.upkeep.audit()[0]
    assert first.who == f"{getpass.getuser()}@{platform.node()}"
    assert first.at[10] == "T"
    assert first.at.endswith("+00:00")
    shown = run("audit", "-w", wh.root)
    assert shown.stdout.splitlines()[4].split()[-3:] == ["forget", "done", "3"]


def test_what_only_counts_is_none_and_what_failed_is(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    wh.remove(tmp_path / "in")
    wh.vacuum()
    wh.upkeep.forget(patient="PAT-0815")
    wh.verify()
    assert len(lines(wh)) == 1
    with pytest.raises(NothingToForget):
        wh.upkeep.forget(patient="PAT-NOBODY", delete=True)
    assert lines(wh)[1:] == [("forget", "failed", 1, 1)]


def test_no_line_has_a_value_or_a_path(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    wh.upkeep.forget(patient="PAT-0815", delete=True)
    (file,) = (wh.root / FOLDER).glob("*.jsonl")
    said = file.read_text()
    assert "PAT" not in said
    assert str(tmp_path / "in") not in said
    assert {key for line in said.splitlines() for key in json.loads(line)} == {
        "at", "who", "what", "how", "version_before", "version"
    }  # fmt: skip


def test_a_line_that_is_garbled_hides_no_other(wh: warehouse.Warehouse) -> None:
    (file,) = (wh.root / FOLDER).glob("*.jsonl")
    with file.open("ab") as out:
        out.write(b'{"at": 1}\n\xff\xfe\n{"cut\n')
    note(wh.root, "compact", "done", 1)
    assert [entry.what for entry in entries(wh.root)] == ["ingest", "compact"]


def test_a_note_that_cannot_be_written_undoes_nothing(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    for file in (wh.root / FOLDER).iterdir():
        file.unlink()
    (wh.root / FOLDER).rmdir()
    (wh.root / FOLDER).write_text("in the way")
    write(tmp_path / "in" / "c", uid="1.3")
    assert wh.ingest(tmp_path / "in", workers=1).created == 1
