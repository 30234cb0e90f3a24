"""The look-up of a series says what the views say, whatever parts its rows lie in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import warehouse
from tests.pixels.conftest import UID, voxels, write_slice
from warehouse.errors import NoPixels, SeriesNotFound
from warehouse.pixels.image import Image
from warehouse.pixels.lookup import images_of_series

if TYPE_CHECKING:
    from pathlib import Path

OF_FILES = {"size_bytes": "files.size_bytes", "modified_us": "epoch_us(files.modified_at)"}
ACQUIRED = "epoch_us(AcquisitionDate + coalesce(AcquisitionTime, time '00:00:00'))"
OF_FILES["high_bit"] = "cast(null as bigint)"  # none of these images has an odd one
OF_FILES["keeps_words"] = "false"
OF_FILES["path"] = "instances.file_path"
COLUMNS = ", ".join(
    f"{OF_FILES.get(name, ACQUIRED if name == 'acquired_us' else f'instances.{name}')} as {name}"
    for name in Image._fields
)
BY_VIEWS = (
    f"select {COLUMNS} from instances join files using (instance_id) where series_key = $1 and "
    "instances.pixel_offset is not null "
    # By time where all state one (the order of acquisition), else as the scanner numbered.
    "order by if(count(acquired_us) over () = count(*) over (), acquired_us, null), "
    "InstanceNumber nulls last, acquired_us nulls last, instances.instance_key"
)


def check(wh: warehouse.Warehouse) -> int:
    """Compare every series; return how many images there are."""
    count = 0
    for (uid,) in wh.sql("select series_key from series where image_count > 0").fetchall():
        wanted = wh.catalog.connection.execute(BY_VIEWS, [uid]).fetchall()
        assert [tuple(image) for image in images_of_series(wh.catalog, uid)] == wanted
        count += len(wanted)
    return count


def test_a_look_up_equals_the_views(sample: warehouse.Warehouse) -> None:
    assert check(sample) == sample.sql("select count(*) from images").fetchall()[0][0] > 70


def test_a_series_may_lie_in_several_parts(tmp_path: Path) -> None:
    """Slices that came with different ingests, and one that was replaced, are one series."""
    wh = warehouse.open(tmp_path / "w", create=True)
    for number, pixels in enumerate(voxels(4)):
        write_slice(tmp_path / "in" / f"{number}.dcm", pixels, InstanceNumber=number + 1)
        wh.ingest(tmp_path / "in", workers=1)
    write_slice(tmp_path / "in" / "1.dcm", voxels(4)[3], InstanceNumber=2, Manufacturer="another")
    wh.ingest(tmp_path / "in", workers=1)
    assert check(wh) == 4
    assert (wh.volume(UID)[:][1] == voxels(4)[3]).all()


def test_series_without_pixels_and_unknown_ones_are_told_apart(tmp_path: Path) -> None:
    wh = warehouse.open(tmp_path / "w", create=True)
    write_slice(tmp_path / "in" / "1.dcm", voxels(1)[0], PixelData=None)
    wh.ingest(tmp_path / "in", workers=1)
    with pytest.raises(NoPixels):
        images_of_series(wh.catalog, UID)
    with pytest.raises(SeriesNotFound):
        images_of_series(wh.catalog, "9.9")
