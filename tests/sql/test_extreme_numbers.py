"""One file with numbers at their limits must not keep a view from answering for all others."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

import warehouse
from tests.dicom_files import element, image, write
from tests.made_once import made_once
from tests.test_attacks import VALUES, write_values
from tests.test_ingest import HOSTILE, write_hostile
from warehouse.sqlfiles import read_models

if TYPE_CHECKING:
    from pathlib import Path

KEYWORDS = sorted({
    column.name for model in read_models() for column in model.columns if column.name[0].isupper()
})  # fmt: skip
"""Every attribute that some view has as a column, and others that views compute with."""
MORE = (
    "GridFrameOffsetVector", "FrameTime", "FrameTimeVector", "FrameDelay", "NumberOfContourPoints",
    "DiffusionGradientOrientation", "RadionuclideHalfLife",
    "RadionuclideTotalDose", "EnergyWindowVector", "SegmentNumber", "ROINumber",
    "DetectorVector", "SliceVector", "TemporalPositionTimeOffset", "LossyImageCompressionRatio",
)  # fmt: skip
LIMITS = {
    "DS": ["1e308", "-1e308", "1e-308", "0", "1e30\\-1e30\\1e30\\0\\1\\-1"],
    "IS": ["9223372036854775807", "-9223372036854775808", "0", "-1", "1\\9223372036854775807\\2"],
    "AS": ["999Y", "000D"],
    "DA": ["99991231", "00010101"],
    "TM": ["235959.999999", "000000"],
    "DT": ["99991231235959.999999+1400", "00010101000000-1200"],
}
PACKED = {
    "FD": ("<3d", [(1e308, -1e308, 1e300), (float("nan"),) * 3, (float("inf"), float("-inf"), 0)]),
    "FL": ("<3f", [(3e38, -3e38, 3e38), (float("nan"),) * 3, (float("inf"), float("-inf"), 0)]),
    "US": ("<2H", [(65535, 65535), (0, 0)]),
    "SS": ("<2h", [(-32768, -32768)]),
    "UL": ("<2I", [(4294967295,) * 2, (0, 0)]),
    "SL": ("<2i", [(-2147483648,) * 2]),
    "UV": ("<2Q", [(18446744073709551615,) * 2]),
    "SV": ("<2q", [(-9223372036854775808,) * 2]),
}
SHAPE = {"Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"}


def numbers(place: int) -> Dataset:
    """Return a data set with every number at one of its limits."""
    made = Dataset()
    for keyword in (*KEYWORDS, *MORE):
        try:
            tag, vr = Tag(keyword), dictionary_VR(keyword)
        except (ValueError, KeyError):
            continue  # a column of ours
        if keyword == "TemporalPositionIndex" and place % 2:
            continue  # else nobody looks at the trigger delay
        if vr in LIMITS:
            text = LIMITS[vr][place % len(LIMITS[vr])].encode()
            value = text + b" " * (len(text) % 2)
        elif vr in PACKED and keyword not in SHAPE:
            form, choices = PACKED[vr]
            value = struct.pack(form, *choices[place % len(choices)])
        else:
            continue
        made[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)
    return made


def uid_of(number: int, place: int, which: int) -> str:
    return f"1.77{number}.{place}.8800{which}"


def replaced(content: bytes, *pairs: tuple[bytes, bytes]) -> bytes:
    """Return the content with these bytes instead of those, which are in it."""
    for before, after in pairs:
        assert before in content
        content = content.replace(before, after)
    return content


def of_sequences(**items: list[Dataset]) -> Dataset:
    made = Dataset()
    for keyword, value in items.items():
        setattr(made, keyword, value)
    return made


@pytest.fixture(scope="module")
def extreme(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """Two instances of one series for each modality and limit, with frames and contours.

    Beside them files that are hostile otherwise, and values that look like paths or code.
    """
    return warehouse.open(made_once(tmp_path_factory, "extreme", _make_extreme) / "w")


def _make_extreme(folder: Path) -> None:
    for place in range(5):
        made = image(
            uid_of(0, place, 1), SeriesInstanceUID=f"1.0.{place}", ImageType=["ORIGINAL", "MOSAIC"]
        )
        made.update(numbers(place))
        made.PerFrameFunctionalGroupsSequence = [
            of_sequences(PlanePositionSequence=[numbers(place + frame)]) for frame in range(3)
        ]
        made.SegmentSequence = [numbers(place)]
        made.RadiopharmaceuticalInformationSequence = [numbers(place)]
        made.StructureSetROISequence = [numbers(place)]
        contours = of_sequences(ContourSequence=[numbers(place), numbers(place)])
        contours.update(numbers(place))
        made.ROIContourSequence = [contours]
        one = write(folder / "in" / f"0_{place}_1.dcm", made).read_bytes()
        # To write one takes as long as to read twenty: the others have other UIDs and modalities alone.
        for number, modality in enumerate((b"CT", b"MR", b"PT", b"SEG ", b"RTSTRUCT", b"RTDOSE")):
            of_modality = replaced(
                one,
                (element(0x00080060, "CS", b"CT"), element(0x00080060, "CS", modality)),
                (f"1.0.{place}\0".encode(), f"1.{number}.{place}\0".encode()),
            )
            for which in (1, 2):
                uids = (uid.encode() for uid in (uid_of(0, place, 1), uid_of(number, place, which)))
                path = folder / "in" / f"{number}_{place}_{which}.dcm"
                path.write_bytes(replaced(of_modality, tuple(uids)))
    write_hostile(folder / "in")
    write_values(folder / "in")
    wh = warehouse.open(folder / "w", create=True)
    report = wh.ingest(folder / "in", mode="full", workers=1)
    assert (report.created, report.rejected) == (60 + len(HOSTILE) - 1 + len(VALUES), 1)


OF_NUMBERS = {
    "ct_series", "mr_series", "pt_series", "seg_series", "diffusion_series", "frame_slices",
    "stack_geometry", "rt_contours", "rt_doses", "element_statistics",
}  # fmt: skip
"""Views that compute with numbers, with those that they are made from."""


@pytest.mark.parametrize(
    "name",
    [
        model.name
        if model.name in OF_NUMBERS
        else pytest.param(model.name, marks=pytest.mark.long("test_every_view_answers"))
        for model in read_models()
        if model.is_view
    ],
)
def test_every_view_answers(extreme: warehouse.Warehouse, name: str) -> None:
    """Every column of every row: what counts alone computes is among it."""
    extreme.catalog.connection.execute(f"from {name}").fetchall()
