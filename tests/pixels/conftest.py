"""Series for tests of pixels: made ones that say what is special, and those of the packages."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import warehouse
from tests.dicom_files import image, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROWS, COLUMNS = 4, 6


def voxels(count: int) -> np.ndarray:
    """Return (slice, row, column) int16 of which no two values are equal."""
    return np.arange(count * ROWS * COLUMNS, dtype=np.int16).reshape(count, ROWS, COLUMNS) - 20


def write_slice(path: Path, pixels: np.ndarray, **attributes: Any) -> Path:
    """Write one CT slice: 2 mm apart, pixels of 0.5 mm (rows) and 0.75 mm (columns)."""
    number = attributes.get("InstanceNumber") or 1
    rows, columns = pixels.shape[:2]
    usual = {
        "uid": f"1.2.3.{path.stem}", "Rows": rows, "Columns": columns, "PixelData": pixels.tobytes(),
        "BitsAllocated": 8 * pixels.itemsize, "BitsStored": 8 * pixels.itemsize,
        "HighBit": 8 * pixels.itemsize - 1, "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "ImagePositionPatient": [-10, -20, 2.0 * number], "PixelSpacing": [0.5, 0.75],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "InstanceNumber": number,
    }  # fmt: skip
    return write(path, image(**{**usual, **attributes}))


def put_series(
    folder: Path, pixels: np.ndarray, *each: dict[str, Any], uid: str | None = None, **shared: Any
) -> None:
    """Write slices of one series; of several in one folder each has a UID of its own."""
    for number, pixel in enumerate(pixels):
        own = each[number] if each else {}
        # Names and numbers run against each other: neither may decide about the order.
        level = len(pixels) - number
        of_series = {} if uid is None else {"SeriesInstanceUID": uid, "uid": f"{uid}.{level}"}
        path = folder / f"{level}.dcm"
        write_slice(path, pixel, **{"InstanceNumber": number + 1, **of_series, **shared, **own})


@pytest.fixture
def series(tmp_path: Path) -> Callable[..., warehouse.Warehouse]:
    """Write slices of one series and ingest them; returns the warehouse."""

    def make(pixels: np.ndarray, *each: dict[str, Any], **shared: Any) -> warehouse.Warehouse:
        put_series(tmp_path / "in", pixels, *each, **shared)
        made = warehouse.open(tmp_path / "w", create=True)
        made.ingest(tmp_path / "in", mode="full", workers=1)
        return made

    return make


@contextlib.contextmanager
def answered_once(wh: warehouse.Warehouse, view: str) -> Iterator[None]:
    """Have the rows of a view in its place, in the session of this thread: it is planned once."""
    connection = wh.catalog.connection
    connection.execute(f"create temp table {view} as from {view}")
    try:
        yield
    finally:
        connection.execute(f"drop table {view}")


UID = "1.2.1.1"
"""SeriesInstanceUID of the slices that ``image`` makes."""
