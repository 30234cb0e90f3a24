"""Series of the archive as values of the kind DICOM image set.

In: a series. Out: nothing, or why it is no image set. Its frames are the view
``dicom_image_set_frames``; instances are read from where they lie.
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
"""Attributes of which all instances of an image set have one value, or none."""


def require_series(connection: duckdb.DuckDBPyConnection, series_key: str) -> None:
    """Check that a series is there, has pixels and belongs to one study of one patient.

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
        raise ValueRefused("the series has instances without pixels, which are no image set")
    mixed = [name for name, count in zip(SHARED, values, strict=True) if count > 1]
    if mixed:
        raise ValueRefused(f"the instances of the series differ in {', '.join(mixed)}")
