"""The folder of a data set is ours or empty; an export that was broken off goes on; no link is followed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bids.conftest import DataSet
from warehouse.bids import folder
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


def test_what_was_broken_off_goes_on(
    exported: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    real = folder.write

    def failing(root: int, name: str, content: bytes) -> None:
        if name.endswith(".nii.gz"):
            if len(written) == 3:
                raise ExportFailed(name, "the disk is full")
            written.append(name)
        real(root, name, content)

    monkeypatch.setattr(folder, "write", failing)
    with pytest.raises(ExportFailed, match="disk is full"):
        exported.wh.export("everything", tmp_path / "d", "bids")
    times = {name: (tmp_path / "d" / name).stat().st_mtime_ns for name in written}
    monkeypatch.undo()
    exported.wh.export("everything", tmp_path / "d", "bids")
    assert {name: (tmp_path / "d" / name).stat().st_mtime_ns for name in written} == times
    files = [path for path in exported.folder.rglob("*") if path.is_file()]
    for path in files:
        assert (
            tmp_path / "d" / path.relative_to(exported.folder)
        ).read_bytes() == path.read_bytes()
    assert len([path for path in (tmp_path / "d").rglob("*") if path.is_file()]) == len(files)


def test_links_in_the_folder_are_not_followed(exported: DataSet, tmp_path: Path) -> None:
    target = tmp_path / "d"
    exported.wh.export("everything", target, "bids")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    (target / "README").unlink()
    (target / "README").symlink_to(outside / "precious")
    exported.wh.export("everything", target, "bids")
    assert (outside / "precious").read_text() == "precious"
    assert not (target / "README").is_symlink()
    (target / "sub-A1" / "sub-A1_sessions.tsv").unlink()
    (target / "sub-A1").rename(outside / "sub-A1")
    (target / "sub-A1").symlink_to(outside / "sub-A1")
    with pytest.raises(ExportFailed):
        exported.wh.export("everything", target, "bids")
    assert not (outside / "sub-A1" / "sub-A1_sessions.tsv").exists()
