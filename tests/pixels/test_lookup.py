"""The look-up of a series says what the views say, whatever parts its rows lie in."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

import warehouse
from tests.asking import answer_of
from tests.pixels.conftest import UID, voxels, write_slice
from warehouse.catalog.connect import open_catalog
from warehouse.catalog.materialized import materialize
from warehouse.errors import NoPixels, SeriesNotFound
from warehouse.pixels import lookup
from warehouse.pixels.image import Image
from warehouse.pixels.lookup import images_of_series, spaces_of

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
    f"select series_key, {COLUMNS} from instances join files using (instance_id) "
    "where instances.pixel_offset is not null "
    # By time where all state one (the order of acquisition), else as the scanner numbered.
    "order by series_key, if(count(acquired_us) over (partition by series_key) = "
    "count(*) over (partition by series_key), acquired_us, null), "
    "InstanceNumber nulls last, acquired_us nulls last, instances.instance_key"
)


def check(wh: warehouse.Warehouse) -> int:
    """Compare every series; return how many images there are."""
    wanted = defaultdict[str, list[tuple[object, ...]]](list)
    for uid, *image in answer_of(wh, BY_VIEWS):
        wanted[uid].append(tuple(image))
    for uid, images in wanted.items():
        assert [tuple(image) for image in images_of_series(wh.catalog, uid)] == images
    assert answer_of(wh, "select count(*) from series where image_count > 0") == [(len(wanted),)]
    return sum(map(len, wanted.values()))


def test_a_look_up_equals_the_views(sample: warehouse.Warehouse) -> None:
    assert check(sample) == answer_of(sample, "select count(*) from images")[0][0] > 70


def test_a_series_may_lie_in_several_parts(tmp_path: Path) -> None:
    """Slices that came with different ingests, and one that was replaced, are one series."""
    wh = warehouse.open(tmp_path / "w", create=True)
    for number, pixels in enumerate(voxels(2)):
        write_slice(tmp_path / "in" / f"{number}.dcm", pixels, InstanceNumber=number + 1)
        wh.ingest(tmp_path / "in", workers=1)
    write_slice(tmp_path / "in" / "1.dcm", voxels(4)[3], InstanceNumber=2, Manufacturer="another")
    wh.ingest(tmp_path / "in", workers=1)
    assert check(wh) == 2
    assert (wh.volume(UID)[:][1] == voxels(4)[3]).all()


def test_a_series_is_found_alone_and_among_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of an archive in their own parts; from then on all, as each is a question."""
    monkeypatch.setattr(lookup, "_PARTS_A_SERIES", 2)
    source = tmp_path / "in"
    for number, pixels in enumerate(voxels(6)):
        uid = f"{UID}.{number % 3}"
        write_slice(
            source / f"{number}.dcm", pixels, InstanceNumber=6 - number, SeriesInstanceUID=uid
        )
    write_slice(source / "none.dcm", voxels(1)[0], SeriesInstanceUID="8.8", PixelData=None)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(source, workers=1, batch_files=3)
    materialize(wh.root)
    wh.refresh()
    assert len(wh.catalog.snapshot.parts["elements"]) == 3
    images_of_series(wh.catalog, f"{UID}.2")
    asked = lookup._FOUND[wh.catalog].asked
    assert asked == {f"{UID}.2"}
    assert {len(images_of_series(wh.catalog, f"{UID}.{number}")) for number in (2, 0)} == {2}
    assert None in asked
    assert check(wh) == 6
    for uid, error in (("9.9", SeriesNotFound), ("8.8", NoPixels), ("", SeriesNotFound)):
        for catalog in (wh.catalog, open_catalog(wh.root)):
            with pytest.raises(error):
                images_of_series(catalog, uid)
    spaces = wh.sql("select distinct FrameOfReferenceUID from instances where series_key = '8.8'")
    assert spaces_of(wh.catalog, "8.8") == {uid for (uid,) in spaces.fetchall() if uid}


def test_series_without_pixels_and_unknown_ones_are_told_apart(tmp_path: Path) -> None:
    wh = warehouse.open(tmp_path / "w", create=True)
    write_slice(tmp_path / "in" / "1.dcm", voxels(1)[0], PixelData=None)
    wh.ingest(tmp_path / "in", workers=1)
    with pytest.raises(NoPixels):
        images_of_series(wh.catalog, UID)
    with pytest.raises(SeriesNotFound):
        images_of_series(wh.catalog, "9.9")
