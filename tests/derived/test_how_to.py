"""What docs/how-to/derived.md shows runs, and the one join of it finds what it says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import warehouse
from tests.asking import answer_of
from tests.derived_objects import (
    box,
    closed,
    dose,
    item,
    measured,
    report,
    segment,
    segment_frame,
    segmentation,
    slide,
    structure_set,
)
from tests.dicom_files import dataset, image, write

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "derived.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """Slices with a segmentation, a report, a structure set of three regions and a dose; and others."""
    folder = tmp_path_factory.mktemp("how_to")
    for series, first in (("1.2.1.1", "1.1"), ("1.2.1.2", "1.4")):
        for n in range(2):
            write(folder / "in" / f"{first}.{n}", image(
                f"{first}.{n}", SeriesInstanceUID=series, Rows=4, Columns=4, PixelData=bytes(16),
                FrameOfReferenceUID="1.3", ImagePositionPatient=[0, 0, 2 * n], PixelSpacing=[1, 1],
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0], InstanceNumber=n + 1,
            ))  # fmt: skip
    frames = [segment_frame(1, 2 * n, f"1.1.{n}") for n in range(2)]
    masks = np.ones((2, 4, 4), "u1")
    # A report of the images that are segmented, another of those that are not.
    reports = [
        report(f"1.88.{n}", item("IMAGE", "1", ReferencedSOPSequence=[dataset(ReferencedSOPInstanceUID=uid)]))
        for n, uid in enumerate(("1.1.0", "1.4.0"), 5)
    ]  # fmt: skip
    regions = {f"box {n}": closed(*(box(0.5, 2.5, 0.5, 2.5, z) for z in (0, 2))) for n in range(3)}
    objects = [
        segmentation("1.66.1", masks, frames, [segment(1)]), *reports, measured("1.88.1"),
        structure_set("1.7.1", regions), slide(),
        dose("1.8.1", np.full((2, 3, 3), 2500), position=[-1, -1, 0], spacing=3, step=2),
    ]  # fmt: skip
    for one in objects:
        write(folder / "in" / one.SOPInstanceUID, one)
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)
    return made


@pytest.mark.acceptance("R14")
def test_images_with_a_segmentation_and_a_report_are_one_join(wh: warehouse.Warehouse) -> None:
    (join,) = [one for one in blocks("sql") if "object_references" in one]
    assert answer_of(wh, join) == [("1.2.1.1",)]


@pytest.mark.parametrize("query", blocks("sql"))
def test_every_question_has_an_answer(wh: warehouse.Warehouse, query: str) -> None:
    assert answer_of(wh, query)


def test_every_call_runs(wh: warehouse.Warehouse) -> None:
    names = {
        "wh": wh, "series_uid": "1.66.1.0", "rt_series": "1.7.1.0", "dose_series": "1.8.1.0",
    }  # fmt: skip
    examples = blocks("python")
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, "derived.md", "exec"), names)
    assert names["dose"].mean_gy == pytest.approx(2.5)  # type: ignore[attr-defined]
