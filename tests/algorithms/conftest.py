"""A small archive with two CT volumes, an MR volume and a film, and sockets for algorithms."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import warehouse
from tests.dicom_files import image, write

CT, CT2, MR, DX = "1.2.10", "1.2.20", "1.2.30", "1.2.40"
FUNCTIONS = Path(__file__).with_name("functions.py")


def voxels(series: str) -> np.ndarray:
    """Stored values of a volume: (3, 4, 5), int16."""
    return np.arange(60, dtype=np.int16).reshape(3, 4, 5) + 10 * int(series[-2])


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: take ``wh``."""
    folder = tmp_path_factory.mktemp("algorithms")
    for modality, series in (("CT", CT), ("CT", CT2), ("MR", MR)):
        for n, frame in enumerate(voxels(series)):
            made = image(
                f"{series}.{n}", Modality=modality, SeriesInstanceUID=series, PatientID=f"P{series[-2]}",
                StudyInstanceUID=f"1.1.{series[-2]}", FrameOfReferenceUID="1.9",
                Rows=4, Columns=5, BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=1,
                SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", PixelSpacing=[0.5, 0.25],
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[1, 2, 3 + 2 * n],
                PixelData=frame.tobytes(),
                **({"RescaleSlope": 1, "RescaleIntercept": -1000} if modality == "CT" else {}),
            )  # fmt: skip
            write(folder / "in" / f"{series}.{n}", made)
    write(
        folder / "in" / "dx",
        image(
            "1.2.40.1",
            Modality="DX",
            SeriesInstanceUID=DX,
            PatientID="P4",
            StudyInstanceUID="1.1.4",
            PixelData=bytes(2),
        ),
    )
    wh = warehouse.open(folder / "w", create=True)
    assert wh.ingest(folder / "in", workers=1).created == 10
    make = wh.components.create_socket
    make(title="CT", kind="IMG", relative_path="images/ct")
    make(title="Scan", kind="DCMIS", relative_path="images/scan")
    make(title="Age", kind="INT", relative_path="age.json")
    make(title="Mode", kind="STR", relative_path="mode.json")
    make(title="Mean value", kind="FLT", relative_path="mean.json")
    make(title="Voxel count", kind="INT", relative_path="count.json")
    make(title="Spots", kind="MPOI", relative_path="spots.json")
    segments = [{"name": str(n), "visible": True, "voxel_value": n} for n in range(2)]
    make(title="Mask", kind="SEG", relative_path="images/mask", overlay_segments=segments)
    wh.close()
    return folder / "w"


@pytest.fixture
def wh(template: Path, tmp_path: Path) -> warehouse.Warehouse:
    """A warehouse of its own for a test."""
    shutil.copytree(template, tmp_path / "w")
    return warehouse.open(tmp_path / "w")


def function(name: str) -> str:
    return f"{FUNCTIONS}:{name}"
