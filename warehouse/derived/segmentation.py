"""A segmentation as masks on the grid of the segmented images: ``Segmentation``.

In: a catalog and a series. Out: masks, a label map, volumes. The view ``segment_frames`` has the
segment of each frame, and ``placement`` its position; pixels are read when a mask is requested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from warehouse.derived.placement import place_frames
from warehouse.derived.resample import nearest_on
from warehouse.errors import SegmentsOverlap, UnknownPart, UsageError, WrongObject
from warehouse.given import checked
from warehouse.pixels.lookup import images_of_series
from warehouse.pixels.read import allocated
from warehouse.pixels.stack import Stack
from warehouse.pixels.values import Values

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from warehouse.catalog.connect import Catalog
    from warehouse.pixels.image import Image

_SEGMENTS = "from segmentations where instance_id in ({}) order by instance_id, item"
_FRAMES = "from segment_frames where instance_id in ({}) order by instance_id, frame_number"
_INTEGER = "select max(\"integer\") from attribute('{}') where instance_id = $1"
_FRAMES_AT_ONCE = 64
"""Maximum number of frames that are read at a time."""


class Described(NamedTuple):
    """Header attributes of one segmentation."""

    segments: pl.DataFrame
    """Rows of the view ``segmentations``."""
    frames: pl.DataFrame
    """Rows of the view ``segment_frames``."""


def described(catalog: Catalog, instance_ids: Sequence[int]) -> dict[int, Described]:
    """Query the header attributes of several segmentations at once, by instance id."""
    id_list = ", ".join(str(int(instance_id)) for instance_id in instance_ids)
    segments, frames = (
        catalog.connection.sql(query.format(id_list)).pl() for query in (_SEGMENTS, _FRAMES)
    )
    by_instance = [rows.partition_by("instance_id", as_dict=True) for rows in (segments, frames)]
    return {
        instance_id: Described(
            by_instance[0].get((instance_id,), segments.clear()),
            by_instance[1].get((instance_id,), frames.clear()),
        )
        for instance_id in instance_ids
    }


class Segmentation:
    """Masks of one segmentation object.

    Attributes
    ----------
    series_uid, sop_instance_uid
        UIDs of the object.
    kind
        ``BINARY``, ``FRACTIONAL`` or ``LABELMAP``.
    segments
        Rows of the view ``segmentations``.
    frames
        Rows of the view ``segment_frames``.
    source_uid
        SeriesInstanceUID of the images whose grid the masks have; None for the own grid of the
        frames.
    own_grid_why
        Why the own grid of the frames is used; None if it is not.
    warnings
        Omitted frames and segments, and contradictions in the header, such as a slice distance that
        differs from the positions.

    Examples
    --------
    >>> found = wh.segmentation(seg_uid)
    >>> found.kind, found.shape
    ('BINARY', (2, 4, 4))
    >>> int(found.mask(1).sum()), found.volumes()["volume_ml"].to_list()
    (3, [0.006])
    """

    def __init__(
        self, catalog: Catalog, image: Image, series_uid: str, *, resample: bool, own_grid: bool,
        description: Described | None = None,
    ) -> None:  # fmt: skip
        self.series_uid, self.sop_instance_uid = series_uid, image.SOPInstanceUID
        header = description or described(catalog, [image.instance_id])[image.instance_id]
        self.segments: pl.DataFrame = header.segments
        self.frames: pl.DataFrame = header.frames
        unread = self.segments["not_read"].drop_nulls()
        if len(unread):
            raise WrongObject(series_uid, "segmentation", unread[0])
        if not len(self.segments):
            raise WrongObject(series_uid, "segmentation", "it describes no segment")
        self.kind = str(self.segments["SegmentationType"][0] or "").upper()
        if self.kind not in {"BINARY", "FRACTIONAL", "LABELMAP"}:
            raise WrongObject(
                series_uid, "segmentation", "its Segmentation Type is missing or unknown"
            )
        self._stack = Stack(series_uid, [image], Values())
        self._max_value = (
            _max_fractional_value(catalog, image, series_uid) if self.kind == "FRACTIONAL" else 1
        )
        self._background = _background(catalog, image, self.numbers)
        self.warnings = list(self._header_warnings())
        self._rows = self._frames_of_segments()
        self._place = place_frames(
            catalog, series_uid, self.segments, self.frames, self._rows,
            (int(image.frame_shape[0]), int(image.frame_shape[1])), resample=resample,
            own_grid=own_grid,
        )  # fmt: skip
        self.warnings += self._place.warnings
        self.grid, self.source_uid = self._place.grid, self._place.source_uid
        self.own_grid_why = self._place.own_grid_why

    def __repr__(self) -> str:
        sizes = " x ".join(map(str, self.shape))
        return f"<Segmentation {self.kind} of {len(self.numbers)} segments on {sizes} voxels>"

    # -- header ------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of slices, rows and columns of the masks."""
        return self.grid.shape

    @property
    def affine(self) -> np.ndarray:
        """(4, 4): (slice, row, column, 1) to mm in LPS."""
        return self.grid.affine

    @property
    def numbers(self) -> list[int]:
        """Segment numbers in their order, without segments of a missing or duplicate number."""
        sound = self.segments.filter(pl.col("segment_why_not").is_null())
        numbers: list[int] = sound["SegmentNumber"].to_list()
        return numbers

    # -- pixels ------------------------------------------------------------------------------------

    @checked
    def mask(self, number: int, *, threshold: float | None = None) -> np.ndarray:
        """Return one segment as (slice, row, column) bool.

        Parameters
        ----------
        number
            Segment Number.
        threshold
            For fractional segmentations: minimum fraction that belongs to the segment, more than 0
            and up to 1.

        Raises
        ------
        UnknownPart, UsageError, NotInGeometry, SourceChanged, PixelsUnreadable
        WrongObject
            Stored fractions exceed Maximum Fractional Value.
        """
        if (self.kind == "FRACTIONAL") != (threshold is not None):
            raise UsageError(
                "a fractional segmentation needs a threshold: mask(number, threshold=0.5)"
                if threshold is None
                else "only a fractional segmentation has a threshold"
            )
        if threshold is not None and not 0 < threshold <= 1:
            raise UsageError("a threshold is a fraction, more than 0 and up to 1")
        return self._segment_array(number, threshold)

    @checked
    def fractions(self, number: int) -> np.ndarray:
        """Return one segment as (slice, row, column) float64, 0 to 1.

        Raises
        ------
        UnknownPart, NotInGeometry, SourceChanged, PixelsUnreadable
        WrongObject
            Stored fractions exceed Maximum Fractional Value.
        """
        stored = self._segment_array(number, None).astype(np.float64)
        return stored / self._max_value

    def label_map(self) -> np.ndarray:
        """Return all segments as (slice, row, column) uint16: segment numbers, 0 for none.

        Raises
        ------
        SegmentsOverlap
            Segments share voxels.
        UsageError
            A fractional segmentation has no labels.
        NotInGeometry, SourceChanged, PixelsUnreadable
        """
        if self.kind == "FRACTIONAL":
            raise UsageError("a fractional segmentation has no labels: use mask(…, threshold=…)")
        labels = allocated(self.series_uid, self.shape, np.dtype("u2"))
        labels[...] = 0
        if self.kind == "LABELMAP":
            for index, frame in self._placed_frames(None):
                labels[index] = np.where(frame == self._background, 0, frame)
            return labels
        overlaps: set[tuple[int, int]] = set()
        for number in self.numbers:
            mask = self._segment_array(number, None)
            overlaps |= {(int(other), number) for other in np.unique(labels[mask]) if other}
            labels[mask] = number
        if overlaps:
            raise SegmentsOverlap(self.series_uid, sorted(overlaps))
        return labels

    def volumes(self) -> pl.DataFrame:
        """Return a row per segment: number of voxels, and their volume in ml.

        ``voxel_count`` of a fractional segmentation is the sum of fractions. Stored frames are
        counted in blocks, without creating masks. ``why_not`` is the reason for a null volume, such
        as frames without a regular grid, or states that no segment describes the value.

        Raises
        ------
        SourceChanged, PixelsUnreadable
        WrongObject
            Stored fractions exceed Maximum Fractional Value.
        """
        counts: dict[int, float] = dict.fromkeys(self.numbers, 0)
        for rows, frames in self._blocks(list(range(len(self._rows)))):
            if self.kind == "LABELMAP":
                labels, label_counts = np.unique(frames, return_counts=True)
                for label, count in zip(labels.tolist(), label_counts.tolist(), strict=True):
                    if label in counts or label not in {0, self._background}:
                        counts[label] = counts.get(label, 0) + count
                continue
            voxels = frames != 0 if self.kind == "BINARY" else frames
            sums = voxels.sum(axis=(1, 2), dtype=np.int64)
            for row, total in zip(rows, sums.tolist(), strict=True):
                counts[self._rows[row][1]] += total / self._max_value
        voxel_ml, reason = self._place.voxel_ml()
        columns = ["SegmentNumber", "SegmentLabel", "segment_why_not"]
        described_as = {number: rest for number, *rest in self.segments.select(columns).iter_rows()}
        undescribed = [None, "no segment describes this value"]
        return pl.DataFrame(
            [
                (
                    number, described_as.get(number, undescribed)[0], float(count),
                    None if voxel_ml is None else count * voxel_ml,
                    reason or described_as.get(number, undescribed)[1],
                )
                for number, count in counts.items()
            ],
            schema={
                "SegmentNumber": pl.Int64, "SegmentLabel": pl.String, "voxel_count": pl.Float64,
                "volume_ml": pl.Float64, "why_not": pl.String,
            },
            orient="row",
        )  # fmt: skip

    # -- frames ------------------------------------------------------------------------------------

    def _frames_of_segments(self) -> list[tuple[int, int]]:
        """Return frame index, from 0, and segment number of the frames that belong to a segment.

        Of a label map, all frames with segment -1.
        """
        rows = self.frames.filter(pl.col("frame_number") <= len(self._stack))
        if self.kind == "LABELMAP":
            return [(number - 1, -1) for number in rows["frame_number"].to_list()]
        known = set(self.numbers)
        rows = rows.filter(pl.col("segment_why_not").is_null())
        pairs = rows.select("frame_number", "segment_number").iter_rows()
        return [(frame - 1, segment) for frame, segment in pairs if segment in known]

    def _header_warnings(self) -> Iterator[str]:
        """Yield each reason for which frames or segments are left out, with their number."""
        left_out = (self.kind != "LABELMAP") | (pl.col("frame_number") > len(self._stack))
        reasons = self.frames.filter(left_out)["segment_why_not"].drop_nulls()
        for reason, count in reasons.value_counts(sort=True).iter_rows():
            yield f"{count} frames are left out: {reason}"
        of_segments = self.segments["segment_why_not"].drop_nulls().value_counts()
        for reason, count in of_segments.iter_rows():
            yield f"{count} segments are left out: {reason}"

    def _blocks(self, rows: list[int]) -> Iterator[tuple[list[int], np.ndarray]]:
        """Yield stored frames in blocks of consecutive frames, with their indices in ``_rows``."""
        start = 0
        while start < len(rows):
            first = self._rows[rows[start]][0]
            end = start + 1
            last = min(len(rows), start + _FRAMES_AT_ONCE)
            while end < last and self._rows[rows[end]][0] == first + end - start:
                end += 1
            frames = self._stack[first : first + end - start]
            if self.kind == "FRACTIONAL" and frames.max(initial=0) > self._max_value:
                why = "stored fractions exceed its Maximum Fractional Value"
                raise WrongObject(self.series_uid, "segmentation", why)
            yield rows[start:end], frames
            start = end

    def _segment_array(self, number: int, threshold: float | None) -> np.ndarray:
        """Return the array of a segment: bool, or uint16 stored fractions without a threshold."""
        if number not in self.numbers:
            raise UnknownPart("segment", number, self.numbers)
        is_fraction = self.kind == "FRACTIONAL" and threshold is None
        array = allocated(self.series_uid, self.shape, np.dtype("u2" if is_fraction else "?"))
        array[...] = 0
        for index, frame in self._placed_frames(None if self.kind == "LABELMAP" else number):
            if self.kind == "LABELMAP":
                array[index] = frame == number
            elif threshold is not None:
                array[index] = frame >= threshold * self._max_value
            else:
                array[index] = frame if is_fraction else frame != 0
        return array

    def _placed_frames(
        self, number: int | None
    ) -> Iterator[tuple[tuple[slice | int, ...], np.ndarray]]:
        """Yield index on the grid and values of each frame of a segment, or of all segments."""
        rows = [n for n, (_, segment) in enumerate(self._rows) if number in (None, segment)]
        if self._place.resamples:
            yield from self._resampled(rows)
            return
        for block, frames in self._blocks(rows):
            for row, frame in zip(block, frames, strict=True):
                level, top, left = self._place.corners[row]
                height, width = frame.shape
                yield (level, slice(top, top + height), slice(left, left + width)), frame

    def _resampled(self, rows: list[int]) -> Iterator[tuple[tuple[int], np.ndarray]]:
        """Yield index and values of each slice, from the nearest stored voxels; 0 outside."""
        planes, own = self._place.planes, self._place.own
        if not rows or isinstance(planes, str) or isinstance(own, str):
            return
        planes = [planes[row] for row in rows]
        frames = np.concatenate([frame for _, frame in self._blocks(rows)])
        thickness = float(np.linalg.norm(own.affine[:3, 0]))
        for level, values in nearest_on(self.grid, planes, frames, thickness):
            yield (level,), values


def open_segmentation(
    catalog: Catalog, series_uid: str, *, sop_instance_uid: str | None = None,
    resample: bool = False, own_grid: bool = False, description: Described | None = None,
) -> Segmentation:  # fmt: skip
    """Open a segmentation; no pixels are read.

    Parameters
    ----------
    catalog
        Open catalog.
    series_uid
        SeriesInstanceUID of the segmentation.
    sop_instance_uid
        The object, if the series has several.
    resample
        Use the nearest voxel if frames are not on the grid of the images.
    own_grid
        Use the smallest grid that contains the frames instead of the grid of the images.
    description
        Result of ``described`` for the object, to avoid another query.

    Raises
    ------
    SeriesNotFound, NoPixels
    WrongObject
        The series is not a segmentation, or has several objects and none is chosen.
    NotInGeometry
        Frames are not on the grid of the images; the message says why.
    """
    images = images_of_series(catalog, series_uid)
    if sop_instance_uid is not None:
        images = [image for image in images if image.SOPInstanceUID == sop_instance_uid]
        if not images:
            raise WrongObject(series_uid, "segmentation", "it has no such instance")
    if len(images) > 1:
        why = f"it has {len(images)} objects; choose one (sop_instance_uid=…)"
        raise WrongObject(series_uid, "segmentation", why)
    return Segmentation(
        catalog, images[0], series_uid, resample=resample, own_grid=own_grid,
        description=description,
    )  # fmt: skip


def _max_fractional_value(catalog: Catalog, image: Image, series_uid: str) -> int:
    """Return Maximum Fractional Value (0062,000E) of a fractional segmentation."""
    stated = _integer(catalog, image, "MaximumFractionalValue")
    if not stated:
        why = "it is fractional, and its Maximum Fractional Value is missing"
        raise WrongObject(series_uid, "segmentation", why)
    return stated


def _background(catalog: Catalog, image: Image, numbers: Sequence[int]) -> int:
    """Return the value of a label map outside of all segments: Pixel Padding Value, else 0.

    Supplement 243 states the background so; the number of a described segment is none.
    """
    stated = _integer(catalog, image, "PixelPaddingValue")
    return 0 if stated is None or stated in numbers else stated


def _integer(catalog: Catalog, image: Image, keyword: str) -> int | None:
    """Return an integer of the header; None if it is missing."""
    rows = catalog.connection.execute(_INTEGER.format(keyword), [image.instance_id]).fetchall()
    return rows[0][0] if rows else None
