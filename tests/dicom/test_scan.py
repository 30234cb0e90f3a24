"""Folders, files and archives → source files; nothing is skipped silently."""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from tests.dicom_files import part10, write
from warehouse.dicom import scan
from warehouse.dicom.open import open_source
from warehouse.dicom.scan import SourceFile, Unreadable, discover
from warehouse.errors import Rejected, SourceNotFound


def paths(*sources: Path, **options: object) -> list[str]:
    """List the sources; an unreadable one is shown with its reason."""
    return [
        item.path if isinstance(item, SourceFile) else f"{item.path} ({item.reason})"
        for item in discover(sources, **options)  # type: ignore[arg-type]
    ]


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


@pytest.mark.acceptance("D4")
def test_folders_are_listed_recursively_with_any_extension_or_none(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.DCM", "a/1", "a/c/3.ima", ".hidden", "b/DICOMDIR")
    names = [".hidden", "a/1", "a/c/3.ima", "b/2.DCM", "b/DICOMDIR"]
    assert paths(tmp_path) == [str(tmp_path / name) for name in names]


def test_files_come_in_order_of_their_paths_which_is_not_that_of_names(tmp_path: Path) -> None:
    """Portions of a listing are read one after the other, and batches follow their paths."""
    touch(tmp_path, "a/1", "a-b/1", "a.b", "a!/1", "a0", "a/1-2/3", "a b", "A/z", "\u00e4/1")
    for name in ("x.zip", "x.ZIP"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("1", b"x")
    touch(tmp_path, "x.zip ", "x.zip!", "x.zip!z")
    assert paths(tmp_path) == sorted(paths(tmp_path))
    assert len(paths(tmp_path)) == 14


def test_an_empty_folder_has_no_files(tmp_path: Path) -> None:
    assert paths(tmp_path) == []


def test_size_and_time_are_those_of_the_file(tmp_path: Path) -> None:
    touch(tmp_path, "1")
    os.utime(tmp_path / "1", ns=(0, 1_234_567_890_123_456_789))
    assert list(discover([tmp_path])) == [SourceFile(str(tmp_path / "1"), 1, 1_234_567_890_123_456)]


@pytest.mark.acceptance("D4")
@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["*.dcm"], ["1.dcm", "2.DCM"]),
        (["*.DCM"], ["1.dcm", "2.DCM"]),
        (["*.ima", "im*"], ["3.ima", "IM0001"]),
        (["nothing"], []),
    ],
)
def test_patterns_narrow_the_names_without_case(
    tmp_path: Path, patterns: list[str], expected: list[str]
) -> None:
    touch(tmp_path, "1.dcm", "2.DCM", "3.ima", "IM0001", "notes.txt")
    assert [Path(path).name for path in paths(tmp_path, patterns=patterns)] == expected


def test_a_source_that_does_not_exist_is_told_before_anything_is_listed(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="no such file or folder: .*missing"):
        discover([tmp_path, tmp_path / "missing"])


def test_a_link_to_nothing_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    assert paths(tmp_path) == [f"{tmp_path}/link (cannot be opened: No such file or directory)"]


def test_links_to_folders_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "real/1")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "other").symlink_to(tmp_path / "real")
    assert paths(tmp_path) == [
        f"{tmp_path}/other/1",
        f"{tmp_path}/other/up (link back to a folder above it: not followed)",
        f"{tmp_path}/real/1",
        f"{tmp_path}/real/up (link back to a folder above it: not followed)",
    ]


def test_a_link_to_itself_is_a_row_and_hides_no_other_file(tmp_path: Path) -> None:
    touch(tmp_path, "a/1", "z/2")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    first, row, last = paths(tmp_path)
    assert (first, last) == (f"{tmp_path}/a/1", f"{tmp_path}/z/2")
    assert row == f"{tmp_path}/self (cannot be opened: Too many levels of symbolic links)"


def test_a_fifo_is_a_row_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert paths(tmp_path) == [f"{tmp_path}/pipe (not a regular file)"]


def test_a_file_that_became_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    source = SourceFile(str(tmp_path / "pipe"), 1, 0)
    with pytest.raises(Rejected, match="cannot be read"), open_source(source) as file:
        file.seek(0, os.SEEK_END)


def test_a_name_that_is_no_utf8_is_a_url_and_can_be_opened(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/Gr\xfcn 1"
    Path(os.fsdecode(raw)).write_bytes(b"content")
    (found,) = discover([tmp_path])
    assert isinstance(found, SourceFile)
    assert found.path == f"file://{tmp_path}/Gr%FCn%201"
    with open_source(found) as file:
        assert file.read() == b"content"


def test_folders_may_nest_as_deep_as_paths_reach(tmp_path: Path) -> None:
    # Made and removed step by step: the standard library's ways to do both recurse.
    folders = [f"{tmp_path}{'/d' * depth}" for depth in range(1, 1800)]
    for folder in folders:
        os.mkdir(folder)
    file = Path(folders[-1]) / "1"
    file.write_bytes(b"x")
    assert paths(tmp_path) == [str(file)]
    file.unlink()
    for folder in reversed(folders):
        os.rmdir(folder)


def test_a_path_too_long_to_open_is_a_row(tmp_path: Path) -> None:
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(20):
            os.mkdir("n" * 250)
            os.chdir("n" * 250)
    finally:
        os.chdir(before)
    (found,) = discover([tmp_path])
    shutil.rmtree(tmp_path / ("n" * 250))
    assert isinstance(found, Unreadable)
    assert "File name too long" in found.reason
    assert len(found.path) > 4096


def test_the_warehouse_inside_a_source_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "1", "warehouse/files/part", "elsewhere/2")
    assert paths(tmp_path, exclude=str(tmp_path / "warehouse")) == [
        f"{tmp_path}/1", f"{tmp_path}/elsewhere/2",
    ]  # fmt: skip


def test_the_warehouse_is_left_out_whatever_way_leads_to_it(tmp_path: Path) -> None:
    touch(tmp_path, "data/1", "data/warehouse/files/part")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert paths(tmp_path / "link", exclude=str(tmp_path / "data" / "warehouse")) == [
        f"{tmp_path}/link/1"
    ]


UNPRIVILEGED = """
import os, sys
sys.path.insert(0, sys.argv[2])
import encodings.idna, warehouse.dicom.open, warehouse.dicom.scan as scan
os.chdir(sys.argv[1])
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
for item in scan.discover(["."]):
    try:
        if isinstance(item, scan.Unreadable):
            print(item.reason)
        else:
            with warehouse.dicom.open.open_source(item):
                print("opened")
    except warehouse.errors.Rejected as why:
        print(why.reason)
"""
"""Lists its working folder as a user without rights, because root may read everything."""


def test_what_may_not_be_read_is_a_row() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        touch(folder, "closed/1", "file", "open")
        folder.chmod(0o755)
        (folder / "closed").chmod(0)
        (folder / "file").chmod(0)
        checkout = str(Path(__file__).parents[2])
        done = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, name, checkout],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        (folder / "closed").chmod(0o700)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "folder cannot be listed: Permission denied",
        "cannot be read: Permission denied",
        "opened",
    ]


# -- archives -------------------------------------------------------------------------------------


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


def test_members_of_an_archive_are_files(tmp_path: Path) -> None:
    archive(tmp_path / "a.ZIP", **{"s/1.dcm": b"one", "s/": b"", "2": b"two"})
    found = list(discover([tmp_path]))
    assert [item.path for item in found] == [f"{tmp_path}/a.ZIP!/s/1.dcm", f"{tmp_path}/a.ZIP!/2"]
    assert isinstance(found[0], SourceFile)
    assert found[0].size_bytes == 3
    with open_source(found[0]) as file:
        assert file.read() == b"one"


def test_patterns_apply_to_members_and_not_to_archives(tmp_path: Path) -> None:
    archive(tmp_path / "a.zip", **{"1.dcm": b"", "notes.txt": b""})
    assert paths(tmp_path, patterns=["*.dcm"]) == [f"{tmp_path}/a.zip!/1.dcm"]


def test_a_member_stored_twice_is_one_file_the_last(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made, pytest.warns(UserWarning):
        made.writestr("1", b"old")
        made.writestr("1", b"newer")
    (found,) = discover([tmp_path])
    assert isinstance(found, SourceFile)
    assert found.size_bytes == 5
    with open_source(found) as file:
        assert file.read() == b"newer"


def test_an_archive_beside_a_folder_of_the_name_of_its_members_is_a_row(tmp_path: Path) -> None:
    """Two files had the path ``y.zip!/a``, and one of them was lost."""
    touch(tmp_path / "in/y.zip!", "a")
    archive(tmp_path / "in/y.zip", a=b"of the archive")
    archive(tmp_path / "in/z.zip", a=b"of the archive")
    (tmp_path / "in/z.zip!").touch()
    found = list(discover([tmp_path / "in"]))
    assert [item.path.removeprefix(f"{tmp_path}/in/") for item in found] == [
        "y.zip", "y.zip!/a", "z.zip!", "z.zip!/a",
    ]  # fmt: skip
    assert isinstance(found[0], Unreadable)
    assert "rename the folder" in found[0].reason
    assert isinstance(found[1], SourceFile)
    assert found[1].archive is None


def test_an_archive_in_an_archive_is_a_row(tmp_path: Path) -> None:
    archive(tmp_path / "a.zip", **{"b.zip": b"PK"})
    assert paths(tmp_path) == [
        f"{tmp_path}/a.zip!/b.zip (zip archive inside a zip archive: not opened)"
    ]


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no archive", bytes(100)])
def test_a_broken_archive_is_a_row(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    assert paths(tmp_path)[0].startswith(f"{tmp_path}/a.zip (broken zip archive: ")


def test_a_bomb_is_refused_by_its_declared_size(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", one=bytes(1000))
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\1\2")
    content[central + 24 : central + 28] = struct.pack("<L", 4_000_000_000)
    path.write_bytes(content)
    (found,) = discover([tmp_path])
    assert isinstance(found, Unreadable)
    assert "4000000000 bytes" in found.reason
    assert "refused as a possible zip bomb" in found.reason


def test_one_member_may_be_the_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MAX_UNCHECKED_BYTES", 100_000)
    archive(tmp_path / "a.zip", bomb=bytes(200_000), fine=random.Random(1).randbytes(9000))
    bomb, fine = paths(tmp_path)
    assert bomb.endswith(
        "!/bomb (member would unpack to 200000 bytes: refused as a possible zip bomb)"
    )
    assert fine.endswith("!/fine")


def test_a_member_that_unpacks_to_more_than_it_says_is_rejected(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", one=bytes(100_000))
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\1\2")
    content[central + 24 : central + 28] = struct.pack("<L", 10)
    path.write_bytes(content)
    (found,) = discover([tmp_path])
    assert isinstance(found, SourceFile)
    with pytest.raises(Rejected, match="broken zip archive"), open_source(found) as file:
        file.read()


def test_an_encrypted_member_is_rejected(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", one=b"secret")
    content = bytearray(path.read_bytes())
    for magic, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(magic) + place] |= 1
    path.write_bytes(content)
    (found,) = discover([tmp_path])
    assert isinstance(found, SourceFile)
    with pytest.raises(Rejected, match="zip member is encrypted"), open_source(found):
        pass


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_any_bytes_changed_in_an_archive_never_raise_anything_else(
    tmp_path: Path, method: int
) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as opened:
        opened.writestr("ä.dcm", part10())
    whole = made.getvalue()
    path = tmp_path / "a.zip"
    numbers = random.Random(method)
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= numbers.randrange(1, 256)
        path.write_bytes(content)
        for item in discover([path]):
            if isinstance(item, SourceFile):
                try:
                    with open_source(item) as file:
                        file.read()
                except Rejected as why:
                    assert why.reason


def test_sources_may_be_files_folders_and_archives(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1")
    archive(tmp_path / "b.zip", one=b"1")
    assert paths(tmp_path / "a", tmp_path / "b.zip", tmp_path / "a" / "1") == [
        f"{tmp_path}/a/1", f"{tmp_path}/b.zip!/one", f"{tmp_path}/a/1",
    ]  # fmt: skip
