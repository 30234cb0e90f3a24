"""Restrict tokens of the role ``deidentified`` to columns that do not identify a person.

In: a view, and the columns that a query uses. Out: the columns to show, or ``Refused``. The list is
an allowlist, without keys, dates, times, free text, names of people and places, and UIDs other than
those of SOP class and transfer syntax. Conditions and orders may use listed columns only, as
results would reveal the values of others; search and cursors are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warehouse.cohorts.filters import attribute_of
from warehouse.server.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from warehouse.catalog.connect import Catalog

TABLES = {"patients", "studies", "series", "instances", "images", "sequence_types"}
COLUMNS = frozenset({
    "Modality", "modalities", "BodyPartExamined", "Laterality", "PatientPosition", "Manufacturer",
    "manufacturer_name", "ManufacturerModelName", "ScanningSequence", "SequenceVariant",
    "ScanOptions", "MRAcquisitionType", "MagneticFieldStrength", "magnetic_field_strength_t",
    "EchoTime", "InversionTime", "RepetitionTime", "EchoTrainLength", "EchoNumbers", "FlipAngle",
    "NumberOfAverages", "PixelBandwidth", "PixelSpacing", "ImagerPixelSpacing", "SliceThickness",
    "SpacingBetweenSlices", "GantryDetectorTilt", "Rows", "Columns", "NumberOfFrames", "ImageType",
    "InPlanePhaseEncodingDirection", "KVP", "XRayTubeCurrent", "Exposure", "ConvolutionKernel",
    "DiffusionBValue", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleIntercept",
    "RescaleSlope", "RescaleType", "LossyImageCompression", "SOPClassUID", "TransferSyntaxUID",
    "spatial_resolution_mm", "instance_count", "image_count", "frame_count", "series_count",
    "study_count", "sequence_type", "is_encapsulated",
})  # fmt: skip


def allowed(
    catalog: Catalog, view: str, *, conditions: Mapping[str, Any] | None = None,
    columns: Iterable[str] = (), order: Iterable[str] = (), search: str | None = None,
    cursor: str | None = None,
) -> list[str]:  # fmt: skip
    """Return the columns that may be shown.

    Raises
    ------
    Refused
        The query uses another view or column, ``search`` or ``cursor``.
    """
    if view not in TABLES:
        raise Refused(f"the role deidentified may read {', '.join(sorted(TABLES))}")
    permitted = [column.name for column in catalog.model(view).columns if column.name in COLUMNS]
    used = [
        *map(attribute_of, conditions or {}),
        *columns,
        *(name.removeprefix("-") for name in order),
    ]
    if search is not None or cursor is not None or not set(used) <= set(permitted):
        raise Refused(f"the role deidentified may query {', '.join(permitted)}")
    return list(columns) or permitted
