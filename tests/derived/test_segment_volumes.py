"""Volumes of segments as rows: counted once, again after a change, and never of what is gone."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import warehouse
from tests.asking import answer_of
from tests.derived_objects import segment, segment_frame, segmentation
from tests.dicom_files import image, write
from warehouse.derived.volumes import Measured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = (
    "select SOPInstanceUID, SegmentNumber, voxel_count, volume_ml, volume_why_not from segment_volumes "
    "order by all"
)


def rows_of(wh: warehouse.Warehouse, query: str = ROWS) -> list[tuple[Any, ...]]:
    """Return rows of a question that is planned once: ``wh.sql`` plans it for its columns first."""
    return wh.catalog.connection.execute(query).fetchall()


def slices(folder: Path, spacing: int = 2) -> None:
    for n in range(4):
        write(folder / f"ct{n}", image(
            f"1.1.{n}", Rows=3, Columns=4, PixelData=bytes(12), FrameOfReferenceUID="1.3",
            ImagePositionPatient=[0, 0, spacing * n], PixelSpacing=[1, 1], InstanceNumber=n + 1,
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        ))  # fmt: skip


def binary(voxels: int = 3, uid: str = "1.66.1") -> Any:
    masks = np.zeros((2, 3, 4), "u1")
    masks[0].flat[:voxels] = 1
    masks[1].flat[:2] = 1
    frames = [segment_frame(1, 0, "1.1.0"), segment_frame(2, 2, "1.1.1")]
    return segmentation(uid, masks, frames, [segment(1), segment(2)])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slices, a binary segmentation, a label map with a value of no segment, and two bad ones.

    With a warehouse of them whose segments were not measured, and one of measured ones, to copy.
    """
    made = tmp_path_factory.mktemp("segments")
    slices(made / "in")
    write(made / "in" / "seg", binary())
    labels = np.zeros((2, 3, 4), "u1")
    labels[0, 0, :2], labels[1, 0, 0] = 1, 9
    frames = [segment_frame(None, 2 * n, f"1.1.{n}") for n in range(2)]
    write(made / "in" / "map", segmentation("1.66.2", labels, frames, [segment(1)], "LABELMAP"))
    masks = np.zeros((2, 3, 4), "u1")
    same_place = [segment_frame(1, 0, "1.1.0"), segment_frame(1, 0, "1.1.0")]
    write(made / "in" / "bad", segmentation("1.66.3", masks, same_place, [segment(1)]))
    nameless = segmentation("1.66.4", masks, frames, [segment(1)])
    del nameless.SegmentSequence[0].SegmentNumber
    write(made / "in" / "nameless", nameless)
    warehouse.open(made / "w", create=True).ingest(made / "in", workers=1)
    warehouse.open(shutil.copytree(made / "w", made / "measured")).measure_segments()
    return made


@pytest.fixture
def folder(archive: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder of the sources, which a test may change: afterwards they are as they were."""
    kept = shutil.copytree(archive / "in", tmp_path / "kept")
    yield archive
    shutil.rmtree(archive / "in")
    shutil.copytree(kept, archive / "in")


@pytest.fixture
def wh(archive: Path, tmp_path: Path) -> warehouse.Warehouse:
    return warehouse.open(shutil.copytree(archive / "w", tmp_path / "w"))


@pytest.fixture
def measured(archive: Path, tmp_path: Path) -> warehouse.Warehouse:
    return warehouse.open(shutil.copytree(archive / "measured", tmp_path / "measured"))


@pytest.mark.acceptance("R17")
def test_volumes_are_those_that_were_counted(measured: warehouse.Warehouse) -> None:
    """The short form of the three that follow: nothing is counted twice, and a failure is told."""
    rows = rows_of(measured)
    assert rows[:4] == [
        ("1.66.1", 1, 3, pytest.approx(0.006), None), ("1.66.1", 2, 2, pytest.approx(0.004), None),
        ("1.66.2", 1, 2, pytest.approx(0.004), None),
        ("1.66.2", 9, 1, pytest.approx(0.002), "no segment describes this value"),
    ]  # fmt: skip
    assert "several frames of one segment have the same position" in rows[4][4]
    assert rows[5:] == [("1.66.4", None, None, None, "it has no segment number")]
    assert measured.measure_segments() == Measured(0, 0, 0, {})


def test_a_file_that_changed_is_counted_again_when_it_can_be_read(
    folder: Path, measured: warehouse.Warehouse, tmp_path: Path
) -> None:
    write(folder / "in" / "seg", binary(5))
    os.utime(folder / "in" / "seg", (1e9, 1e9))
    measured.ingest(folder / "in" / "seg", workers=1)
    (folder / "in" / "seg").rename(tmp_path / "away")
    assert list(measured.measure_segments().failures) == ["1.66.1"]
    (tmp_path / "away").rename(folder / "in" / "seg")
    assert measured.measure_segments() == Measured(1, 2, 0, {})
    assert answer_of(measured, "select max(voxel_count) from measured_segments") == [(5,)]


@pytest.mark.long("test_volumes_are_those_that_were_counted")
@pytest.mark.acceptance("R17")
def test_segments_are_counted_once(wh: warehouse.Warehouse) -> None:
    before = rows_of(wh)
    assert {row[4] for row in before} == {"not measured yet", "it has no segment number"}
    assert wh.measure_segments() == Measured(objects=4, segments=6, without_volume=2, failures={})
    version = wh.version
    found = rows_of(wh, ROWS.replace("volume_why_not", "volume_why_not, grid_series_uid"))
    rows = [row[:5] for row in found]
    assert rows[:4] == [
        ("1.66.1", 1, 3, pytest.approx(0.006), None), ("1.66.1", 2, 2, pytest.approx(0.004), None),
        ("1.66.2", 1, 2, pytest.approx(0.004), None),
        ("1.66.2", 9, 1, pytest.approx(0.002), "no segment describes this value"),
    ]  # fmt: skip
    assert rows[4][:4] == ("1.66.3", 1, None, None)
    assert "several frames of one segment have the same position" in rows[4][4]
    assert rows[5:] == [("1.66.4", None, None, None, "it has no segment number")]
    assert {row[5] for row in found if (row[3] or 0) > 0} == {"1.2.1.1"}
    assert wh.measure_segments() == Measured(0, 0, 0, {})
    assert wh.version == version
    tables = {uid: wh.segmentation(f"{uid}.0").volumes() for uid in ("1.66.1", "1.66.2")}
    for uid, number, voxels, volume, _ in rows[:4]:
        table = tables[uid]
        ((count, ml),) = table.filter(table["SegmentNumber"] == number)[
            "voxel_count", "volume_ml"
        ].rows()
        assert (count, ml) == (voxels, volume)


@pytest.mark.long("test_a_file_that_changed_is_counted_again_when_it_can_be_read")
def test_a_change_of_the_file_or_of_the_images_is_counted_again(
    folder: Path, measured: warehouse.Warehouse
) -> None:
    wh = measured
    write(folder / "in" / "seg", binary(5))
    os.utime(folder / "in" / "seg", (1e9, 1e9))
    wh.ingest(folder / "in", workers=1)
    assert [row[2:] for row in rows_of(wh)[:2]] == [(None, None, "not measured yet")] * 2
    assert wh.measure_segments() == Measured(1, 2, 0, {})
    assert rows_of(wh)[0][2:] == (5, pytest.approx(0.010), None)
    # Without its images the frames give the size of a voxel: 2 mm, as they are written.
    wh.upkeep.forget(series="1.2.1.1", delete=True)
    assert {row[4] for row in rows_of(wh) if row[1] in {1, 2}} == {"not measured yet"}
    assert wh.measure_segments(["1.66.1.0"]).objects == 1
    asked = (
        "select volume_ml, grid_series_uid, warnings from segment_volumes "
        "where SOPInstanceUID = '1.66.1' order by SegmentNumber"
    )
    assert rows_of(wh, asked) == [
        (ml, None, ["measured on its own grid: it references no series of images"])
        for ml in (pytest.approx(0.010), pytest.approx(0.004))
    ]  # fmt: skip


@pytest.mark.long("test_a_file_that_changed_is_counted_again_when_it_can_be_read")
def test_frames_that_cannot_be_read_now_are_tried_again(
    folder: Path, wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    (folder / "in" / "seg").rename(away)
    done = wh.measure_segments(["1.66.1.0"])
    assert (done.objects, list(done.failures)) == (0, ["1.66.1"])
    away.rename(folder / "in" / "seg")
    assert wh.measure_segments(["1.66.1.0"]) == Measured(1, 2, 0, {})


def test_what_is_erased_has_no_volume_left(measured: warehouse.Warehouse) -> None:
    wh = measured
    wh.upkeep.forget(instance="1.66.1", delete=True)
    keys = answer_of(wh, "select distinct instance_key from measured_segments order by 1")
    assert keys == [("1.66.2",), ("1.66.3",), ("1.66.4",)]
    wh.upkeep.forget(series="1.2.1.1", delete=True)
    grids = answer_of(wh, "select distinct grid_series_uid from measured_segments")
    assert grids == [(None,)]


def test_objects_without_elements_have_no_volume_and_say_so(archive: Path, tmp_path: Path) -> None:
    wh = warehouse.open(tmp_path / "minimal", create=True)
    wh.ingest(archive / "in", workers=1, mode="minimal")
    assert wh.measure_segments() == Measured(0, 0, 0, {})
    rows = rows_of(wh, "select volume_ml, volume_why_not, not_read from segment_volumes")
    assert set(rows) == {(None, None, "read in mode minimal: elements were not stored")}
