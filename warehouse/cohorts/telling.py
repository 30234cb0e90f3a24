"""Choose the columns that show people what a row is.

In: a table and what was asked about it. Out: names of columns, the most telling first.
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
"""What people know an entity by, and how much there is of it."""


def telling_columns(model: Model, conditions: Iterable[str], order: Iterable[str]) -> list[str]:
    """Return the columns asked about, then those that identify a row.

    Parameters
    ----------
    model
        The table.
    conditions, order
        As ``warehouse.cohorts.filters.select`` takes them.

    Examples
    --------
    >>> from warehouse.sqlfiles import by_name
    >>> telling_columns(by_name("patients"), ["PatientSex"], ["-series_count"])[:3]
    ['PatientSex', 'series_count', 'PatientID']
    """
    asked = [attribute_of(name) for name in (*conditions, *(n.removeprefix("-") for n in order))]
    own = (*model.grain, *(column.name for column in model.columns))
    return [*dict.fromkeys((*asked, *IDENTIFYING.get(model.name, own)))]
