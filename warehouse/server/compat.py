"""Translate query parameters of django_dicom's REST API into ``select`` conditions. Pure functions.

In: names and values of a query. Out: conditions. docs/how-to/serve.md has the table. Errors of that
API are not reproduced: ``pixel_spacing_min`` tests every value, dates are compared as dates.
"""

from __future__ import annotations

import json
from typing import Any

from warehouse.errors import UnknownFilter

_LOOKUPS = {"contains": "__contains", "icontains": "__icontains", "exact": ""}
_EXACT = {
    "series": {
        "uid": "SeriesInstanceUID", "id": "series_key", "number": "SeriesNumber",
        "patient__id": "patient_key", "patient_id": "patient_key", "study_uid": "StudyInstanceUID",
        "modality": "Modality", "flip_angle": "FlipAngle__existing",
        "manufacturer": "Manufacturer__existing", "protocol_name": "ProtocolName__icontains",
        "manufacturer_model_name": "ManufacturerModelName__existing",
        "magnetic_field_strength": "MagneticFieldStrength__existing",
        "device_serial_number": "DeviceSerialNumber__existing",
        "institution_name": "InstitutionName__existing", "date": "SeriesDate__during",
        "study_description": "StudyDescription__any", "sequence_name": "SequenceName__any",
        "pulse_sequence_name": "pulse_sequence_name__any",
        "scanning_sequence": "ScanningSequence__set", "sequence_variant": "SequenceVariant__set",
    },
    "instances": {
        "uid": "SOPInstanceUID", "id": "instance_key", "number": "InstanceNumber",
        "series_uid": "SeriesInstanceUID__contains",
        "series_description": "SeriesDescription__contains",
        "created_after_date": "InstanceCreationDate__min",
        "created_before_date": "InstanceCreationDate__max",
        "created_after_time": "InstanceCreationTime__min",
        "created_before_time": "InstanceCreationTime__max",
    },
    "studies": {
        "id": "study_key", "date_after": "StudyDate__min", "date_before": "StudyDate__max",
        "time_after": "StudyTime__min", "time_before": "StudyTime__max",
        "n_patients": "patient_count", "n_series": "series_count", "n_images": "instance_count",
    },
    "patients": {
        "id": "patient_key", "name_prefix": "name_prefix__existing", "sex": "PatientSex",
        "name_suffix": "name_suffix__existing", "study__id": "StudyInstanceUID",
        "date_of_birth_after": "PatientBirthDate__min",
        "date_of_birth_before": "PatientBirthDate__max",
        "born_after_date": "PatientBirthDate__min", "born_before_date": "PatientBirthDate__max",
        "n_studies": "study_count", "n_series": "series_count", "n_images": "instance_count",
    },
}  # fmt: skip
_RANGES = {
    "series": {
        "echo_time": "EchoTime", "inversion_time": "InversionTime",
        "repetition_time": "RepetitionTime", "slice_thickness": "SliceThickness",
        "pixel_spacing": "PixelSpacing", "date": "SeriesDate", "time": "SeriesTime",
    },
    "studies": {
        "n_patients": "patient_count", "n_series": "series_count", "n_images": "instance_count",
    },
    "patients": {
        "n_studies": "study_count", "n_series": "series_count", "n_images": "instance_count",
    },
}  # fmt: skip
_LOOKED_UP = {
    "series": {"description": "SeriesDescription"},
    "studies": {"uid": "StudyInstanceUID", "description": "StudyDescription"},
    "patients": {
        "uid": "PatientID", "given_name": "given_name", "middle_name": "middle_name",
        "family_name": "family_name",
    },
}  # fmt: skip
_ENDS = {"_min": "__min", "_max": "__max", "_after": "__min", "_before": "__max"}


def translated(table: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the conditions of a query; names that are not of django_dicom are kept.

    Parameters
    ----------
    table
        `patients`, `studies`, `series` or `instances`; others are not translated.
    parameters
        Names and values; a list where a name is repeated.

    Raises
    ------
    UnknownFilter
        ``x_lookup`` has an unknown value, one of ``x`` and ``x_lookup`` is missing, or
        ``header_fields`` is not a JSON object.
    """
    exact, ranges = _EXACT.get(table, {}), _RANGES.get(table, {})
    looked_up = _LOOKED_UP.get(table, {})
    conditions: dict[str, Any] = {}
    for name, value in parameters.items():
        base = name.removesuffix("_lookup")
        if base in looked_up and (base != name or f"{name}_lookup" in parameters or name not in {
            "given_name", "middle_name", "family_name",
        }):  # fmt: skip
            if base == name:
                lookup = str(parameters.get(f"{name}_lookup", ""))
                if lookup not in _LOOKUPS:
                    choices = ", ".join(_LOOKUPS)
                    raise UnknownFilter(f"{name} needs {name}_lookup, one of: {choices}")
                conditions[looked_up[base] + _LOOKUPS[lookup]] = value
            elif base not in parameters:
                raise UnknownFilter(f"{name} needs {base}")
        elif name in exact:
            conditions[exact[name]] = value
        elif name == "header_fields" and table == "series":
            conditions |= _header_fields(value)
        else:
            end = next((end for end in _ENDS if name.endswith(end)), "")
            if end and name.removesuffix(end) in ranges:
                conditions[ranges[name.removesuffix(end)] + _ENDS[end]] = value
            else:
                conditions[name] = value
    return conditions


def _header_fields(value: Any) -> dict[str, Any]:
    """Return conditions on elements: ``{"-Manufacturer": "GE", "(0x0018,0x0095)": 100}``."""
    try:
        parsed = json.loads(value)
    except (TypeError, ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise UnknownFilter("header_fields must be a JSON object of keywords or tags with values")
    return parsed
