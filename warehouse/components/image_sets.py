"""Check that a series can be a value of the kind DICOM image set.

In: the key of a series. Out: nothing, or ``ValueRefused``. The view ``dicom_image_set_frames`` has
the frames of image sets; their files are not copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors import ValueRefused

if TYPE_CHECKING:
    import duckdb

SHARED = (
    "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "StudyID", "StudyDate",
    "AccessionNumber", "SeriesNumber",
)  # fmt: skip
"""Attributes that must be equal, or missing, in all instances of an image set."""


def require_series(connection: duckdb.DuckDBPyConnection, series_key: str) -> None:
    """Check that a series exists, has only instances with pixel data, and agrees in ``SHARED``.

    Raises
    ------
    ValueRefused
    """
    counts = ", ".join(f"count(distinct coalesce(cast({name} as varchar), ''))" for name in SHARED)
    row = connection.execute(
        f"select count(*), count(pixel_offset), {counts} from instances where series_key = $1",
        [series_key],
    ).fetchall()[0]
    instances, images, *values = row
    if not instances:
        raise ValueRefused("the series is not in the warehouse")
    if instances != images:
        raise ValueRefused("the series has instances without pixel data, so it is not an image set")
    mixed = [name for name, count in zip(SHARED, values, strict=True) if count > 1]
    if mixed:
        raise ValueRefused(f"the instances of the series differ in {', '.join(mixed)}")
