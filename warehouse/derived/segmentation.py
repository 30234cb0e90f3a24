"""A segmentation as masks on the grid of the images that were segmented: ``Segmentation``.

In: a catalog and a series. Out: masks, a label map, volumes. Which frame is of which segment comes
from the view ``segment_frames``, where it lies from ``placement``; frames are read when a mask is
asked for.
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
_LARGEST = "select max(\"integer\") from attribute('MaximumFractionalValue') where instance_id = $1"
_AT_ONCE = 64
"""Frames in memory beside what is made of them."""


class Described(NamedTuple):
    """Header attributes of one segmentation."""

    segments: pl.DataFrame
    """Its rows of the view ``segmentations``."""
    frames: pl.DataFrame
    """Its rows of the view ``segment_frames``."""


def described(catalog: Catalog, instance_ids: Sequence[int]) -> dict[int, Described]:
    """Return the header attributes of segmentations; many take little longer than one."""
    listed = ", ".join(str(int(one)) for one in instance_ids)
    segments, frames = (
        catalog.connection.sql(query.format(listed)).pl() for query in (_SEGMENTS, _FRAMES)
    )
    of_each = [rows.partition_by("instance_id", as_dict=True) for rows in (segments, frames)]
    return {
        one: Described(
            of_each[0].get((one,), segments.clear()), of_each[1].get((one,), frames.clear())
        )
        for one in instance_ids
    }


class Segmentation:
    """Masks of one segmentation object.

    Attributes
    ----------
    series_uid, sop_instance_uid
        Which object it is.
    kind
        ``BINARY``, ``FRACTIONAL`` or ``LABELMAP``.
    segments
        Its rows of the view ``segmentations``.
    frames
        Its rows of the view ``segment_frames``.
    source_uid
        SeriesInstanceUID of the images on whose grid masks lie; None if they lie on their own.
    own_grid_why
        Why masks lie on a grid of their own; None if they do not.
    warnings
        What contradicts itself in the header, such as a distance of slices that positions refute.

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
        found = description or described(catalog, [image.instance_id])[image.instance_id]
        self.segments: pl.DataFrame = found.segments
        self.frames: pl.DataFrame = found.frames
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
        self._largest = _largest(catalog, image, series_uid) if self.kind == "FRACTIONAL" else 1
        self.warnings = list(self._problems())
        self._rows = self._usable()
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

    # -- what is known -----------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns of the masks."""
        return self.grid.shape

    @property
    def affine(self) -> np.ndarray:
        """(4, 4): (slice, row, column, 1) to mm in LPS."""
        return self.grid.affine

    @property
    def numbers(self) -> list[int]:
        """Numbers of the segments that frames can state, in their order."""
        sound = self.segments.filter(pl.col("segment_why_not").is_null())
        numbers: list[int] = sound["SegmentNumber"].to_list()
        return numbers

    # -- what is read ------------------------------------------------------------------------------

    @checked
    def mask(self, number: int, *, threshold: float | None = None) -> np.ndarray:
        """Return one segment as (slice, row, column) bool.

        Parameters
        ----------
        number
            Segment Number.
        threshold
            Of a fractional segmentation: least fraction, 0 to 1, that belongs to the segment.

        Raises
        ------
        UnknownPart, UsageError, NotInGeometry, SourceChanged, PixelsUnreadable
        """
        if (self.kind == "FRACTIONAL") != (threshold is not None):
            raise UsageError(
                "a fractional segmentation needs a threshold: mask(number, threshold=0.5)"
                if threshold is None
                else "only a fractional segmentation has a threshold"
            )
        return self._filled(number, threshold)

    @checked
    def fractions(self, number: int) -> np.ndarray:
        """Return one segment as (slice, row, column) float64, 0 to 1.

        Raises
        ------
        UnknownPart, NotInGeometry, SourceChanged, PixelsUnreadable
        """
        made = self._filled(number, None).astype(np.float64)
        return made / self._largest

    def label_map(self) -> np.ndarray:
        """Return all segments as (slice, row, column) uint16: segment number, 0 where none is.

        Raises
        ------
        SegmentsOverlap
            Segments share voxels.
        UsageError
            A fractional segmentation has no labels.
        NotInGeometry, SourceChanged, PixelsUnreadable
        """
        if self.kind == "FRACTIONAL":
            raise UsageError("a fractional segmentation has no labels: take mask(…, threshold=…)")
        made = allocated(self.series_uid, self.shape, np.dtype("u2"))
        made[...] = 0
        if self.kind == "LABELMAP":
            for place, frame in self._filled_frames(None):
                made[place] = frame
            return made
        pairs: set[tuple[int, int]] = set()
        for number in self.numbers:
            mask = self._filled(number, None)
            pairs |= {(int(other), number) for other in np.unique(made[mask]) if other}
            made[mask] = number
        if pairs:
            raise SegmentsOverlap(self.series_uid, sorted(pairs))
        return made

    def volumes(self) -> pl.DataFrame:
        """Return a row per segment: voxels, and their volume in ml.

        ``voxel_count`` is a sum of fractions for a fractional segmentation. Frames are counted as
        they are stored, in blocks: no mask is made. ``why_not`` says why a volume is null: frames
        make no regular grid, or values occur that no segment describes.

        Raises
        ------
        SourceChanged, PixelsUnreadable
        """
        counts: dict[int, float] = dict.fromkeys(self.numbers, 0)
        for rows, frames in self._blocks(list(range(len(self._rows)))):
            if self.kind == "LABELMAP":
                labels, found = np.unique(frames, return_counts=True)
                for label, count in zip(labels.tolist(), found.tolist(), strict=True):
                    if label or 0 in counts:
                        counts[label] = counts.get(label, 0) + count
                continue
            sums = frames.reshape(len(frames), -1).sum(axis=1, dtype=np.int64)
            for row, total in zip(rows, sums.tolist(), strict=True):
                counts[self._rows[row][1]] += total / self._largest
        voxel_ml, reason = self._place.voxel_ml()
        known = dict(self.segments.select("SegmentNumber", "SegmentLabel").iter_rows())
        return pl.DataFrame(
            [
                (
                    number, known.get(number), float(count),
                    None if voxel_ml is None else count * voxel_ml,
                    reason or (None if number in known else "no segment describes this value"),
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

    def _usable(self) -> list[tuple[int, int]]:
        """Return number of the frame, from 0, and segment, of frames that are of a segment."""
        rows = self.frames.filter(pl.col("frame_number") <= len(self._stack))
        if self.kind == "LABELMAP":
            return [(number - 1, -1) for number in rows["frame_number"].to_list()]
        known = set(self.numbers)
        rows = rows.filter(pl.col("segment_why_not").is_null())
        pairs = rows.select("frame_number", "segment_number").iter_rows()
        return [(frame - 1, segment) for frame, segment in pairs if segment in known]

    def _problems(self) -> Iterator[str]:
        """Yield what is wrong with frames and segments, each reason once with its count."""
        left_out = (self.kind != "LABELMAP") | (pl.col("frame_number") > len(self._stack))
        reasons = self.frames.filter(left_out)["segment_why_not"].drop_nulls()
        for reason, count in reasons.value_counts(sort=True).iter_rows():
            yield f"{count} frames are left out: {reason}"
        of_segments = self.segments["segment_why_not"].drop_nulls().value_counts()
        for reason, count in of_segments.iter_rows():
            yield f"{count} segments are left out: {reason}"

    def _blocks(self, rows: list[int]) -> Iterator[tuple[list[int], np.ndarray]]:
        """Yield frames as they are stored, a block at a time, with their places among the rows."""
        start = 0
        while start < len(rows):
            first = self._rows[rows[start]][0]
            end = start + 1
            last = min(len(rows), start + _AT_ONCE)
            while end < last and self._rows[rows[end]][0] == first + end - start:
                end += 1
            yield rows[start:end], self._stack[first : first + end - start]
            start = end

    def _rows_of(self, number: int | None) -> list[int]:
        return [n for n, (_, segment) in enumerate(self._rows) if number in (None, segment)]

    def _filled(self, number: int, threshold: float | None) -> np.ndarray:
        """Return a segment: bool, or stored fractions if no threshold is given."""
        if number not in self.numbers:
            raise UnknownPart("segment", number, self.numbers)
        is_fraction = self.kind == "FRACTIONAL" and threshold is None
        made = allocated(self.series_uid, self.shape, np.dtype("u2" if is_fraction else "?"))
        made[...] = 0
        for place, frame in self._filled_frames(None if self.kind == "LABELMAP" else number):
            if self.kind == "LABELMAP":
                made[place] = frame == number
            elif threshold is not None:
                made[place] = frame >= threshold * self._largest
            else:
                made[place] = frame if is_fraction else frame != 0
        return made

    def _filled_frames(
        self, number: int | None
    ) -> Iterator[tuple[tuple[slice | int, ...], np.ndarray]]:
        """Yield what lies where on the grid, for the frames of a segment, or all."""
        rows = self._rows_of(number)
        if self._place.resamples:
            yield from self._resampled(rows)
            return
        for block, frames in self._blocks(rows):
            for row, frame in zip(block, frames, strict=True):
                level, top, left = self._place.corners[row]
                height, width = frame.shape
                yield (level, slice(top, top + height), slice(left, left + width)), frame

    def _resampled(self, rows: list[int]) -> Iterator[tuple[tuple[int], np.ndarray]]:
        """Yield each slice of the grid with the nearest stored voxels, 0 outside of all frames."""
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
    """Return a segmentation; no frame is read.

    Parameters
    ----------
    catalog
        Open catalog.
    series_uid
        SeriesInstanceUID of the segmentation.
    sop_instance_uid
        Which object, where the series has several.
    resample
        Where frames do not lie on the grid of the images: take the nearest voxel.
    own_grid
        Masks on the least grid that holds the frames, whatever the images.
    description
        What ``described`` says of the object, where that was asked already.

    Raises
    ------
    SeriesNotFound, NoPixels
    WrongObject
        The series is no segmentation, or of several objects and none was chosen.
    NotInGeometry
        Frames do not lie on the grid of the images; the message says how.
    """
    images = images_of_series(catalog, series_uid)
    if sop_instance_uid is not None:
        images = [image for image in images if image.SOPInstanceUID == sop_instance_uid]
        if not images:
            raise WrongObject(series_uid, "segmentation", "it has no such instance")
    if len(images) > 1:
        why = f"it has {len(images)} objects, name one (sop_instance_uid=…)"
        raise WrongObject(series_uid, "segmentation", why)
    return Segmentation(
        catalog,
        images[0],
        series_uid,
        resample=resample,
        own_grid=own_grid,
        description=description,
    )


def _largest(catalog: Catalog, image: Image, series_uid: str) -> int:
    found = catalog.connection.execute(_LARGEST, [image.instance_id]).fetchall()
    if not found or not found[0][0]:
        why = "it is fractional, and its Maximum Fractional Value is missing"
        raise WrongObject(series_uid, "segmentation", why)
    return int(found[0][0])
