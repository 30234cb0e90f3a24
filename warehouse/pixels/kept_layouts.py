"""Layouts of series, with a cache of recent ones.

In: a catalog, a series and options. Out: ``Layout``, or ``NotAVolume`` with the reason. The most
recent layouts are cached per catalog.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from warehouse.errors import NotAVolume
from warehouse.pixels.layout import Layout, layout_of_slices
from warehouse.pixels.lookup import images_of_series
from warehouse.pixels.mosaics import is_mosaic, layout_of_mosaics
from warehouse.pixels.multiframe import layout_of_frames
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.image import Image

_Asked = tuple[str, str | None, bool, bool]
"""Cache key: series, StackID, whether slices may be missing, whether they may be shifted."""
_KNOWN: WeakKeyDictionary[Catalog, dict[_Asked, Layout | str]] = WeakKeyDictionary()
"""Catalog → its most recent layouts, or the reasons why there is none."""
_KEEPING = threading.Lock()
_KEPT, _KEPT_FRAMES = 16, 2_500
"""Maximum number of cached layouts, and of frames in each; a single-frame file takes about 1 kB."""


def layout_of_series(
    catalog: Catalog, series_uid: str, *, stack_id: str | None, gaps: bool, tilt: bool
) -> Layout:
    """Return the layout of a series, from the cache if possible.

    A series is often opened again for other values, and planning the queries about its frames takes
    longer than reading some. A catalog has one version, so a cached layout stays valid.

    Raises
    ------
    SeriesNotFound, NoPixels, NotAVolume
    """
    asked = (series_uid, stack_id, bool(gaps), bool(tilt))
    with _KEEPING:
        known = _KNOWN.setdefault(catalog, {})
        found = known.pop(asked, None)
    if found is None:
        try:
            images = images_of_series(catalog, series_uid)
            found = _layout(catalog, series_uid, images, stack_id, gaps=gaps, tilt=tilt)
        except NotAVolume as refused:
            found = refused.why
    if isinstance(found, str) or len(found.frames) <= _KEPT_FRAMES:
        with _KEEPING:
            known[asked] = found
            if len(known) > _KEPT:
                known.pop(next(iter(known)), None)
    if isinstance(found, str):
        raise NotAVolume(series_uid, found)
    return found


def _layout(
    catalog: Catalog, series_uid: str, images: list[Image], stack: str | None, *, gaps: bool,
    tilt: bool,
) -> Layout:  # fmt: skip
    if any(image.frame_count > 1 for image in images):
        return layout_of_frames(catalog, series_uid, images, stack)
    mosaics = sum(is_mosaic(image) for image in images)
    if mosaics == len(images) and stack is None:
        return layout_of_mosaics(catalog, series_uid, images)
    if 0 < mosaics < len(images):
        raise NotAVolume(series_uid, f"{mosaics} of {len(images)} images are mosaics")
    if _is_placed_by_groups(catalog, series_uid, images):
        return layout_of_frames(catalog, series_uid, images, stack)
    if stack is not None:
        raise NotAVolume(series_uid, f"no stack {stack!r}: its images have no Stack ID")
    try:
        return layout_of_slices(catalog, series_uid, images, gaps=gaps, tilt=tilt)
    except NotAVolume as refused:
        # The view gives the reason with figures; querying it always would cost more than a slice.
        reasons = catalog.connection.execute(
            statement("why_not", "pixels"), [series_uid]
        ).fetchall()
        raise NotAVolume(series_uid, reasons[0][0] if reasons else refused.why) from None


def _is_placed_by_groups(catalog: Catalog, series_uid: str, images: list[Image]) -> bool:
    """Return whether functional groups state the positions of single frames, as in enhanced MR."""
    if all(image.ImagePositionPatient is not None for image in images):
        return False
    ids = [image.instance_id for image in images]
    first, last, run = min(ids), max(ids), catalog.connection.execute
    # Few series without positions have groups, and planning `frames` takes longer than all else.
    if not run(statement("has_groups", "pixels"), [first, last]).fetchall()[0][0]:
        return False
    rows = run(statement("frames", "pixels"), [series_uid, first, last]).fetchall()
    return any(position is not None for _, _, position, *_ in rows)
