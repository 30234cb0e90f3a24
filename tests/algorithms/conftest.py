"""A small archive with two CT volumes, an MR volume and a film, and sockets for algorithms."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warehouse
from tests.algorithms.running import make_images
from tests.dicom_files import image, write
from tests.made_once import made_once
from tests.programs import needed

CT, CT2, MR, DX = "1.2.10", "1.2.20", "1.2.30", "1.2.40"
FUNCTIONS = Path(__file__).with_name("functions.py")


def voxels(series: str) -> np.ndarray:
    """Stored values of a volume: (3, 4, 5), int16."""
    return np.arange(60, dtype=np.int16).reshape(3, 4, 5) + 10 * int(series[-2])


def put_volume(
    folder: Path, modality: str, series: str, study: str, *, plus: int = 0, **attributes: Any
) -> None:
    """Write the three files of a volume; the patient is that of the study."""
    for n, frame in enumerate(voxels(series) + np.int16(plus)):
        made = image(
            f"{series}.{n}", Modality=modality, SeriesInstanceUID=series, PatientID=f"P{study[-1]}",
            StudyInstanceUID=study, FrameOfReferenceUID="1.9",
            Rows=4, Columns=5, BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=1,
            SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", PixelSpacing=[0.5, 0.25],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[1, 2, 3 + 2 * n],
            PixelData=frame.tobytes(), **attributes,
            **({"RescaleSlope": 1, "RescaleIntercept": -1000} if modality == "CT" else {}),
        )  # fmt: skip
        write(folder / f"{series}.{n}", made)


def _make_template(folder: Path) -> None:
    for modality, series in (("CT", CT), ("CT", CT2), ("MR", MR)):
        put_volume(folder / "in", modality, series, f"1.1.{series[-2]}")
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


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: take ``wh``."""
    return made_once(tmp_path_factory, "algorithms", _make_template) / "w"


@pytest.fixture
def wh(template: Path, tmp_path: Path) -> warehouse.Warehouse:
    """A warehouse of its own for a test."""
    shutil.copytree(template, tmp_path / "w")
    return warehouse.open(tmp_path / "w")


def function(name: str) -> str:
    return f"{FUNCTIONS}:{name}"


@pytest.fixture(scope="session")
def images(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse with two images and their algorithms. Not to be changed: take ``tiny``."""
    made = made_once(tmp_path_factory, "images", lambda folder: make_images(template, folder))
    return made / "w"


@pytest.fixture
def tiny(images: Path, tmp_path: Path) -> warehouse.Warehouse:
    shutil.copytree(images, tmp_path / "w", copy_function=os.link)
    return warehouse.open(tmp_path / "w")


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Docker with its daemon: the one that runs, or one of our own, without network or host folders."""
    client = needed("docker")
    if subprocess.run([client, "version"], check=False, capture_output=True).returncode == 0:
        yield client
        return
    if os.geteuid() != 0:
        pytest.skip("no daemon of docker runs, and only root can start one")
    folder = tmp_path_factory.mktemp("docker")
    keys, address = Path("/etc/docker"), f"unix://{folder}/socket"
    had_keys = keys.exists()
    (folder / "daemon.json").write_text("{}")
    words = [
        needed("dockerd"), "--data-root", folder / "data", "--exec-root", folder / "exec",
        "--pidfile", folder / "pid", "--host", address, "--config-file", folder / "daemon.json",
        "--iptables=false", "--ip-forward=false", "--bridge=none", "--storage-driver=vfs",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", address)
        try:
            for _ in range(100):
                done = subprocess.run([client, "version"], check=False, capture_output=True)
                if done.returncode == 0 or daemon.poll() is not None:
                    break
                time.sleep(0.1)
            if done.returncode != 0:
                pytest.skip("a daemon of docker does not start here, as it needs control groups")
            yield client
        finally:
            daemon.terminate()
            daemon.wait(30)
            if not had_keys:
                shutil.rmtree(keys, ignore_errors=True)
