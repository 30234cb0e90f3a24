"""Methods of ``Warehouse`` for derived objects.

In: an open warehouse. Out: segmentations, their volumes, structure sets, dose-volume histograms and
waveforms. Each function is a method of ``Warehouse``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from warehouse.store.damage import names_failures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.derived.dose import DoseVolume
    from warehouse.derived.segmentation import Segmentation
    from warehouse.derived.structures import Structures
    from warehouse.derived.volumes import Measured
    from warehouse.derived.waveforms import Waveform
    from warehouse.publishing import Opened


@names_failures
def segmentation(
    wh: Opened, series_uid: str, *, sop_instance_uid: str | None = None, resample: bool = False,
    own_grid: bool = False,
) -> Segmentation:  # fmt: skip
    """Open a segmentation as masks on the grid of the segmented images.

    Frames on another grid are refused unless ``resample`` or ``own_grid`` is set; see
    ``warehouse.derived.segmentation.open_segmentation``.
    """
    from warehouse.derived.segmentation import open_segmentation

    return open_segmentation(
        wh.catalog, series_uid, sop_instance_uid=sop_instance_uid, resample=resample,
        own_grid=own_grid,
    )  # fmt: skip


@names_failures
def measure_segments(wh: Opened, series: Iterable[str] | None = None) -> Measured:
    """Measure new and changed segmentations for the view ``segment_volumes``.

    Reads the pixels of all segmentations, or those in ``series``. Segmentations already measured
    with the same file and images are skipped. See ``warehouse.derived.volumes``.

    Examples
    --------
    >>> wh.measure_segments().objects, wh.measure_segments().objects
    (1, 0)
    >>> wh.sql("select SegmentNumber, volume_ml from segment_volumes").fetchall()
    [(1, 0.006)]
    """
    from warehouse.derived.volumes import TABLE, measure_segments
    from warehouse.store.append import append_rows

    return measure_segments(
        wh.catalog,
        lambda rows: wh.place.change(
            lambda _: append_rows(wh.root, {TABLE: rows}), what="segments", materialize=False
        ),
        series,
    )


@names_failures
def structures(wh: Opened, series_uid: str, *, sop_instance_uid: str | None = None) -> Structures:
    """Open the regions of an RT structure set; see ``warehouse.derived.structures``."""
    from warehouse.derived.structures import open_structures

    return open_structures(wh.catalog, series_uid, sop_instance_uid=sop_instance_uid)


@names_failures
def dose_volume(
    wh: Opened, structures_uid: str, roi_number: int, dose_uid: str, *, on: str | None = None
) -> DoseVolume:
    """Return the dose-volume histogram of a region of a structure set.

    The region is rasterized on the grid of the series ``on``, by default the images on
    which its contours were drawn, or that the structure set references; see
    ``warehouse.derived.structures.Structures.mask`` and ``warehouse.derived.dose``.

    Examples
    --------
    >>> found = wh.dose_volume(rt_uid, 1, dose_uid)
    >>> found.mean_gy, found.volume_ml, found.uncovered_ml
    (2.5, 0.016, 0.0)
    """
    from warehouse.derived.dose import dose_volume
    from warehouse.derived.structures import open_structures

    mask = open_structures(wh.catalog, structures_uid).mask(roi_number, on=on)
    return replace(dose_volume(wh.catalog, mask, dose_uid), warnings=mask.warnings)


@names_failures
def waveform(
    wh: Opened, series_uid: str, *, group: int = 0, sop_instance_uid: str | None = None
) -> Waveform:
    """Open a multiplex group of a waveform, such as an ECG; ``read`` returns its samples."""
    from warehouse.derived.waveforms import open_waveform

    return open_waveform(wh.catalog, series_uid, group=group, sop_instance_uid=sop_instance_uid)
