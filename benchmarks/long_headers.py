"""Two objects with some 50,000 elements each, as multi-frame and planning systems write them.

    python benchmarks/long_headers.py FOLDER

An Enhanced MR Image of 2,000 frames, each with seven functional groups, and an RT Structure Set of
8,000 contours in 20 structures. No value is that of a person; the same call gives the same bytes.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.10.777.9"
FRAMES, FRAMES_PER_STACK = 2_000, 40
STRUCTURES, CONTOURS = 20, 8_000


def make(folder: Path) -> dict[str, Path]:
    """Write both into a folder; name → file."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {
        f"Enhanced MR Image, {FRAMES:,} frames": (enhanced_mr(), folder / "enhanced-mr.dcm"),
        f"RT Structure Set, {CONTOURS:,} contours": (structure_set(), folder / "rtstruct.dcm"),
    }
    for dataset, path in made.values():
        dataset.save_as(path, enforce_file_format=True)
    return {name: path for name, (_, path) in made.items()}


def enhanced_mr() -> Dataset:
    """Make an object whose frames differ in time, position and b-value (PS3.3 A.36.2)."""
    dataset = _object("1.2.840.10008.5.1.4.1.1.4.1", 1, Modality="MR", NumberOfFrames=FRAMES)
    dataset.PerFrameFunctionalGroupsSequence = [_frame(number) for number in range(FRAMES)]
    return dataset


def _frame(number: int) -> Dataset:
    stack, place = divmod(number, FRAMES_PER_STACK)
    return _item(
        FrameContentSequence=[
            _item(
                FrameReferenceDateTime=f"20200101101010.{number:06}",
                FrameAcquisitionDateTime=f"20200101101011.{number:06}",
                FrameAcquisitionDuration=2.5,
                StackID="1",
                InStackPositionNumber=place + 1,
                TemporalPositionIndex=stack + 1,
                DimensionIndexValues=[1, place + 1, stack + 1],
            )
        ],
        PlanePositionSequence=[_item(ImagePositionPatient=[-120.0, -120.0, 3.0 * place])],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[
            _item(SliceThickness=3, PixelSpacing=[1, 1], SpacingBetweenSlices=3)
        ],
        MREchoSequence=[_item(EffectiveEchoTime=30.0 + stack % 5)],
        MRDiffusionSequence=[
            _item(DiffusionBValue=1000.0 * (stack % 3), DiffusionDirectionality="DIRECTIONAL")
        ],
        FrameVOILUTSequence=[_item(WindowCenter=100 + place, WindowWidth=200)],
    )


def structure_set() -> Dataset:
    """Make structures of closed contours of 8 to 30 points (PS3.3 A.19)."""
    chance = random.Random(1)
    dataset = _object("1.2.840.10008.5.1.4.1.1.481.3", 2, Modality="RTSTRUCT")
    dataset.ROIContourSequence = [
        _item(
            ReferencedROINumber=structure,
            ROIDisplayColor=[255, 0, structure],
            ContourSequence=[_contour(chance, number) for number in range(CONTOURS // STRUCTURES)],
        )
        for structure in range(STRUCTURES)
    ]
    return dataset


def _contour(chance: random.Random, image: int) -> Dataset:
    points = chance.randrange(8, 31)
    return _item(
        ContourImageSequence=[
            _item(
                ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2",
                ReferencedSOPInstanceUID=f"{ROOT}.3.{image}",
            )
        ],
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=points,
        ContourData=[f"{chance.uniform(-200, 200):.2f}" for _ in range(3 * points)],
    )


def _object(sop_class: str, number: int, **values: Any) -> Dataset:
    dataset = _item(
        SOPClassUID=sop_class,
        SOPInstanceUID=f"{ROOT}.{number}",
        PatientID="LONG",
        StudyInstanceUID=f"{ROOT}.{number}.1",
        SeriesInstanceUID=f"{ROOT}.{number}.2",
        **values,
    )
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _item(**values: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


if __name__ == "__main__":
    for title, written in make(Path(sys.argv[1])).items():
        print(f"{written}  {title}")
