"""Damage of the store is one sentence with a remedy, in every command; never a part of an answer."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import warehouse
from tests.command_line import run
from tests.dicom_files import write
from tests.forms import some
from warehouse.errors import StoreDamaged, StoreUnreadable, WarehouseError, WriteFailed
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings
from warehouse.store import delta, layout

SETTINGS = IngestSettings(workers=1, batch_files=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three batches of two files, and a run of a cohort."""
    folder = tmp_path_factory.mktemp("whole")
    for number in range(6):
        write(folder / "in" / f"{number}", uid=f"1.{number}", SliceThickness=1)
    ingest(folder / "w", [folder / "in"], SETTINGS)
    warehouse.open(folder / "w").cohort("ct_thin_slice")
    return folder


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole / "w", tmp_path / "w"))


def entry(root: Path, version: int, table: str = "files") -> Path:
    return root / table / "_delta_log" / f"{version:020}.json"


def a_part(root: Path, table: str) -> Path:
    return sorted((root / table).glob("batch=*/*.parquet"))[1]


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def noise(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(path.stat().st_size))


def linked(path: Path) -> None:
    moved = next(p for p in path.parents if p.name == "w").parent / "moved"
    path.rename(moved)
    path.symlink_to(moved)


def without_last_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def renamed_in(path: Path, other: str) -> None:
    path.write_text(path.read_text().replace("batch=000003/", other))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "emptied entry": (lambda w: entry(w, 2).write_bytes(b""), "entry 2 of the log files"),
    "emptied last entry": (lambda w: entry(w, 3).write_bytes(b""), "entry 3 of the log files"),
    "emptied entry of elements": (
        lambda w: entry(w, 2, "elements").write_bytes(b""), "entry 2 of the log elements"),
    "entry without its parts": (
        lambda w: without_last_line(entry(w, 3)),
        "names 2 parts with 4 rows, and 3 with 6 were committed"),
    "entry of elements without its parts": (
        lambda w: without_last_line(entry(w, 2, "elements")), "the log elements/_delta_log names 2"),
    "truncated entry": (lambda w: cut(entry(w, 2)), "log files/_delta_log cannot be read"),
    "garbled entry": (lambda w: noise(entry(w, 3)), "log files/_delta_log cannot be read"),
    "zeros": (lambda w: entry(w, 3).write_bytes(bytes(99)), "log files/_delta_log cannot be read"),
    "gap": (lambda w: entry(w, 2).unlink(), "has a gap"),
    "first entry gone": (lambda w: entry(w, 0).unlink(), "cannot be read"),
    "last entry gone": (lambda w: entry(w, 3).unlink(), "entry 3 .*, which was committed, is missing"),
    "log gone": (lambda w: shutil.rmtree(w / "files/_delta_log"), "log files/_delta_log cannot"),
    "log of elements gone": (lambda w: shutil.rmtree(w / "elements/_delta_log"), "log elements/"),
    "part gone": (lambda w: a_part(w, "elements").unlink(), "No such file"),
    "part cut": (lambda w: cut(a_part(w, "instances")), "were committed"),
    "part that is a link": (lambda w: linked(a_part(w, "files")), "is a link"),
    "folder that is a link": (
        lambda w: linked(a_part(w, "files").parent), "is a link"),
    "names a file outside": (lambda w: renamed_in(entry(w, 3), "../../in/"), "names a file that"),
    "names a file by URL": (lambda w: renamed_in(entry(w, 3), "file:///in/"), "names a file that"),
    "names an absolute file": (lambda w: renamed_in(entry(w, 3), "/in/"), "names a file that"),
    "schemas gone": (lambda w: shutil.rmtree(w / "_empty"), "any ingest creates it again"),
    "noise in files": (lambda w: noise(a_part(w, "files")), "files/batch=.* cannot be read"),
    "noise in instances": (lambda w: noise(a_part(w, "instances")), "instances/batch=.* cannot"),
}  # fmt: skip


@pytest.mark.parametrize("every", some([False, True], always=[False]))
@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_nothing_is_answered(
    root: Path, kind: str, whole: Path, every: bool
) -> None:
    """By two commands each, of which the second is another in turn; or by ``every`` one."""
    damage, sentence = DAMAGE[kind]
    damage(root)
    question = "select count(*) from files join instances using (instance_key)"
    wh = warehouse.open(root)
    with pytest.raises(StoreDamaged, match=sentence):
        # A header needs no bytes of `files`.
        wh.ingest(whole / "in", workers=1) if kind == "noise in files" else wh.header("1.0")
    others = [["info"], ["tables"], ["select", "instances", "--search", "1"]]
    if kind == "noise in files":
        del others[2]  # the entities are whole without `files`
    chosen = others if every else [others[list(DAMAGE).index(kind) % len(others)]]
    for command in (["sql", question], *chosen):
        done = run(*command, "-w", root)
        assert done.returncode == 1, done
        assert done.stderr.startswith(f"error: {root} is damaged: ")
        assert done.stderr.count("\n") == 1
        assert "restore" in done.stderr or "creates it again" in done.stderr
        assert done.stdout == ""


def test_noise_in_elements_is_named_by_what_reads_them(root: Path) -> None:
    noise(a_part(root, "elements"))
    done = run("sql", "select count(text) from elements", "-w", root)
    assert (done.returncode, done.stdout) == (1, "")
    assert "elements/batch=" in done.stderr
    with pytest.raises(StoreDamaged, match="elements/batch=.* cannot be read"):
        warehouse.open(root).header("1.0")


def test_an_error_of_the_caller_is_no_damage(root: Path) -> None:
    for query in ("select nothing from series", "selec 1", "select 'x'::int from series"):
        done = run("sql", query, "-w", root)
        assert done.returncode == 1
        assert "damaged" not in done.stderr


def test_writers_refuse_a_damaged_store_and_change_nothing(root: Path, whole: Path) -> None:
    entry(root, 2).write_bytes(b"")
    write(root.parent / "more", uid="1.9")
    before = sorted(path.name for path in root.rglob("*.parquet"))
    for command in (
        ["ingest", root.parent / "more"],
        ["compact"],
        ["vacuum", "--yes"],
        ["rebuild"],
    ):
        done = run(*command, "-w", root)
        assert done.returncode == 1, (command, done)
        assert "is damaged: entry 2 of the log files" in done.stderr
    assert sorted(path.name for path in root.rglob("*.parquet")) == before


def test_schemas_that_are_gone_are_written_by_an_ingest(root: Path, whole: Path) -> None:
    shutil.rmtree(root / "_empty")
    ingest(root, [whole / "in"], SETTINGS)
    assert warehouse.open(root).sql("select count(*) from files").fetchall() == [(6,)]


def test_a_warehouse_without_these_notes_opens(root: Path) -> None:
    """As one of an earlier version of this software does."""
    for path in root.glob("files/_delta_log/*.committed"):
        path.unlink()
    for path in root.glob("files/_delta_log/*.json"):
        path.write_text(path.read_text().replace("dicomWarehouseTotals", "ofSomeoneElse"))
    assert warehouse.open(root).sql("select count(*) from files").fetchall() == [(6,)]


def test_notes_of_commits_do_not_pile_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.store.logs._NOTES_KEPT", 2)
    for version in range(4, 9):
        delta.note_commit(root, version)
    log = layout.table_folder(root, "files") / "_delta_log"
    kept = sorted(int(path.stem) for path in log.glob("*.committed"))
    assert kept[-2:] == [7, 8]
    assert not {4, 5, 6} & set(kept)


# -- runs of cohorts ------------------------------------------------------------------------------


def about(root: Path) -> Path:
    path = root / "cohorts/runs/ct_thin_slice-0001/run.json"
    path.chmod(0o644)
    return path


BAD_RUNS: dict[str, Callable[[Path], object]] = {
    "cut": cut,
    "noise": noise,
    "a list": lambda path: path.write_text("[]"),
    "another run": lambda path: path.write_text(
        json.dumps(json.loads(path.read_text()) | {"run": "../../../in-0001"})),
    "more fields": lambda path: path.write_text(
        json.dumps(json.loads(path.read_text()) | {"x": 1})),
    "no members": lambda path: (path.parent / "members.parquet").unlink(),
    "noise in members": lambda path: noise(path.parent / "members.parquet"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_RUNS)
def test_a_bad_run_is_named(root: Path, kind: str, tmp_path: Path) -> None:
    path = about(root)
    (path.parent / "members.parquet").chmod(0o644)
    BAD_RUNS[kind](path)
    wh = warehouse.open(root)
    with pytest.raises(StoreDamaged, match="ct_thin_slice-0001"):
        wh.export("ct_thin_slice", tmp_path / "a.csv", "csv")
    done = run("cohort", "export", "ct_thin_slice", tmp_path / "b.csv", "-w", root)
    assert done.returncode == 1
    assert "ct_thin_slice-0001" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.csv*"))


# -- a disk that takes no writes ------------------------------------------------------------------


def test_a_disk_that_may_only_be_read_is_asked_and_not_written(
    root: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a mount with ``ro``: every opening for writing beneath the warehouse is refused."""
    real_open, real_mkdir = os.open, os.mkdir

    def refused(path: object, *_: object) -> None:
        if str(path).startswith(str(root)):
            raise OSError(30, "Read-only file system", str(path))

    def opened(path: object, flags: int, *rest: object, **more: object) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            refused(path)
        return real_open(path, flags, *rest, **more)  # type: ignore[arg-type]

    def made(path: object, *rest: object, **more: object) -> None:
        if not os.path.isdir(path):  # type: ignore[arg-type]
            refused(path)
        real_mkdir(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "mkdir", made)
    assert run("sql", "select count(*) from series", "-w", root).returncode == 0
    assert run("info", "-w", root).returncode == 0
    write(tmp_path / "more", uid="1.9")
    for command in (
        ["ingest", tmp_path / "more"], ["compact"], ["vacuum", "--yes"], ["rebuild"],
    ):  # fmt: skip
        done = run(*command, "-w", root)
        assert done.returncode == 1, (command, done)
        assert "the file system is read-only" in done.stderr
        assert done.stderr.count("\n") == 1
    with pytest.raises(WarehouseError, match="the file system is read-only"):
        warehouse.open(root).cohort("ct_thin_slice", max_slice_mm=7)


@pytest.mark.parametrize(
    ("patched", "path"),
    [
        ("pathlib.Path.read_text", "warehouse.json"),
        ("os.listdir", "elements/_delta_log"),
        ("os.lstat", "elements/batch"),
    ],
)
def test_a_file_that_may_not_be_read_is_no_damage(
    root: Path, monkeypatch: pytest.MonkeyPatch, patched: str, path: str
) -> None:
    """Tests may run as root, who may read every file."""
    module, _, name = patched.rpartition(".")
    owner = Path if module == "pathlib.Path" else os
    real = getattr(owner, name)

    def refuse(asked: object, *args: Any, **kwargs: Any) -> Any:
        if str(asked).startswith(f"{root}/{path}"):
            raise PermissionError(13, "Permission denied")
        return real(asked, *args, **kwargs)

    monkeypatch.setattr(owner, name, refuse)
    with pytest.raises(StoreUnreadable, match=f"permission denied for .*{path}"):
        warehouse.open(root).sql("from elements").fetchall()


def test_a_part_that_may_not_be_read_is_no_damage(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise(a_part(root, "elements"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StoreUnreadable, match="permission denied for elements/batch"):
        warehouse.open(root).sql("select sum(length(text)), max(real) from elements").fetchall()


def test_a_lock_that_may_not_be_opened_is_told_once(
    root: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path).endswith("/_lock"):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(WriteFailed) as refused:
        ingest(root, [whole / "in"], SETTINGS)
    assert str(refused.value).count("Nothing of this batch was committed") == 1
    assert "new warehouse" not in str(refused.value)
