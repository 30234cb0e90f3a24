"""Examples of docstrings run, and print what they say; ``wh`` and ``uid`` are those of a small archive.

Those of derived objects have an archive of their own.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import re
import shutil
from pathlib import Path

import pydicom.data
import pytest

import warehouse
from tests.asking import answer_of
from tests.derived_objects import small_archive

PACKAGE = Path(warehouse.__file__).parent
MODULES = sorted(
    ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)  # fmt: skip

OF_AN_ARCHIVE = re.compile(
    r"^ *(>>>|\.\.\.) .*(\bwh\b|uid\b|warehouse\"|derived\"|dicom)", re.MULTILINE
)
"""What in a line of an example asks for the archive; most examples are of plain functions."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Return a folder with the warehouses that examples ask, and a series of each.

    One is of a CT of three slices.
    """
    folder = tmp_path_factory.mktemp("doctests")
    (folder / "dicom").mkdir()
    for number in range(3):
        ct = pydicom.data.get_testdata_file("CT_small.dcm", read=True, download=False)
        ct.file_meta.MediaStorageSOPInstanceUID = ct.SOPInstanceUID = (
            f"{ct.SOPInstanceUID}.{number}"
        )
        ct.ImagePositionPatient = [*ct.ImagePositionPatient[:2], 5 * number]
        ct.save_as(folder / "dicom" / f"{number}.dcm")
    warehouse.open(folder / "my-warehouse", create=True).ingest(folder / "dicom", workers=1)
    small_archive(folder / "derived")
    warehouse.open(folder / "of-derived", create=True).ingest(folder / "derived", workers=1)
    uids = {}
    for name in ("my-warehouse", "of-derived"):
        wh = warehouse.open(folder / name)
        ((uids[name],), *_) = answer_of(wh, "select SeriesInstanceUID from series")
    return folder, uids


LONG = {"warehouse", "warehouse.cohorts.facade", "warehouse.derived.facade"}
"""Modules whose examples ask most. ``warehouse.api`` has examples of the same functions."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long("test_examples")) if name in LONG else name
        for name in MODULES
    ],
)
def test_examples(
    name: str, archive: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(name)
    of = "of-derived" if name.startswith("warehouse.derived") else "my-warehouse"
    given: dict[str, object] = {
        "os": os, "seg_uid": "1.66.1.0", "rt_uid": "1.7.1.0", "dose_uid": "1.8.1.0",
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    if OF_AN_ARCHIVE.search(inspect.getsource(module)):
        # Of its own: an example may change it.
        monkeypatch.chdir(shutil.copytree(archive[0], tmp_path / "archive"))
        given |= {"wh": warehouse.open(of), "uid": archive[1][of]}
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testmod(module, extraglobs=given, optionflags=options)
    assert found.failed == 0


def test_the_front_has_examples() -> None:
    assert {"warehouse", "warehouse.api", "warehouse.pixels.volume"} <= set(MODULES)
