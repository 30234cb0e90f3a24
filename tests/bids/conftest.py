"""One session of one patient, in small: an archive and the data set that is made of it."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warehouse
from tests.asking import cohort_of
from tests.dicom_files import image, write
from tests.made_once import made_once
from warehouse.bids import folder
from warehouse.errors import ExportFailed

pytest.importorskip("nibabel")

MR = "1.2.840.10008.5.1.4.1.1.4"
ROWS, COLUMNS, SLICES = 6, 4, 4
TILT = math.tan(math.radians(20))


def series(folder: Path, number: int, volumes: list[dict[str, Any]], *, skip: int | None = None, only: int | None = None,
           **shared: Any) -> str:  # fmt: skip
    """Write a series of axial slices, some ``volumes`` one after the other; return its UID."""
    uid = f"1.2.9.{number}"
    rng = np.random.default_rng(number)
    count = 0
    for volume in volumes:
        own = dict(volume)
        begins = own.pop("begins_s", 60.0 * number)
        slice_s = own.pop("slice_s", 0.0)
        positive = own.pop("positive", shared.get("positive"))
        for level in range(SLICES):
            count += 1
            if level == skip or only not in {None, level}:
                continue
            moment = begins + slice_s * level
            clock = f"10{int(moment // 60):02}{moment % 60:09.6f}"
            made = image(
                own.pop("SOPInstanceUID", f"{uid}.{count}"), SOPClassUID=MR, Modality="MR", SeriesInstanceUID=uid, PatientID="A-1",
                PatientSex="F", PatientAge="094Y", StudyInstanceUID="1.2.9", StudyDate="20200102",
                StudyTime="100000", SeriesNumber=number, InstanceNumber=count, Rows=ROWS, Columns=COLUMNS,
                AcquisitionDate="20200102", AcquisitionTime=clock, Manufacturer="SIEMENS",
                ImagePositionPatient=[0.0, 0.0, 2.5 * level], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                PixelSpacing=[2.0, 1.5], SliceThickness=2.5, MagneticFieldStrength="3", DeviceSerialNumber="77",
                BitsAllocated=16, BitsStored=12, HighBit=11, InstitutionName="Elsewhere",
                PixelData=rng.integers(0, 4000, (ROWS, COLUMNS), np.uint16).tobytes(),
                **{k: v for k, v in shared.items() if k != "positive"},
            )  # fmt: skip
            for keyword, value in own.items():
                setattr(made, keyword, value)
            made["PixelData"].VR = "OW"
            if positive is not None:
                block = made.private_block(0x0021, "SIEMENS MR SDI 02", create=True)
                block.add_new(0x1C, "IS", positive)
                block.add_new(0x53, "FD", 25.0)  # Hz per pixel along the phase
            write(folder / f"{uid}-{count}.dcm", made)
    return uid


EPI = {"ScanningSequence": ["EP"], "SequenceName": "*epfid2d1_64", "SequenceVariant": ["SK"], "MRAcquisitionType": "2D",
       "InPlanePhaseEncodingDirection": "COL", "EchoTime": 30.0, "RepetitionTime": 1500.0,
       "FlipAngle": 70.0, "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}  # fmt: skip
GRE = {"ScanningSequence": ["GR"], "SequenceVariant": ["SP"], "MRAcquisitionType": "2D",
       "SequenceName": "*fm2d2r", "RepetitionTime": 400.0, "FlipAngle": 60.0,
       "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}  # fmt: skip


def bold(folder: Path, number: int, count: int = 4, **more: Any) -> str:
    volumes = [
        {"begins_s": 60.0 * number + 1.5 * n, "slice_s": 0.25, "TemporalPositionIdentifier": n + 1}
        for n in range(count)
    ]
    return series(folder, number, volumes, **{**EPI, "SeriesDescription": "rsfMRI bold", **more})


def session(folder: Path) -> dict[str, str]:
    """Write what a session has; return the UIDs by what they are."""
    spin_echo = {**EPI, "ScanningSequence": ["EP", "SE"], "SequenceName": "*epse2d1_64",
                 "SeriesDescription": "SpinEchoFieldMap"}  # fmt: skip
    mprage = {
        "ScanningSequence": ["GR", "IR"], "SequenceVariant": ["SP", "MP"], "MRAcquisitionType": "3D",
        "SequenceName": "*tfl3d1_16ns", "EchoTime": 3.0, "RepetitionTime": 2300.0, "InversionTime": 900.0,
        "FlipAngle": 9.0, "SeriesDescription": "t1 mprage",
    }  # fmt: skip
    directions = [None, [1.0, 0.0, 0.0], [0.0, 0.6, 0.8]]
    # One volume each, so that positions may be given: planes are shifted by the tangent of the tilt.
    for level in range(SLICES):
        place = [0.0, 2.5 * level * TILT, 2.5 * level]
        tilted = series(
            folder, 12, [{"InstanceNumber": level + 1, "SOPInstanceUID": f"1.2.9.12.{level}", "ImagePositionPatient": place}],
            **mprage, ImageType=["ORIGINAL", "PRIMARY", "M", "ND"], only=level,
        )  # fmt: skip
    weighted = [
        {"DiffusionBValue": 0.0 if d is None else 1000.0, "begins_s": 60.0 * 9 + 3 * n}
        | ({} if d is None else {"DiffusionGradientOrientation": d})
        for n, d in enumerate(directions)
    ]
    return {
        "T1w": series(folder, 1, [{}], **mprage, ImageType=["ORIGINAL", "PRIMARY", "M", "NORM"]),
        "T1w again": series(folder, 2, [{}], **mprage, ImageType=["ORIGINAL", "PRIMARY", "M", "ND"]),
        "T1w third": series(folder, 3, [{}], **mprage, ImageType=["ORIGINAL", "PRIMARY", "M", "ND"]),
        "epi forth": series(folder, 4, [{}], **spin_echo, positive=1),
        "epi back": series(folder, 5, [{}], **spin_echo, positive=0),
        "bold": bold(folder, 6, positive=1),
        "magnitude": series(folder, 7, [{"EchoTime": 4.92}, {"EchoTime": 7.38}], **GRE, SeriesDescription="gre_field_mapping"),
        "phasediff": series(folder, 8, [{"EchoTime": 7.38}], **{**GRE, "ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]},
                            SeriesDescription="gre_field_mapping"),
        "dwi": series(folder, 9, weighted, **{**EPI, "ScanningSequence": ["EP", "SE"], "RepetitionTime": 3000.0,
                                              "SequenceName": "*ep_b1000"}, SeriesDescription="dti 2 dir", positive=1),
        "bold echoes": series(
            folder, 10,
            [{"begins_s": 600 + 1.5 * n, "EchoTime": echo, "TemporalPositionIdentifier": n + 1} for n in range(3) for echo in (12.0, 30.0)],
            **{k: v for k, v in EPI.items() if k != "EchoTime"}, SeriesDescription="nback bold", positive=1,
        ),
        "gap": series(folder, 11, [{}], **mprage, ImageType=["ORIGINAL", "PRIMARY", "M", "ND"], skip=1),
        "tilted": tilted,
    }  # fmt: skip


@dataclass(frozen=True)
class DataSet:
    """What was exported, and from where."""

    wh: warehouse.Warehouse
    uids: dict[str, str]
    folder: Path
    facts: dict[str, Any]
    times: dict[str, int] = field(default_factory=dict)
    """When images were written before the export was broken off, in ns."""

    def sidecar(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / f"{name}.json").read_text())

    def table(self, name: str) -> list[dict[str, str]]:
        lines = [line.split("\t") for line in (self.folder / name).read_text().splitlines()]
        return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]

    def why_not(self) -> dict[str, str]:
        return {row["series_key"]: row["why_not"] for row in self.table("series.tsv")}


def make_archive(root: Path) -> None:
    uids = session(root / "in")
    write(root / "in" / "ct.dcm", image("1.2.9.99.1", SeriesInstanceUID="1.2.9.99"))
    made = warehouse.open(root / "w", create=True)
    made.ingest(root / "in", workers=1)
    cohort_of(made, "everything", "select series_key from instances")
    (root / "uids.json").write_text(json.dumps(uids | {"ct": "1.2.9.99"}))


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[warehouse.Warehouse, dict[str, str]]:
    """The archive. Not to write to, but for cohorts."""
    made = made_once(tmp_path_factory, "bids", make_archive)
    own = shutil.copytree(made / "w", tmp_path_factory.mktemp("bids") / "w")
    return warehouse.open(own), json.loads((made / "uids.json").read_text())


@pytest.fixture(scope="session")
def exported(
    archive: tuple[warehouse.Warehouse, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> DataSet:
    """The data set of all that is in the archive, begun, broken off and gone on with. Not to write to."""
    made, uids = archive

    def make(root: Path) -> None:
        target = root / "all"
        images: list[str] = []
        real = folder.write

        def failing(to: int, name: str, content: bytes) -> None:
            if name.endswith(".nii.gz"):
                if len(images) == 3:
                    raise ExportFailed(name, "the disk is full")
                images.append(name)
            real(to, name, content)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(folder, "write", failing)
            with pytest.raises(ExportFailed, match="disk is full"):
                made.export("everything", target, "bids")
        times = {name: (target / name).stat().st_mtime_ns for name in images}
        facts = made.export("everything", target, "bids")
        (root / "said.json").write_text(json.dumps([facts, times]))

    root = made_once(tmp_path_factory, "bids data set", make)
    facts, times = json.loads((root / "said.json").read_text())
    return DataSet(made, uids, root / "all", facts, times)
