"""Every line of docs/how-to/from-django-dicom.md runs on real files, and what it says of them is so."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest

import warehouse
from tests.asking import cohort_of
from tests.command_line import run

PAGE = (Path(__file__).parents[1] / "docs/how-to/from-django-dicom.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| .* \| (`.*`) \|$", PAGE, re.MULTILINE)
CODES = [code for row in ROWS for code in re.findall(r"`([^`]+)`", row)]


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the first block of the page defines, in the folder where its lines run."""
    home = tmp_path_factory.mktemp("django")
    packaged = Path(pydicom.data.__path__[0]) / "test_files"
    (home / "scans").mkdir()
    for name in ("MR_small.dcm", "CT_small.dcm"):
        shutil.copy(packaged / name, home / "scans")
    # Of the MR two more slices, so that it is a volume.
    slice_ = pydicom.dcmread(packaged / "MR_small.dcm")
    x, y, z = slice_.ImagePositionPatient
    for number in (1, 2):
        slice_.SOPInstanceUID = f"1.2.3.{number}"
        slice_.file_meta.MediaStorageSOPInstanceUID = slice_.SOPInstanceUID
        slice_.ImagePositionPatient = [x, y, z + 2 * number]
        slice_.save_as(home / "scans" / f"{number}.dcm")
    wh = warehouse.open(home / "archive", create=True)
    wh.ingest(home / "scans", workers=1)
    cohort_of(wh, "every", "select series_key from instances")
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    defined: dict[str, Any] = {"home": home}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        exec(compile(block, "page", "exec"), defined)
    return defined


@pytest.mark.parametrize("code", CODES)
def test_a_line_of_the_tables_runs(
    names: dict[str, Any], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(names["home"])
    if code.startswith("dicom-warehouse "):
        done = run(*shlex.split(code)[1:])
        assert done.returncode == 0, done.stderr
        return
    found = eval(code, names)
    if ".sql(" in code or ".select(" in code:
        found = found.fetchall()
    assert found is not None


def test_the_tables_are_all_read() -> None:
    assert len(ROWS) >= 30
    assert len(CODES) >= len(ROWS)
    # Of all rows only the last, a link, is no code.
    assert PAGE.count("\n| ") - 2 * PAGE.count("| --- | --- |") == len(ROWS) + 1
