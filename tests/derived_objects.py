"""Builds derived objects from keyword arguments: structured reports, segmentations, RT objects.

The smallest that each view tells apart, with chosen numbers. What real writers make comes from
highdicom and the packages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tests.dicom_files import dataset, image, write

ENHANCED_SR = "1.2.840.10008.5.1.4.1.1.88.22"
DOSE_SR = "1.2.840.10008.5.1.4.1.1.88.67"


def code(value: str, scheme: str = "DCM", meaning: str = "words that nobody reads") -> Dataset:
    return dataset(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def item(
    kind: str, name: str | tuple[str, str], *children: Dataset, relation: str = "CONTAINS", **more: Any
) -> Dataset:  # fmt: skip
    """Return a content item; its name is a code of DCM, or value and scheme."""
    value, scheme = (name, "DCM") if isinstance(name, str) else name
    made = dataset(
        RelationshipType=relation, ValueType=kind, ConceptNameCodeSequence=[code(value, scheme)], **more
    )  # fmt: skip
    if children:
        made.ContentSequence = list(children)
    return made


def number(name: str | tuple[str, str], value: Any, unit: str, *children: Dataset) -> Dataset:
    measured = dataset(NumericValue=value, MeasurementUnitsCodeSequence=[code(unit, "UCUM")])
    return item("NUM", name, *children, MeasuredValueSequence=[measured])


def coded(
    name: str | tuple[str, str], *answers: Dataset, relation: str = "CONTAINS", children: Any = ()
) -> Dataset:
    return item("CODE", name, *children, relation=relation, ConceptCodeSequence=list(answers))


def report(
    uid: str, *content: Dataset, template: str | None = "1500", sop_class: str = ENHANCED_SR,
    title: str = "126000", **more: Any,
) -> Dataset:  # fmt: skip
    """Return a structured report; without a template if that is None."""
    named = [dataset(MappingResource="DCMR", TemplateIdentifier=template)] if template else None
    return image(
        uid, SOPClassUID=sop_class, Modality="SR", SeriesInstanceUID=f"{uid}.0", PixelData=None,
        Rows=None, Columns=None, ValueType="CONTAINER", ConceptNameCodeSequence=[code(title)],
        ContentTemplateSequence=named, ContentSequence=list(content), **more,
    )  # fmt: skip


def measured(uid: str = "1.88.1") -> Dataset:
    """Return a report with two groups: the second has two findings, a site with a side, and a segment."""
    segment = dataset(
        ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.66.4", ReferencedSOPInstanceUID="1.66.1",
        ReferencedSegmentNumber=[3, 4],
    )  # fmt: skip
    series = dataset(
        SeriesInstanceUID="1.66.0", ReferencedSOPSequence=[dataset(ReferencedSOPInstanceUID="1.66.1")]
    )  # fmt: skip
    return report(
        uid,
        item(
            "CONTAINER", "126010",
            item("CONTAINER", "125007", number(("81827009", "SCT"), "12.5", "mm")),
            item("TEXT", "121106", TextValue="between the groups"),
            item(
                "CONTAINER", "125007",
                item("TEXT", "112039", relation="HAS OBS CONTEXT", TextValue="lesion 1"),
                item("UIDREF", "112040", relation="HAS OBS CONTEXT", UID="1.5.1"),
                coded("121071", code("4147007", "SCT", "Mass"), code("99", "L", "Also")),
                coded("121071", code("52988006", "SCT", "Lesion")),
                coded(
                    ("G-C0E3", "SRT"), code("T-28000", "SRT", "Lung"), relation="HAS CONCEPT MOD",
                    children=[coded(
                        ("272741003", "SCT"), code("7771000", "SCT", "Left"), relation="HAS CONCEPT MOD"
                    )],
                ),
                item("IMAGE", "121191", ReferencedSOPSequence=[segment]),
                item("UIDREF", "121232", UID="1.7.1"),
                number(
                    ("118565006", "SCT"), "200", "mm3",
                    coded("121401", code("373098007", "SCT", "Mean"), relation="HAS CONCEPT MOD"),
                    coded(
                        ("363698007", "SCT"), code("44029006", "SCT", "Left lung"),
                        relation="HAS CONCEPT MOD",
                    ),
                ),
                item("NUM", ("118565006", "SCT"), NumericValueQualifierCodeSequence=[
                    code("114006", "DCM", "Measurement failure")
                ]),
                coded("111037", code("1", "L", "a"), code("2", "L", "b")),
                coded(("370129005", "SCT"), code("3", "L"), relation="HAS CONCEPT MOD"),
            ),
        ),
        CurrentRequestedProcedureEvidenceSequence=[dataset(ReferencedSeriesSequence=[series])],
    )  # fmt: skip


def dose_report(uid: str = "1.88.2") -> Dataset:
    """Return a report of one CT acquisition and one X-ray event, which states its DAP in other units."""
    return report(
        uid,
        item(
            "CONTAINER", "113819",
            item("UIDREF", "113769", UID="1.5.7"),
            item("TEXT", "125203", TextValue="Head"),
            coded("123014", code("69536005", "SCT", "Head")),
            coded("113820", code("116152004", "SCT", "Spiral")),
            item(
                "CONTAINER", "113829",
                number("113830", "53.1", "mGy"), number("113838", "0.9", "Gy.cm"),
            ),
            item("CONTAINER", "113822", item(
                "CONTAINER", "113831", number("113733", "120", "kV"), number("113734", "250", "mA"),
            )),
        ),
        item(
            "CONTAINER", "113706", item("UIDREF", "113769", UID="1.5.8"),
            number("122130", "250", "uGy.m2"), number("113738", "1.5", "rad"),
        ),
        template="10011", sop_class=DOSE_SR, title="113701",
    )  # fmt: skip


# -- segmentations --------------------------------------------------------------------------------

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP = "1.2.840.10008.5.1.4.1.1.66.7"


def segment(number: int, meaning: str = "Liver", **more: Any) -> Dataset:
    return dataset(
        SegmentNumber=number, SegmentLabel=f"label {number}", SegmentAlgorithmType="AUTOMATIC",
        SegmentAlgorithmName="net", TrackingID=f"id {number}", TrackingUID=f"1.6.{number}",
        SegmentedPropertyCategoryCodeSequence=[code("91723000", "SCT", "Anatomical Structure")],
        SegmentedPropertyTypeCodeSequence=[code(str(number), "SCT", meaning)], **more,
    )  # fmt: skip


def segment_frame(
    number: int | None, z: float, source: str | None = None, frame: int | None = None
) -> Dataset:
    """Return the functional groups of a frame: its segment, its position, its source image."""
    group = dataset(PlanePositionSequence=[dataset(ImagePositionPatient=[0, 0, z])])
    if number is not None:
        group.SegmentIdentificationSequence = [dataset(ReferencedSegmentNumber=number)]
    if source:
        image_ = dataset(ReferencedSOPInstanceUID=source)
        if frame is not None:
            image_.ReferencedFrameNumber = frame
        group.DerivationImageSequence = [dataset(SourceImageSequence=[image_])]
    return group


def segmentation(
    uid: str, masks: np.ndarray, frames: list[Dataset], segments: list[Dataset],
    kind: str = "BINARY", **more: Any,
) -> Dataset:  # fmt: skip
    """Return a segmentation of frames (frame, row, column), 1 mm apart in the plane, slices 2 mm thick."""
    count, rows, columns = masks.shape
    bits = 1 if kind == "BINARY" else 8
    pixels = (
        np.packbits(masks.ravel(), bitorder="little").tobytes() if bits == 1
        else masks.astype("u1").tobytes()
    )  # fmt: skip
    shared = dataset(
        PlaneOrientationSequence=[dataset(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        PixelMeasuresSequence=[
            dataset(PixelSpacing=[1, 1], SliceThickness=2, SpacingBetweenSlices=2)
        ],
    )
    usual: dict[str, Any] = dict(  # noqa: C408 - read like the call that it is for
        SOPClassUID=LABELMAP if kind == "LABELMAP" else SEG, Modality="SEG",
        SeriesInstanceUID=f"{uid}.0", FrameOfReferenceUID="1.3", Rows=rows, Columns=columns,
        BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1, NumberOfFrames=count,
        SegmentationType=kind, SegmentSequence=segments, SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames, PixelData=pixels + bytes(len(pixels) % 2),
    )  # fmt: skip
    if kind == "FRACTIONAL":
        usual |= {"SegmentationFractionalType": "PROBABILITY", "MaximumFractionalValue": 255}
    return image(uid, **(usual | more))


# -- radiotherapy ---------------------------------------------------------------------------------

RT_STRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"

Contour = tuple[str, list[Any]]
"""Geometric type, and coordinates or points."""


def box(x0: float, x1: float, y0: float, y1: float, z: float) -> list[list[float]]:
    return [[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]]


def closed(*points: list[list[float]]) -> list[Contour]:
    return [("CLOSED_PLANAR", one) for one in points]


def structure_set(
    uid: str, rois: dict[str, list[Contour] | None], *, series_uid: str | None = "1.2.1.1",
    space: str = "1.3", **more: Any,
) -> Dataset:  # fmt: skip
    """Return a structure set; a region of None has no item in the ROI Contour Sequence."""
    regions, drawn, observed = [], [], []
    for number, (name, contours) in enumerate(rois.items(), 1):
        regions.append(dataset(
            ROINumber=number, ROIName=name, ROIGenerationAlgorithm="MANUAL",
            ReferencedFrameOfReferenceUID=space,
        ))  # fmt: skip
        observed.append(dataset(
            ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="ORGAN"
        ))  # fmt: skip
        if contours is None:
            continue
        items = []
        for kind, points in contours:
            flat = np.ravel(np.array(points, dtype=object)).tolist()
            items.append(dataset(
                ContourGeometricType=kind, NumberOfContourPoints=len(flat) // 3,
                ContourData=[str(one) for one in flat],
            ))  # fmt: skip
        drawn.append(dataset(ReferencedROINumber=number, ContourSequence=items))
    images = [dataset(RTReferencedStudySequence=[dataset(RTReferencedSeriesSequence=[
        dataset(SeriesInstanceUID=series_uid)
    ])])] if series_uid else None  # fmt: skip
    return image(
        uid, SOPClassUID=RT_STRUCT, Modality="RTSTRUCT", SeriesInstanceUID=f"{uid}.0", PixelData=None,
        Rows=None, Columns=None, StructureSetROISequence=regions, ROIContourSequence=drawn,
        RTROIObservationsSequence=observed, ReferencedFrameOfReferenceSequence=images, **more,
    )  # fmt: skip


def dose(
    uid: str, stored: np.ndarray, *, position: list[float], spacing: float, step: float, **more: Any
) -> Dataset:
    """Return an RT dose of stored values (plane, row, column), to be multiplied by 0.001 Gy."""
    planes, rows, columns = stored.shape
    usual = {
        "DoseUnits": "GY", "DoseType": "PHYSICAL", "DoseSummationType": "PLAN",
        "DoseGridScaling": "0.001", "FrameOfReferenceUID": "1.3", "PixelSpacing": [spacing, spacing],
        "ImagePositionPatient": position, "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "GridFrameOffsetVector": [step * n for n in range(planes)],
        "FrameIncrementPointer": 0x3004000C,
    }  # fmt: skip
    made = image(
        uid, SOPClassUID=RT_DOSE, Modality="RTDOSE", SeriesInstanceUID=f"{uid}.0", Rows=rows, Columns=columns,
        NumberOfFrames=planes, BitsAllocated=32, BitsStored=32, HighBit=31,
        PixelData=stored.astype("<u4").tobytes(), **(usual | more),
    )  # fmt: skip
    made["PixelData"].VR = "OW"
    return made


def annotations(uid: str = "1.91.1") -> Dataset:
    """Return bulk annotations of a slide: two groups, one of three points."""
    group = dataset(
        AnnotationGroupNumber=1, AnnotationGroupUID="1.5.1", AnnotationGroupLabel="nuclei",
        AnnotationGroupGenerationType="AUTOMATIC", NumberOfAnnotations=3, GraphicType="POINT",
        PointCoordinatesData=np.arange(6, dtype="<f4").tobytes(),
        AnnotationPropertyCategoryCodeSequence=[code("91723000", "SCT", "Anatomical Structure")],
        AnnotationPropertyTypeCodeSequence=[code("84640000", "SCT", "Nucleus")],
        AnnotationGroupAlgorithmIdentificationSequence=[dataset(AlgorithmName="net")],
    )  # fmt: skip
    return image(
        uid, SOPClassUID="1.2.840.10008.5.1.4.1.1.91.1", Modality="ANN", SeriesInstanceUID=f"{uid}.0",
        PixelData=None, AnnotationCoordinateType="2D", AnnotationGroupSequence=[
            group, dataset(AnnotationGroupNumber=2, GraphicType="POLYGON", NumberOfAnnotations=0)
        ], ReferencedImageSequence=[dataset(ReferencedSOPInstanceUID="1.77")],
    )  # fmt: skip


def slide(uid: str = "1.77.1", frames: int = 3 * 2 * 2 * 3, **more: Any) -> Dataset:
    """Return 3 x 2 tiles, the last ones cut off, in two focal planes and three optical paths."""
    measures = dataset(
        PixelSpacing=[0.002, 0.003], SliceThickness=0.001, SpacingBetweenSlices=0.005
    )
    usual: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6", "Modality": "SM", "SeriesInstanceUID": "1.2.77", "FrameOfReferenceUID": "1.3",
        "DimensionOrganizationType": "TILED_FULL", "TotalPixelMatrixColumns": 11, "TotalPixelMatrixRows": 5,
        "Rows": 3, "Columns": 4, "NumberOfFrames": frames, "PixelData": bytes(12 * frames),
        "TotalPixelMatrixFocalPlanes": 2, "NumberOfOpticalPaths": 3,
        "ImageOrientationSlide": [0, -1, 0, -1, 0, 0],
        "TotalPixelMatrixOriginSequence": [
            dataset(XOffsetInSlideCoordinateSystem=20.5, YOffsetInSlideCoordinateSystem=40.25)
        ],
        "OpticalPathSequence": [dataset(OpticalPathIdentifier=one) for one in "ABC"],
        "SharedFunctionalGroupsSequence": [dataset(PixelMeasuresSequence=[measures])],
    }  # fmt: skip
    return image(uid, **(usual | more))


def small_archive(folder: Path) -> None:
    """Write two slices, a segmentation, a structure set and a dose of 2.5 Gy: what examples ask."""
    for n in range(2):
        write(folder / f"ct{n}", image(
            f"1.1.{n}", Rows=4, Columns=4, PixelData=bytes(16), FrameOfReferenceUID="1.3",
            ImagePositionPatient=[0, 0, 2 * n], PixelSpacing=[1, 1], InstanceNumber=n + 1,
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
        ))  # fmt: skip
    mask = np.zeros((2, 4, 4), "u1")
    mask[0, 1, 1:3] = mask[1, 2, 2] = 1
    frames = [segment_frame(1, 2 * n, f"1.1.{n}") for n in range(2)]
    write(folder / "seg", segmentation("1.66.1", mask, frames, [segment(1)]))
    contours = closed(*(box(0.5, 2.5, 0.5, 2.5, z) for z in (0, 2)))
    write(folder / "rt", structure_set("1.7.1", {"box": contours}))
    stored = np.full((2, 3, 3), 2500)
    write(folder / "dose", dose("1.8.1", stored, position=[-1, -1, 0], spacing=3, step=2))
