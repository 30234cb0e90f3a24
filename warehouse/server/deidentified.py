"""Columns that a token of the role ``deidentified`` may see.

In: a view and what is asked of it. Out: the columns to show, or a refusal. It is a list of what may
be seen, not of what may not. Keys, UIDs, dates, times, free text, and names of people and places
are not on it, nor may a condition, an order or a cursor ask about them: answers would tell.
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
    catalog: Catalog, view: str, *, asked: Mapping[str, Any] | None = None,
    columns: Iterable[str] = (), order: Iterable[str] = (), search: str | None = None,
    cursor: str | None = None,
) -> list[str]:  # fmt: skip
    """Return the columns that may be shown.

    Raises
    ------
    Refused
        Something else is asked for, or asked about.
    """
    if view not in TABLES:
        raise Refused(f"the role deidentified may see {', '.join(sorted(TABLES))}")
    known = [column.name for column in catalog.model(view).columns if column.name in COLUMNS]
    named = [*map(attribute_of, asked or {}), *columns, *(name.removeprefix("-") for name in order)]
    if search is not None or cursor is not None or not set(named) <= set(known):
        raise Refused(f"the role deidentified may ask about {', '.join(known)}")
    return list(columns) or known
