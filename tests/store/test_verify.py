"""What is damaged is found, named with its files and series, and read again where that is possible."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import warehouse
from tests.asking import answer_of
from tests.command_line import run
from tests.dicom_files import image, write
from tests.forms import some
from tests.programs import needed
from tests.vendor_payloads import CSA, add_private, csa
from warehouse.errors import StoreDamaged
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings
from warehouse.store import layout

SETTINGS = IngestSettings(workers=1, batch_files=2)
LONG = b"\7" * 400


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three batches of two files of a series each, with long values, and a run of a cohort."""
    folder = tmp_path_factory.mktemp("whole")
    for number in range(6):
        write(
            folder / "in" / f"{number}", uid=f"1.{number}", SeriesInstanceUID=f"1.7.{number // 2}",
            SliceThickness=1, ICCProfile=LONG + bytes([number]) * 2,
        )  # fmt: skip
    ingest(folder / "w", [folder / "in"], SETTINGS)
    warehouse.open(folder / "w").cohort("ct_thin_slice")
    return folder


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole / "w", tmp_path / "w"))


def parts(root: Path, table: str) -> list[Path]:
    return sorted((root / table).glob("batch=*/*.parquet"))


def flip(path: Path, place: int = 30) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def content(root: Path) -> list[list[tuple[object, ...]]]:
    wh = warehouse.open(root)
    return [
        answer_of(wh, question)
        for question in (
            "select * exclude (batch, instance_id) from instances order by all",
            "select instance_key, elements.* exclude (batch, instance_id) from elements join instances using (instance_id) order by all",
            "select sha256, bytes from blobs order by all",
            "select * exclude (batch, instance_id) from files order by all",
        )
    ]


def test_the_name_of_a_part_has_the_digest_of_its_bytes(root: Path) -> None:
    every = [
        path for table in ("files", "elements", "instances", "blobs") for path in parts(root, table)
    ]
    assert len(every) == 12
    for path in every:
        assert layout.digest_of_part(path.name) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("deep", [False, True])
def test_what_is_whole_is_whole(root: Path, deep: bool) -> None:
    found = warehouse.open(root).verify(deep=deep)
    assert found.is_whole
    assert (found.version, found.parts, found.versions, found.runs) == (3, 12, 4, 1)
    assert (found.without_digest, found.cleaned, found.touched) == (0, [], [])


@pytest.fixture(scope="module")
def held(whole: Path) -> list[list[tuple[object, ...]]]:
    return content(whole / "w")


@pytest.mark.parametrize(
    ("table", "harm"),
    some(
        [(t, h) for t in ("elements", "instances", "blobs") for h in ("flipped", "gone", "cut")],
        # Each table and each harm.
        always=[
            ("elements", "gone"), ("elements", "flipped"), ("instances", "gone"), ("instances", "cut"),
            ("blobs", "flipped"),
        ],
    ),
)  # fmt: skip
def test_damage_is_named_and_its_files_are_read_again(
    root: Path, held: list[list[tuple[object, ...]]], table: str, harm: str
) -> None:
    path = parts(root, table)[1]
    {"flipped": flip, "gone": os.unlink, "cut": lambda p: os.truncate(p, 50)}[harm](path)
    wh = warehouse.open(root)
    assert wh.verify().is_whole == (harm == "flipped"), "a flipped byte is seen by a deep one"
    found = wh.verify(deep=True)
    assert [damage.what for damage in found.damaged] == [str(path.relative_to(root))]
    assert [Path(file.path).name for file in found.touched] == ["2", "3"]
    assert found.series == ([] if table == "instances" else ["1.7.1"])
    done = wh.upkeep.repair(found)
    assert (done.files, done.parts, done.missing) == (2, 1, [])
    assert wh.verify(deep=True).is_whole
    assert content(root) == held


def test_values_of_damaged_payloads_go_with_them(tmp_path: Path) -> None:
    """They are read again under new numbers: the old ones would belong to nobody, and never go."""
    made = image("1.1")
    add_private(made, CSA, 0x29, 0x11, x10=("OB", csa([("Who", "LO", ["said"])])))
    write(tmp_path / "in" / "1", made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    flip(parts(wh.root, "vendor_payloads")[0])
    assert wh.upkeep.repair(wh.verify(deep=True)).parts == 1
    assert wh.verify(deep=True).is_whole
    wh.refresh()
    counts = "select count(distinct payload) from {}"
    for table in ("vendor_payloads", "vendor_values"):
        assert wh.sql(counts.format(table)).fetchall() == [(1,)]


def test_nothing_is_changed_where_a_source_is_gone(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "in", tmp_path / "in")
    root = tmp_path / "w"
    ingest(root, [tmp_path / "in"], SETTINGS)
    parts(root, "elements")[0].unlink()
    (tmp_path / "in" / "0").unlink()
    done = run("verify", "--repair", "--json", "-w", root)
    assert done.returncode == 1
    repaired = json.loads(done.stdout)["repaired"]
    assert (repaired["files"], repaired["missing"]) == (0, [str(tmp_path / "in" / "0")])
    with pytest.raises(StoreDamaged):
        warehouse.open(root).sql("from elements")


def test_nothing_is_changed_where_a_source_is_rejected_and_limits_are_those_of_the_variable(
    root: Path, held: list[list[tuple[object, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts(root, "elements")[0].unlink()
    monkeypatch.setenv("DICOM_WAREHOUSE_LIMITS", "rows=5")
    wh = warehouse.open(root)
    found = wh.verify()
    done = wh.upkeep.repair(found)
    assert (done.files, [Path(path).name for path, _ in done.rejected]) == (0, ["0", "1"])
    assert [(d.what, d.why) for d in wh.verify().damaged] == [
        (d.what, d.why) for d in found.damaged
    ]
    stated = run("verify", "--repair", "-w", root)
    assert stated.returncode == 1
    assert "0: more than 5 values: refused" in " ".join(stated.stdout.split())
    monkeypatch.delenv("DICOM_WAREHOUSE_LIMITS")
    assert wh.upkeep.repair(found).files == 2
    assert content(root) == held


def test_rows_of_files_cannot_be_read_again_and_it_says_so(root: Path) -> None:
    path = parts(root, "files")[0]
    flip(path)
    done = run("verify", "--deep", "--repair", "-w", root)
    assert done.returncode == 1
    assert "restore it from a backup" in done.stdout
    assert "affected files are unknown" in done.stdout


def test_members_of_a_run_that_are_others_are_seen(root: Path) -> None:
    (members,) = (root / "cohorts" / "runs").glob("*/members.parquet")
    rows = pq.read_table(members).slice(1)
    members.chmod(0o644)
    pq.write_table(rows, members)
    (damage,) = warehouse.open(root).verify().damaged
    assert damage.what == "cohorts/runs/ct_thin_slice-0001/members.parquet"
    assert damage.why == "its members are not those of its run"


def test_a_log_that_lost_entries_is_told_in_a_sentence(root: Path) -> None:
    (root / "elements" / "_delta_log" / f"{1:020}.json").unlink()
    (damage,) = warehouse.open(root).verify(deep=True).damaged
    assert damage.what.startswith("the log elements/_delta_log")


def test_parts_of_earlier_software_are_said_to_have_no_digest(root: Path) -> None:
    path = parts(root, "elements")[0]
    plain = re.sub(r"-[0-9a-f]{64}\.parquet$", ".parquet", path.name)
    log = root / "elements" / "_delta_log" / f"{1:020}.json"
    log.write_text(log.read_text().replace(path.name, plain))
    path.rename(path.with_name(plain))
    found = warehouse.open(root).verify(deep=True)
    assert (found.is_whole, found.without_digest) == (True, 1)
    done = run("verify", "-w", root)
    assert (done.returncode, "1 part of earlier software" in done.stdout) == (0, True)


def test_versions_that_a_vacuum_took_are_no_damage(root: Path) -> None:
    wh = warehouse.open(root)
    wh.compact()
    wh.vacuum(dt.timedelta(0), delete=True)
    found = wh.verify(deep=True)
    assert found.is_whole
    assert found.cleaned


# The exit codes of a copy during which a file vanished: "partial transfer" in rsync(1).
VANISHED = {"cp": 1, "rsync": 24}


@pytest.mark.parametrize("copy", ["cp", "rsync"])
def test_a_copy_that_is_made_during_an_ingest_is_an_older_version(
    whole: Path, tmp_path: Path, copy: str
) -> None:
    """Logs first, and then the rest but the logs, as docs/how-to/operate.md says."""
    needed(copy)
    root = tmp_path / "w"
    for number in range(8):
        write(tmp_path / "more" / f"{number}", uid=f"2.{number}")
    ingest(root, [whole / "in"], SETTINGS)
    writer = threading.Thread(target=ingest, args=(root, [tmp_path / "more"], SETTINGS))
    writer.start()
    target = tmp_path / "copy"
    if copy == "cp":
        target.mkdir()
        commands = [
            ["cp", "-r", "--parents", "files/_delta_log", str(target)],
            ["cp", "-rn", *(p.name for p in root.iterdir() if p.name != "files"), str(target)],
            ["cp", "-r", "--parents", *(f"files/{p.name}" for p in (root / "files").glob("batch=*")), str(target)],
        ]  # fmt: skip
    else:
        commands = [
            ["rsync", "-aR", "files/_delta_log", str(target)],
            ["rsync", "-a", "--exclude", "/files/_delta_log", "./", str(target)],
        ]
    for command in commands:
        done = subprocess.run(command, check=False, cwd=root, text=True, capture_output=True)
        # What is begun and not committed may vanish meanwhile; nothing else may go wrong.
        wrong = [line for line in done.stderr.splitlines() if not line.startswith("rsync warning")]
        assert all("vanished" in line or "No such file" in line for line in wrong), done.stderr
        assert done.returncode in ((0, VANISHED[copy]) if wrong else (0,)), done.stderr
    writer.join()
    copied = warehouse.open(target)
    found = copied.verify(deep=True)
    assert found.is_whole, found.damaged
    count = "select count(*) from instances"
    version = copied.version
    assert answer_of(copied, count) == warehouse.open(root, version=version).sql(count).fetchall()
