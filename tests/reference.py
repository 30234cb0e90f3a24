"""Entities by loops and dictionaries from pydicom data sets: the slow, obvious answer.

Knows nothing of SQL, of the long table or of how the warehouse reads files.
"""

from __future__ import annotations

import datetime as dt
import warnings
from typing import TYPE_CHECKING, Any

import pydicom
from pydicom.multival import MultiValue
from pydicom.valuerep import DA, TM, PersonName

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DIRECTORY = "1.2.840.10008.1.3.10"

TEXTS = {
    "series": [
        "SeriesInstanceUID", "SeriesDescription", "Modality", "BodyPartExamined", "PatientPosition",
        "ProtocolName", "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber",
        "InstitutionName", "SequenceName", "MRAcquisitionType", "FrameOfReferenceUID",
        "StudyInstanceUID", "PatientID",
    ],
    "studies": ["StudyInstanceUID", "StudyID", "StudyDescription", "AccessionNumber", "PatientID"],
    "patients": ["PatientID", "PatientSex", "IssuerOfPatientID"],
}  # fmt: skip
NUMBERS = [
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "MagneticFieldStrength",
    "FlipAngle",
    "SliceThickness",
]
INTEGERS = ["SeriesNumber", "EchoTrainLength", "Rows", "Columns"]
LISTS = ["ImageType", "ScanningSequence", "SequenceVariant"]


def read(paths: Iterable[Path]) -> list[tuple[str, pydicom.Dataset]]:
    """Return key and data set of each instance; of copies the one whose path comes first."""
    found: dict[str, pydicom.Dataset] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(paths, key=str):
            dataset = pydicom.dcmread(path, force=True)
            if dataset.file_meta.get("MediaStorageSOPClassUID") == DIRECTORY:
                continue
            key = text(dataset, "SOPInstanceUID") or text(
                dataset.file_meta, "MediaStorageSOPInstanceUID"
            )
            found.setdefault(key or f"content of {path}", dataset)
    return sorted(found.items())


def text(dataset: pydicom.Dataset, keyword: str) -> str | None:
    values = several(dataset, keyword)
    return values[0] if values else None


def several(dataset: pydicom.Dataset, keyword: str) -> list[str] | None:
    value = dataset.get(keyword)
    if value is None or (not isinstance(value, MultiValue) and not str(value).strip("\0 ")):
        return None
    values = value if isinstance(value, MultiValue) else [value]
    # Spaces before a text mean as little as those behind it (PS3.5 6.2); no entity has an LT here.
    return [str(one).rstrip("\0 ").lstrip(" ") for one in values] or None


def number(dataset: pydicom.Dataset, keyword: str) -> float | None:
    values = several(dataset, keyword)
    try:
        return float(values[0]) if values else None
    except ValueError:
        return None


def day(dataset: pydicom.Dataset, keyword: str) -> dt.date | None:
    try:
        value = DA(text(dataset, keyword) or "")
    except ValueError:
        return None
    return dt.date(value.year, value.month, value.day) if value else None


def clock(dataset: pydicom.Dataset, keyword: str) -> dt.time | None:
    written = (text(dataset, keyword) or "").replace(":", "")
    try:
        value = TM(written)
    except ValueError:
        return None
    return dt.time(value.hour, value.minute, value.second, value.microsecond) if value else None


def entities(instances: list[tuple[str, pydicom.Dataset]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return view → key → column → value."""
    groups: dict[str, dict[str, list[tuple[str, pydicom.Dataset]]]] = {
        "series": {}, "studies": {}, "patients": {},
    }  # fmt: skip
    keys: dict[str, tuple[str, str, str]] = {}
    for key, dataset in instances:
        series = text(dataset, "SeriesInstanceUID")
        study = text(dataset, "StudyInstanceUID")
        patient = text(dataset, "PatientID")
        keys[key] = (
            series or f"missing:{key}",
            study or f"missing:{series or key}",
            patient or f"missing:{study or series or key}",
        )
        for view, entity in zip(groups, keys[key], strict=True):
            groups[view].setdefault(entity, []).append((key, dataset))
    answer: dict[str, dict[str, dict[str, Any]]] = {}
    for view, members in groups.items():
        answer[view] = {}
        for entity, group in members.items():
            datasets = [dataset for _, dataset in group]
            row: dict[str, Any] = {name: first(datasets, text, name) for name in TEXTS[view]}
            row["instance_count"] = len(group)
            if view == "series":
                row |= {name: first(datasets, number, name) for name in NUMBERS}
                row |= {name: first(datasets, number, name) for name in INTEGERS}
                row |= {name: first(datasets, several, name) for name in LISTS}
                row["SeriesDate"] = first(datasets, day, "SeriesDate")
                row["SeriesTime"] = first(datasets, clock, "SeriesTime")
                row["image_count"] = sum(has_pixels(dataset) for dataset in datasets)
            else:
                row["series_count"] = len({keys[key][0] for key, _ in group})
            if view == "studies":
                row["StudyDate"] = first(datasets, day, "StudyDate")
                row["StudyTime"] = first(datasets, clock, "StudyTime")
                row["patient_count"] = len({keys[key][2] for key, _ in group})
            if view == "patients":
                row["study_count"] = len({keys[key][1] for key, _ in group})
                row["PatientBirthDate"] = first(datasets, day, "PatientBirthDate")
                row |= name_of(datasets)
                row["latest_study_at"] = max(filter(None, map(study_at, datasets)), default=None)
            answer[view][entity] = row
    return answer


def first(datasets: list[pydicom.Dataset], read: Any, keyword: str) -> Any:
    """Return the value of the first instance, in order of keys, that has one."""
    return next(
        (v for v in (read(dataset, keyword) for dataset in datasets) if v is not None), None
    )


def has_pixels(dataset: pydicom.Dataset) -> bool:
    return any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))


def study_at(dataset: pydicom.Dataset) -> dt.datetime | None:
    date = day(dataset, "StudyDate")
    return dt.datetime.combine(date, clock(dataset, "StudyTime") or dt.time()) if date else None


def name_of(datasets: list[pydicom.Dataset]) -> dict[str, str | None]:
    parts = ("family_name", "given_name", "middle_name", "name_prefix", "name_suffix")
    for dataset in datasets:
        name = dataset.get("PatientName")
        if name and str(name).strip("\0 "):
            assert isinstance(name, PersonName)
            return {part: getattr(name, part).strip() or None for part in parts}
    return dict.fromkeys(parts)
