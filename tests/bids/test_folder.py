"""The folder of a data set is ours or empty; an export that was broken off goes on; no link is followed."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from tests.bids.conftest import DataSet
from warehouse.bids import folder
from warehouse.cohorts.provenance import verify
from warehouse.errors import ExportFailed, TargetExists


def test_a_folder_of_others_is_left_alone(exported: DataSet, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(TargetExists, match="other files"):
        exported.wh.export("everything", tmp_path, "bids")
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_a_folder_of_another_export_is_left_alone(exported: DataSet) -> None:
    before = sorted(exported.folder.rglob("*"))
    with pytest.raises(TargetExists, match="another export"):
        exported.wh.export("everything", exported.folder, "bids", identifiers=False)
    assert sorted(exported.folder.rglob("*")) == before


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_target_that_is_no_folder_is_refused(
    exported: DataSet, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    if kind == "link":
        (tmp_path / "d").symlink_to(tmp_path / "elsewhere")
    else:
        (tmp_path / "d").write_text("")
    with pytest.raises(TargetExists):
        exported.wh.export("everything", tmp_path / "d", "bids")
    assert os.listdir(tmp_path / "elsewhere") == []


def test_what_was_broken_off_goes_on(exported: DataSet, tmp_path: Path) -> None:
    # That the rest is what an export has that was not broken off, test_how_to compares.
    assert len(exported.times) == 3
    for name, written_at in exported.times.items():
        assert (exported.folder / name).stat().st_mtime_ns == written_at
    assert verify(exported.folder).problems == ()
    shutil.copytree(exported.folder, tmp_path / "d")
    (tmp_path / "d" / "README").write_text("other")
    assert verify(tmp_path / "d").problems == ("README: other content than was written",)


def test_links_in_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    with folder.claimed(tmp_path / "d", {"run": "a"}) as root:
        (tmp_path / "d" / "README").symlink_to(outside / "precious")
        folder.write(root, "README", b"ours")
        assert (outside / "precious").read_text() == "precious"
        assert folder.read(root, "README") == b"ours"
        (tmp_path / "d" / "sub-1").symlink_to(outside)
        with pytest.raises(ExportFailed):
            folder.write(root, "sub-1/new", b"ours")
        assert not folder.has(root, "sub-1/precious")
        (tmp_path / "d" / "again").symlink_to(outside / "precious")
        assert not folder.has(root, "again")
        with pytest.raises(ExportFailed), folder.opened(root, "again"):
            pass
    assert os.listdir(outside) == ["precious"]
    with pytest.raises(TargetExists), folder.claimed(tmp_path / "d", {"run": "b"}):
        pass


def test_a_folder_that_cannot_be_made_is_no_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full, or read-only since the export was broken off."""

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    root = os.open(tmp_path, os.O_RDONLY)
    monkeypatch.setattr(os, "mkdir", fails)
    try:
        assert not folder.has(root, "sub-1/x.json")
        with pytest.raises(ExportFailed):
            folder.write(root, "sub-1/x.json", b"{}")
    finally:
        os.close(root)
