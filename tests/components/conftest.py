"""A small archive: a CT and an MR series, one without a frame of reference, one with two."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import warehouse
from tests.dicom_files import image, write
from tests.made_once import made_once

CT, MR, DX, MOVED = "1.2.10", "1.2.20", "1.2.30", "1.2.40"


def _make_archive(folder: Path) -> None:
    for n in range(2):
        ct = image(
            f"1.1.1{n}", Modality="CT", SeriesInstanceUID=CT, FrameOfReferenceUID="1.9.1",
            StudyID="7", AccessionNumber="A1", SeriesNumber=1, PixelData=bytes(8),
        )  # fmt: skip
        mr = image(
            f"1.1.2{n}", Modality="MR", SeriesInstanceUID=MR, FrameOfReferenceUID="1.9.2",
            StudyID=str(n), PixelData=bytes(8),
        )  # fmt: skip
        write(folder / "in" / f"ct{n}", ct)
        write(folder / "in" / f"mr{n}", mr)
    write(
        folder / "in" / "dx", image("1.1.30", Modality="DX", SeriesInstanceUID=DX, PixelData=None)
    )
    for n in range(2):
        moved = image(
            f"1.1.4{n}", Modality="CT", SeriesInstanceUID=MOVED, FrameOfReferenceUID=f"1.9.{n}"
        )
        write(folder / "in" / f"moved{n}", moved)
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: take ``wh``."""
    return made_once(tmp_path_factory, "components", _make_archive) / "w"


@pytest.fixture
def wh(archive: Path, tmp_path: Path) -> warehouse.Warehouse:
    """A warehouse of its own for a test."""
    shutil.copytree(archive, tmp_path / "w")
    return warehouse.open(tmp_path / "w")
