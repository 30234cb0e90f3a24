"""Source files that were moved are known at their new place, and nothing is read for it."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

import warehouse
from tests.command_line import run
from tests.dicom_files import element, part10, write
from tests.place import Place
from warehouse.errors import UsageError

ROWS = "select * exclude (batch, instance_id) from files order by file_path"
INSTANCES = "select * exclude (batch, instance_id) from instances order by file_path"


def fill(folder: Path) -> None:
    """Put two folders, an archive, a reject and a duplicate there; two batches."""
    old = folder / "old"
    for number in range(4):
        write(old / "a" / f"{number}", uid=f"1.{number}")
    write(old / "b" / "copy", uid="1.0")
    (old / "b" / "text").write_text("no DICOM")
    with zipfile.ZipFile(old / "c.zip", "w") as archive:
        archive.write(write(folder / "member", uid="2.1"), "in/side")
    write(folder / "older" / "other", uid="3.1")
    made = warehouse.open(folder / "w", create=True)
    made.ingest(old, workers=1, batch_files=3)
    made.ingest(folder / "older", workers=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("relocate"))


@pytest.fixture
def tmp_path(place: Place) -> Path:
    """The same folder for each test, empty: paths of files stand in the warehouse."""
    return place.emptied()


@pytest.fixture
def wh(place: Place, tmp_path: Path) -> warehouse.Warehouse:
    return warehouse.open(place.filled(fill) / "w")


def anew(wh: warehouse.Warehouse, tmp_path: Path, *sources: Path) -> warehouse.Warehouse:
    made = warehouse.open(tmp_path / "anew", create=True)
    made.ingest(*sources, workers=1)
    return made


def test_the_command_moves_what_was_moved(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    (tmp_path / "old").rename(tmp_path / "new")
    version = wh.version
    words = ("relocate", tmp_path / "old", tmp_path / "new", "--json", "-w", wh.root)
    done = json.loads(run(*words).stdout)
    assert (done["moved"], done["kept"], done["version"]) == (7, 0, version + 1)
    report = wh.ingest(tmp_path / "new", workers=1)
    assert (report.existing, report.files) == (5, 7)


@pytest.mark.long("test_the_command_moves_what_was_moved")
def test_it_is_as_if_the_new_place_had_been_ingested(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    version = wh.version
    (tmp_path / "old").rename(tmp_path / "new")
    done = json.loads(
        run("relocate", tmp_path / "old", tmp_path / "new", "--json", "-w", wh.root).stdout
    )
    assert (done["moved"], done["kept"], done["version"]) == (7, 0, version + 1)
    wh.refresh()
    expected = anew(wh, tmp_path, tmp_path / "new", tmp_path / "older")
    for question in (ROWS, INSTANCES):
        assert wh.sql(question).fetchall() == expected.sql(question).fetchall()
    assert wh.verify(deep=True).is_whole
    report = wh.ingest(tmp_path / "new", workers=1)
    assert (report.existing, report.files) == (5, 7)
    assert len(wh.stack("1.2.1.1")) == 6


def test_a_place_whose_name_only_begins_alike_is_another_one(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    wh.upkeep.relocate(tmp_path / "old", tmp_path / "new")
    paths = wh.sql("select file_path from files where SOPInstanceUID = '3.1'").fetchall()
    assert paths == [(str(tmp_path / "older" / "other"),)]


def test_a_place_that_was_ingested_meanwhile_gives_way(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    """What people do first: they ingest the new place, where all is duplicate."""
    shutil.copytree(tmp_path / "old", tmp_path / "zzz")
    wh.ingest(tmp_path / "zzz", workers=1)
    shutil.rmtree(tmp_path / "old")
    done = wh.upkeep.relocate(tmp_path / "old", tmp_path / "zzz")
    assert (done.moved, done.kept) == (7, 0)
    expected = anew(wh, tmp_path, tmp_path / "zzz", tmp_path / "older")
    for question in (ROWS, INSTANCES):
        assert wh.sql(question).fetchall() == expected.sql(question).fetchall()


def test_the_first_by_path_holds_an_instance_afterwards_too(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    (tmp_path / "old" / "b").rename(tmp_path / "aaa")
    wh.upkeep.relocate(tmp_path / "old" / "b", tmp_path / "aaa")
    expected = anew(wh, tmp_path, tmp_path / "aaa", tmp_path / "old", tmp_path / "older")
    assert wh.sql(ROWS).fetchall() == expected.sql(ROWS).fetchall()


def test_no_path_is_that_of_two_files_afterwards(tmp_path: Path) -> None:
    """Files of the same name in nested folders: the first one cannot move, so its path stays taken."""
    for number, folder in enumerate(("a", "a/b", "a/b/b", "a/b/b/b")):
        write(tmp_path / "old" / folder / "x", uid=f"1.{number}")
    write(tmp_path / "old" / "a" / "b" / "y", uid="1.9")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "old", workers=1)
    done = wh.upkeep.relocate(tmp_path / "old" / "a" / "b", tmp_path / "old" / "a")
    assert (done.moved, done.kept) == (1, 3)
    paths = wh.sql("select file_path from files order by file_path").fetchall()
    there = [tmp_path / "old" / "a" / name for name in ("b/b/b/x", "b/b/x", "b/x", "x", "y")]
    assert paths == [(str(path),) for path in there]


def test_a_duplicate_of_another_instance_does_not_give_way(tmp_path: Path) -> None:
    """Else the file at the new path would be that of the moved instance, which it is not."""
    write(tmp_path / "a" / "x", uid="1.2")
    write(tmp_path / "new" / "x", uid="1.2")
    write(tmp_path / "old" / "x", uid="1.1")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "a", tmp_path / "new", tmp_path / "old", workers=1)
    before = wh.sql(ROWS).fetchall()
    done = wh.upkeep.relocate(tmp_path / "old", tmp_path / "new")
    assert (done.moved, done.kept) == (0, 1)
    assert wh.sql(ROWS).fetchall() == before


def test_a_file_that_no_longer_exists_gives_way(tmp_path: Path) -> None:
    """Whatever its size was; the moved file keeps its own time, and is not read again."""
    write(tmp_path / "old" / "x", uid="1.1")
    write(tmp_path / "new" / "x", uid="1.2", PatientComments="longer")
    write(tmp_path / "new" / "y", uid="1.3")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "old", tmp_path / "new", workers=1)
    (tmp_path / "new" / "x").unlink()
    wh.remove(tmp_path / "new", delete=True)
    (tmp_path / "old" / "x").rename(tmp_path / "new" / "x")
    os.utime(tmp_path / "new" / "y", (1_000_000, 1_000_000))
    done = wh.upkeep.relocate(tmp_path / "old", tmp_path / "new")
    assert (done.moved, done.kept) == (1, 0)
    report = wh.ingest(tmp_path / "new", workers=1)
    assert (report.existing, report.replaced) == (1, 1)


def test_a_file_that_no_longer_exists_takes_no_place(tmp_path: Path) -> None:
    write(tmp_path / "a" / "x", uid="1.1")
    write(tmp_path / "old" / "x", uid="1.1")
    write(tmp_path / "old" / "z", uid="1.2")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "a", tmp_path / "old", workers=1)
    (tmp_path / "old" / "x").unlink()
    wh.remove(tmp_path / "old", delete=True)
    write(tmp_path / "new" / "x", uid="1.1")
    wh.ingest(tmp_path / "new", workers=1)
    wh.upkeep.relocate(tmp_path / "old", tmp_path / "new")
    status = "select status from files where file_path like '%/new/x'"
    assert wh.sql(status).fetchall() == [("duplicate",)]


def test_buckets_and_names_that_are_no_text_are_moved(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path / "old") + b"/\xff")
    write(tmp_path / "x")
    os.makedirs(tmp_path / "old")
    os.rename(tmp_path / "x", name)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "old", workers=1)
    wh.upkeep.relocate(tmp_path / "old", tmp_path / "new")
    assert wh.sql("select file_path from files").fetchall() == [(f"file://{tmp_path}/new/%FF",)]
    write(tmp_path / "plain" / "1", uid="1.9")
    wh.ingest(tmp_path / "plain", workers=1)
    wh.upkeep.relocate(tmp_path / "plain", "s3://bucket/prefix/")
    wh.upkeep.relocate("s3://bucket/prefix", "s3://other")
    assert wh.sql("select file_path from files where file_path like 's3:%'").fetchall() == [
        ("s3://other/1",)
    ]


def test_files_may_be_moved_to_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff a"))
    write(tmp_path / "old" / "x")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "old", workers=1)
    (tmp_path / "old").rename(strange)
    assert wh.upkeep.relocate(tmp_path / "old", strange).moved == 1
    assert wh.ingest(strange, workers=1).existing == 1
    with pytest.raises(UsageError, match="UTF-8"):
        wh.upkeep.relocate(strange, "s3://bucket")


@pytest.mark.long("test_files_may_be_moved_to_a_name_that_is_not_utf_8")
def test_a_place_may_have_a_name_that_is_not_utf_8(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff a"))
    write(tmp_path / "x", uid="1.8")
    (tmp_path / "x").rename(tmp_path / "old" / os.fsdecode(b"\xfe"))
    wh.ingest(tmp_path / "old", workers=1)
    before = wh.sql(ROWS).fetchall()
    for here, there in ((tmp_path / "old", strange), (strange, tmp_path / "new")):
        here.rename(there)
        assert wh.upkeep.relocate(here, there).moved == 8
        report = wh.ingest(there, workers=1)
        assert (report.existing, report.duplicate, report.rejected) == (6, 1, 1)
    there.rename(tmp_path / "old")
    wh.upkeep.relocate(there, tmp_path / "old")
    assert wh.sql(ROWS).fetchall() == before
    with pytest.raises(UsageError, match="UTF-8"):
        wh.upkeep.relocate(strange, "s3://bucket")
    with pytest.raises(UsageError, match="no known file is in file://"):
        wh.upkeep.relocate(strange, tmp_path / "new")


def test_a_place_may_be_the_root_folder(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    before = wh.sql("select file_path from files order by all").fetchall()
    moved = wh.upkeep.relocate(tmp_path, "/")
    assert moved.moved == len(before)
    now = wh.sql("select file_path from files order by all").fetchall()
    assert now == [(path.removeprefix(str(tmp_path)),) for (path,) in before]
    wh.upkeep.relocate("/", tmp_path)
    assert wh.sql("select file_path from files order by all").fetchall() == before


def test_nothing_to_move_is_told(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no known file"):
        wh.upkeep.relocate(tmp_path / "ol", tmp_path / "new")
    with pytest.raises(UsageError, match="the same"):
        wh.upkeep.relocate(tmp_path / "old", tmp_path / "old" / ".")


def test_an_ingest_finds_what_was_moved(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    """Names repeat in folders, so the UID in the file decides; a changed file is read."""
    (tmp_path / "old" / "a").rename(tmp_path / "new")
    os.utime(tmp_path / "new" / "3", ns=(0, 0))
    os.utime(tmp_path / "new" / "1", ns=(1, 10**18))
    report = wh.ingest(tmp_path / "new", workers=1)
    assert (report.moved, report.duplicate, report.files) == (2, 2, 4)
    paths = wh.sql(
        "select file_path from instances where file_path like '%/new/%' order by all"
    ).fetchall()
    assert [Path(path).name for (path,) in paths] == ["0", "1", "2", "3"]
    again = wh.ingest(tmp_path / "new", workers=1)
    assert (again.moved, again.files, again.existing) == (0, 4, 4)


def test_a_copy_is_not_moved(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    assert wh.ingest(tmp_path / "new", workers=1).moved == 0


def test_a_file_of_another_instance_is_not_moved(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    """Same name, size and time: only its head says that it is another one."""
    old = tmp_path / "old" / "a" / "0"
    other = write(tmp_path / "new" / "0", uid="1.9")
    assert other.stat().st_size == old.stat().st_size
    os.utime(other, ns=(old.stat().st_atime_ns, old.stat().st_mtime_ns))
    old.unlink()
    assert wh.ingest(tmp_path / "new", workers=1).created == 1


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "deflated"])
def test_a_uid_that_begins_another_one_is_not_that_of_the_file(tmp_path: Path, syntax: str) -> None:
    """With its zero byte (PS3.5 9.4), 1.9 is as long as 1.91."""
    wh = warehouse.open(tmp_path / "w", create=True)
    for folder, uid in (("a", "1.9"), ("b", "1.91")):
        made = write(tmp_path / "old" / folder / "0", syntax=syntax, uid=uid, InstanceNumber=None)
        if syntax == "deflated":
            with made.open("ab") as file:  # equal sizes
                file.write(bytes(800 - made.stat().st_size))
        os.utime(made, ns=(10**18, 10**18))
    sizes = {path.stat().st_size for path in (tmp_path / "old").rglob("0")}
    assert len(sizes) == 1
    wh.ingest(tmp_path / "old", workers=1)
    (tmp_path / "new").mkdir()
    (tmp_path / "old" / "b").rename(tmp_path / "new" / "1")
    (tmp_path / "old" / "a").rename(tmp_path / "new" / "2")
    assert wh.ingest(tmp_path / "new", workers=1).moved == 2
    paths = wh.sql("select SOPInstanceUID, file_path from instances order by all").fetchall()
    assert paths == [("1.9", str(tmp_path / "new/2/0")), ("1.91", str(tmp_path / "new/1/0"))]


@pytest.mark.parametrize("padding", [b" ", b"", b"\0\0\0"])
def test_a_moved_file_is_known_whatever_its_uid_is_padded_with(
    tmp_path: Path, padding: bytes
) -> None:
    """Not as PS3.5 9.1 has it, but as some writers do; all of them are instance 1.9."""
    uid = b"1.9" + padding
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "0").write_bytes(part10(element(0x00080018, "UI", uid), uid=""))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "old", workers=1)
    (tmp_path / "old").rename(tmp_path / "new")
    assert wh.ingest(tmp_path / "new", workers=1).moved == 1
    assert wh.sql("select instance_key from instances").fetchall() == [("1.9",)]


def test_planned_batches_follow(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    write(tmp_path / "old" / "later", uid="4.1")
    for folder in ("old", "new"):
        write(tmp_path / folder / "both", uid="4.2")
    with zipfile.ZipFile(tmp_path / "old" / "d.zip", "w") as archive:
        archive.write(write(tmp_path / "member", uid="4.3"), "in/side")
    (batch,) = wh.batches.plan(tmp_path / "old", tmp_path / "new")
    (tmp_path / "old" / "both").unlink()
    shutil.copytree(tmp_path / "old", tmp_path / "new", dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "old")
    done = json.loads(
        run("relocate", tmp_path / "old", tmp_path / "new", "--json", "-w", wh.root).stdout
    )
    assert (done["moved"], done["planned"]) == (7, 2)
    assert wh.batches.plan(tmp_path / "new") == []
    report = wh.batches.run(batch)
    assert (report.created, report.rejected, report.files) == (3, 0, 3)
    assert wh.sql("from files where file_path like '%/old/%'").fetchall() == []


def test_planned_batches_are_enough(tmp_path: Path) -> None:
    """A name that is not UTF-8 is a file URL in a plan, too."""
    old, new = tmp_path / "old", tmp_path / os.fsdecode(b"new\xff")
    write(old / "a", uid="1.1")
    made = warehouse.open(tmp_path / "w", create=True)
    made.batches.plan(old)
    old.rename(new)
    with pytest.raises(UsageError, match="no known file"):
        made.upkeep.relocate(tmp_path / "ol", new)
    assert made.upkeep.relocate(old, new).planned == 1
    assert made.batches.run("000001").created == 1
