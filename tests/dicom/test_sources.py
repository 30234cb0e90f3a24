"""Folders of days, and what a look at folders alone can tell."""

from __future__ import annotations

import datetime as dt
import os
import zipfile
from typing import TYPE_CHECKING

import pytest

from warehouse.dicom.sources import day_folders, folder_state
from warehouse.errors import SourceNotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NEW_YEAR = dt.date(2026, 1, 1)


def test_the_newest_days_across_a_turn_of_the_year(tmp_path: Path) -> None:
    for day in ("2026/01/01", "2025/12/31", "2025/12/29", "2026/01/02"):
        (tmp_path / "in" / day).mkdir(parents=True)
    here = str(tmp_path / "in")
    assert day_folders([here], 1, NEW_YEAR) == [f"{here}/2026/01/01"]
    assert day_folders([here], 4, NEW_YEAR) == [
        f"{here}/{day}" for day in ("2025/12/29", "2025/12/31", "2026/01/01")
    ]
    assert day_folders([here], 1, dt.date(2024, 2, 29)) == []
    with pytest.raises(SourceNotFound):
        day_folders([here, f"{here}-not"], 1, NEW_YEAR)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a/1", "a/2", "b/c/3"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    with zipfile.ZipFile(tmp_path / "in/b/z.ZIP", "w") as archive:
        archive.writestr("4", "4")
    # So that a change made by this test, however quick, is another time.
    for path in (tmp_path / "in", *(tmp_path / "in").rglob("*")):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return tmp_path / "in"


CHANGES: dict[str, Callable[[Path], object]] = {
    "a new file": lambda root: (root / "a/new").write_text("new"),
    "a file that is gone": lambda root: (root / "b/c/3").unlink(),
    "another name": lambda root: (root / "a/1").rename(root / "a/0"),
    "a file put in the place of another": lambda root: (root / "b/c/3").replace(root / "a/1"),
    "a new folder": lambda root: (root / "b/c/d").mkdir(),
    "another archive": lambda root: (root / "b/z.ZIP").write_bytes(b""),
    "a link to a folder": lambda root: (root / "a/loop").symlink_to(root),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(folder: Path, change: str) -> None:
    before = folder_state([folder])
    assert folder_state([folder]) == before
    assert before.newest_us == 10**15
    CHANGES[change](folder)
    after = folder_state([folder])
    assert after.digest != before.digest
    assert folder_state([folder]) == after


def test_a_change_beside_a_link_to_itself_is_seen(folder: Path) -> None:
    (folder / "self").symlink_to(folder / "self")
    before = folder_state([folder])
    (folder / "b/c/new").write_text("new")
    assert folder_state([folder]) != before


def test_the_order_of_sources_and_entries_is_no_change(folder: Path) -> None:
    sources = [folder / "a", folder / "b"]
    assert folder_state(sources) == folder_state(reversed(sources))


def test_the_warehouse_may_lie_in_the_source(folder: Path) -> None:
    (folder / "w").mkdir()
    before = folder_state([folder], exclude=folder / "w")
    (folder / "w/part.parquet").write_text("more")
    assert folder_state([folder], exclude=folder / "w") == before


def test_a_source_that_comes_or_cannot_be_read(folder: Path) -> None:
    missing = folder / "later"
    before = folder_state([missing])
    missing.mkdir()
    assert folder_state([missing]) != before
