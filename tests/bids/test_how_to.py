"""What docs/how-to/bids.md shows is what happens: its Python runs, block by block."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import warehouse
from tests.bids.conftest import DataSet

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "bids.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_report_is_read_as_the_page_says(
    exported: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    *_, report = blocks()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dataset").symlink_to(exported.folder)
    exec(compile(report, str(PAGE), "exec"), {})
    assert "uneven spacing" in capsys.readouterr().out
    assert exported.facts["bids"]["series_written"] == 10


@pytest.mark.long("test_the_report_is_read_as_the_page_says")
def test_the_tour_runs(
    archive: tuple[warehouse.Warehouse, dict[str, str]], exported: DataSet,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shutil.copytree(archive[0].root, tmp_path / "archive")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks():
        exec(compile(block, str(PAGE), "exec"), names)
    said = capsys.readouterr().out
    assert "'series_written': 10" in said
    assert "_task-rest_dir-FWD_bold" in said
    assert "uneven spacing" in said
    # The other was broken off and gone on with: its subjects are the same, file by file.
    files = {
        path.relative_to(exported.folder): path.read_bytes()
        for path in exported.folder.glob("sub-*/**/*")
        if path.is_file()
    }
    assert len(files) > 24
    assert files == {
        path.relative_to(tmp_path / "dataset"): path.read_bytes()
        for path in (tmp_path / "dataset").glob("sub-*/**/*")
        if path.is_file()
    }
