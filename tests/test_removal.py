"""Files that vanished: taken out when told, taken over by copies, never by mistake."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

import warehouse
from tests.command_line import run
from tests.content import content
from tests.dicom_files import image, write
from tests.place import Place
from tests.vendor_payloads import CSA, add_private, csa
from warehouse.dicom import scan
from warehouse.dicom.scan import Unreadable
from warehouse.errors import NotAWarehouse, SourceNotFound, SourcesVanished, WriteFailed
from warehouse.ingest import ingest
from warehouse.removal import RemovalReport, remove
from warehouse.repair import repair
from warehouse.settings import IngestSettings, Mode
from warehouse.store import commit, delta
from warehouse.store.compact import compact
from warehouse.store.verify import verify

SETTINGS = IngestSettings(mode=Mode.FULL, workers=1, batch_files=3)


def fill(folder: Path) -> None:
    """Put five instances with values and payloads that they share there, a copy of two, a reject."""
    source = folder / "in"
    for number in range(5):
        made = image(f"1.{number}", InstanceNumber=number)
        made.add_new(0x00420011, "OB", bytes([number % 3]) * 600)
        add_private(made, CSA, 0x29, 0x11, x10=("OB", csa([("B_value", "IS", [str(number % 3)])])))
        write(source / f"{number}", made)
    shutil.copy(source / "0", source / "copy")
    shutil.copy(source / "1", source / "zcopy")
    (source / "broken").write_bytes(b"nothing")
    ingest(folder / "w", [source], SETTINGS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("removal"))


@pytest.fixture
def tmp_path(place: Place) -> Path:
    """The same folder for each test, empty: paths of files stand in the warehouse."""
    return place.emptied()


@pytest.fixture
def root(place: Place, tmp_path: Path) -> Path:
    return place.filled(fill) / "w"


@pytest.fixture
def source(root: Path) -> Path:
    return root.parent / "in"


def statuses(root: Path) -> dict[str, tuple[str, str | None]]:
    rows = (
        warehouse.open(root, create=True)
        .sql("select file_path, status, reason from files")
        .fetchall()
    )
    return {path.rsplit("/in", 1)[1]: (status, reason) for path, status, reason in rows}


def without_removed(held: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return held | {"files": [row for row in held["files"] if "removed" not in row]}


def test_members_of_an_archive_on_a_disk_that_is_away_count_as_existing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "disk.zip", "w") as archive:
        archive.write(write(tmp_path / "1.dcm"), "1.dcm")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.zip").symlink_to(tmp_path / "disk.zip")
    write(tmp_path / "in" / "2.dcm", uid="1.2")
    ingest(tmp_path / "w", [tmp_path / "in"], SETTINGS)
    (tmp_path / "disk.zip").unlink()
    assert remove(tmp_path / "w", [tmp_path / "in"]).vanished == 0


def test_the_warehouse_is_as_if_the_files_had_never_been(
    root: Path, source: Path, tmp_path: Path
) -> None:
    for name in ("0", "3", "4", "broken", "zcopy"):
        (source / name).unlink()
    done = remove(root, [source], SETTINGS, delete=True)
    assert done == RemovalReport(
        known=8, vanished=5, removed=5, instances=3, taken_over=1,
        version=delta.snapshot(root).version, is_done=True,
    )  # fmt: skip
    assert statuses(root) == {
        "/1": ("ingested", None), "/2": ("ingested", None), "/copy": ("ingested", None),
        **dict.fromkeys(["/0", "/3", "/4", "/broken", "/zcopy"], ("removed", "no longer there")),
    }  # fmt: skip
    ingest(tmp_path / "clean", [source], SETTINGS)
    assert without_removed(content(root)) == content(tmp_path / "clean")
    again = remove(root, [source], SETTINGS, delete=True)
    assert (again.known, again.vanished) == (3, 0)
    assert again.version == done.version


@pytest.mark.long("test_the_warehouse_is_as_if_the_files_had_never_been")
def test_so_it_is_after_a_compaction(root: Path, source: Path, tmp_path: Path) -> None:
    compact(root)
    for name in ("0", "2", "4"):
        (source / name).unlink()
    remove(root, [source], SETTINGS, delete=True)
    ingest(tmp_path / "clean", [source], SETTINGS)
    assert without_removed(content(root)) == content(tmp_path / "clean")


def test_without_being_told_to_it_only_counts(root: Path, source: Path) -> None:
    (source / "0").unlink()
    before = delta.snapshot(root)
    done = remove(root, [source], SETTINGS)
    assert (done.known, done.vanished, done.removed, done.is_done) == (8, 1, 0, False)
    assert delta.snapshot(root) == before


@pytest.mark.long("test_the_warehouse_is_as_if_the_files_had_never_been")
def test_a_file_that_comes_back_is_ingested(root: Path, source: Path, tmp_path: Path) -> None:
    shutil.move(source / "0", tmp_path / "aside")
    shutil.move(source / "3", tmp_path / "aside3")
    remove(root, [source], SETTINGS, delete=True)
    shutil.move(tmp_path / "aside", source / "0")
    shutil.move(tmp_path / "aside3", source / "3")
    report = ingest(root, [source], SETTINGS)
    assert (report.created, report.replaced) == (1, 0)
    ingest(tmp_path / "clean", [source], SETTINGS)
    assert content(root) == content(tmp_path / "clean")


def test_files_of_other_sources_are_left_alone(root: Path, source: Path, tmp_path: Path) -> None:
    """Not even those of a folder whose name only begins alike."""
    write(tmp_path / "in2" / "x", uid="7.7")
    ingest(root, [tmp_path / "in2"], SETTINGS)
    (tmp_path / "in2" / "x").unlink()
    (source / "3").unlink()
    assert remove(root, [source], SETTINGS, delete=True).removed == 1
    assert statuses(root)["2/x"] == ("ingested", None)


def test_members_that_an_archive_has_lost(root: Path, source: Path, tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "zipped" / f"{number}", uid=f"9.{number}")
    shutil.make_archive(str(source / "a"), "zip", tmp_path / "zipped")
    ingest(root, [source], SETTINGS)
    assert remove(root, [source], SETTINGS).vanished == 0
    (tmp_path / "zipped" / "1").unlink()
    shutil.make_archive(str(source / "a"), "zip", tmp_path / "zipped")
    assert remove(root, [source], SETTINGS, delete=True).removed == 1
    assert statuses(root)["/a.zip!/1"][0] == "removed"
    (source / "a.zip").write_bytes(b"being written")
    assert remove(root, [source], SETTINGS).vanished == 0, "an archive that cannot be read"
    (source / "a.zip").unlink()
    assert remove(root, [source], SETTINGS, delete=True).removed == 2


def test_a_path_that_is_listed_as_others_now(root: Path, source: Path, tmp_path: Path) -> None:
    """An archive that was copied completely since, and a folder in the place of a file."""
    packed = Path(shutil.make_archive(str(tmp_path / "a"), "zip", source))
    (source / "a.zip").write_bytes(packed.read_bytes()[:100])
    ingest(root, [source], SETTINGS)
    (source / "1").rename(tmp_path / "1")
    (source / "1").mkdir()
    (tmp_path / "1").rename(source / "1" / "x")
    shutil.copy(packed, source / "a.zip")
    ingest(root, [source], SETTINGS)
    assert remove(root, [source], SETTINGS, delete=True).removed == 2
    ingest(tmp_path / "clean", [source], SETTINGS)
    assert without_removed(content(root)) == content(tmp_path / "clean")
    assert remove(root, [source], SETTINGS).vanished == 0


def test_a_folder_is_not_the_archive_that_its_name_begins_with(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(write(tmp_path / "1.dcm", uid="1.1"), "1.dcm")
    write(tmp_path / "a.zip!" / "2.dcm", uid="1.2")
    ingest(tmp_path / "w", [tmp_path], SETTINGS)
    assert remove(tmp_path / "w", [tmp_path], SETTINGS).vanished == 0


def test_times_that_are_no_dates_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file server with a wrong clock: `datetime` ends with the year 9999."""
    real = scan._list_file

    def later(path: str, patterns: list[str]) -> list[Any]:
        return [
            item if isinstance(item, Unreadable) else item._replace(modified_us=4 * 10**17)
            for item in real(path, patterns)
        ]

    monkeypatch.setattr(scan, "_list_file", later)
    for number in range(2):
        write(tmp_path / "in" / f"{number}", uid=f"1.{number}")
    root = tmp_path / "w"
    ingest(root, [tmp_path / "in"], SETTINGS)
    (part,) = delta.snapshot(root).parts["elements"]
    (root / "elements" / part).unlink()
    assert repair(root, verify(root)).files == 2
    (tmp_path / "in" / "0").unlink()
    assert remove(root, [tmp_path / "in"], SETTINGS, delete=True).removed == 1


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    folder = tmp_path / "Gr\udcfcn"
    write(folder / "a\udcff", uid="1.1")
    write(folder / "b", uid="1.2")
    ingest(tmp_path / "w", [folder], SETTINGS)
    (folder / "a\udcff").unlink()
    done = remove(tmp_path / "w", [folder], SETTINGS, delete=True)
    assert (done.known, done.removed) == (2, 1)


# -- what looks alike -----------------------------------------------------------------------------


def test_a_disk_that_is_not_mounted_is_no_reason(root: Path, source: Path, tmp_path: Path) -> None:
    before = delta.snapshot(root)
    shutil.move(source, tmp_path / "elsewhere")
    with pytest.raises(SourceNotFound):
        remove(root, [source], SETTINGS, delete=True)
    source.mkdir()
    with pytest.raises(SourcesVanished, match="none of the 8 known files .* mounted"):
        remove(root, [source], SETTINGS, delete=True)
    assert delta.snapshot(root) == before
    assert remove(root, [source], SETTINGS, delete=True, even_all=True).removed == 8
    assert content(root)["instances"] == content(root)["elements"] == content(root)["blobs"] == []


def test_what_cannot_be_looked_at_has_not_vanished(
    root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing disk or missing rights; root of this machine may look at everything."""
    real = os.lstat

    def refuse(path: Any, **options: Any) -> os.stat_result:
        if str(path).endswith("/3"):
            raise PermissionError(13, "Permission denied")
        return real(path, **options)

    monkeypatch.setattr(os, "lstat", refuse)
    assert remove(root, [source], SETTINGS).vanished == 0


def test_a_file_that_was_read_anew_meanwhile_stays(
    root: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was missed, came back changed and was ingested before the lock was taken."""
    (source / "3").unlink()
    real = commit.commit_removal

    def commit_late(*arguments: Any) -> Any:
        write(source / "3", uid="1.3", PatientID="came back")
        ingest(root, [source], SETTINGS)
        return real(*arguments)

    monkeypatch.setattr("warehouse.removal.commit_removal", commit_late)
    assert remove(root, [source], SETTINGS, delete=True).removed == 0
    ingest(tmp_path / "clean", [source], SETTINGS)
    assert content(root) == content(tmp_path / "clean")


def test_a_full_disk_changes_nothing(
    root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, files = delta.snapshot(root), set(root.rglob("*.parquet"))
    (source / "3").unlink()

    def refuse(*arguments: Any) -> Any:
        raise WriteFailed("rows of blobs", OSError(28, "No space left on device"))

    with monkeypatch.context() as patched:
        patched.setattr(commit, "update_blobs", refuse)
        with pytest.raises(WriteFailed):
            remove(root, [source], SETTINGS, delete=True)
    assert delta.snapshot(root) == before
    assert set(root.rglob("*.parquet")) == files


def test_a_folder_that_is_no_warehouse(tmp_path: Path) -> None:
    with pytest.raises(NotAWarehouse):
        remove(tmp_path / "none", [tmp_path], delete=True)


def test_the_command_counts_and_removes_when_told(root: Path, source: Path) -> None:
    (source / "3").unlink()
    counted = run("remove", source, "-w", root)
    assert counted.stdout == "8 known files, 1 missing\nuse --yes to remove them\n"
    done = run("remove", source, "-w", root, "--yes", "--json")
    assert json.loads(done.stdout)["removed"] == 1


def test_a_duplicate_that_takes_over_is_read_with_the_limits_of_the_variable(
    root: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a lower limit, which costs less to exceed than the default."""
    monkeypatch.setenv("DICOM_WAREHOUSE_LIMITS", "rows=5")
    (source / "0").unlink()
    assert warehouse.open(root).remove(source, delete=True).taken_over == 0
    assert (statuses(root)["/copy"][1] or "").startswith("more than 5 values")
