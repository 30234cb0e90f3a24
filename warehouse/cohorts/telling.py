"""Choose the columns to display for a row.

In: a table and the conditions of a query. Out: names of columns, the most informative first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.cohorts.filters import attribute_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.sqlfiles import Model

IDENTIFYING = {
    "patients": (
        "PatientID", "PatientSex", "PatientBirthDate", "study_count", "series_count",
        "latest_study_at",
    ),
    "studies": (
        "PatientID", "StudyDate", "modalities", "StudyDescription", "series_count",
        "instance_count", "StudyInstanceUID",
    ),
    "series": (
        "PatientID", "Modality", "SeriesDate", "SeriesNumber", "SeriesDescription",
        "instance_count", "SeriesInstanceUID",
    ),
    "instances": ("PatientID", "Modality", "SeriesNumber", "InstanceNumber", "SOPInstanceUID"),
}  # fmt: skip
"""Entity table → columns by which users recognize an entity, and its counts."""


def telling_columns(model: Model, conditions: Iterable[str], order: Iterable[str]) -> list[str]:
    """Return the columns used in the query, then those that identify a row.

    Parameters
    ----------
    model
        The table.
    conditions, order
        See ``warehouse.cohorts.filters.select``.

    Examples
    --------
    >>> from warehouse.sqlfiles import by_name
    >>> telling_columns(by_name("patients"), ["PatientSex"], ["-series_count"])[:3]
    ['PatientSex', 'series_count', 'PatientID']
    """
    asked = [attribute_of(name) for name in (*conditions, *(n.removeprefix("-") for n in order))]
    own = (*model.grain, *(column.name for column in model.columns))
    return [*dict.fromkeys((*asked, *IDENTIFYING.get(model.name, own)))]
