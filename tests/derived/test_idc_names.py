"""Columns of derived objects have literally the names of IDC: queries for its tables run here.

The names are those of ImagingDataCommons/etl_flow, derived_data_views/schema, and of idc-index-data's
rtstruct_index and ann_group_index, as of 2026-07. Of the two indices, which have lists per series, only
the names of what a row of ours is.
"""

from __future__ import annotations

import pytest

from warehouse.sqlfiles import by_name

CODE = "STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR)"
OF_GROUPS = (
    "PatientID SOPInstanceUID SeriesInstanceUID SeriesDescription measurementGroup_number segmentationInstanceUID "
    "segmentationSegmentNumber sourceSegmentedSeriesUID trackingIdentifier trackingUniqueIdentifier finding* findingSite*"
)
IDC = {
    "segmentations": "PatientID SOPInstanceUID FrameOfReferenceUID AnatomicRegion* AnatomicRegionModifier* "
    "SegmentedPropertyCategory* SegmentedPropertyType* SegmentAlgorithmType SegmentAlgorithmName SegmentNumber "
    "TrackingUID TrackingID SeriesInstanceUID StudyInstanceUID segmented_SeriesInstanceUID",
    "measurement_groups": f"{OF_GROUPS} contentSequence",
    "quantitative_measurements": f"{OF_GROUPS} segmentationSeriesUID Quantity* derivationModifier* Value Units* "
    "lateralityModifier*",
    "qualitative_measurements": f"{OF_GROUPS} segmentationSeriesUID Quantity* Value*",
    "rt_rois": "SeriesInstanceUID ROINumber ROIName ROIGenerationAlgorithm RTROIInterpretedType "
    "referenced_SeriesInstanceUID",
    "annotation_groups": "SeriesInstanceUID AnnotationGroupNumber AnnotationGroupUID AnnotationGroupLabel "
    "AnnotationGroupGenerationType NumberOfAnnotations GraphicType AlgorithmName",
}
"""View → names; those with a star are codes."""
TYPES = {
    "SegmentNumber": "BIGINT",
    "measurementGroup_number": "BIGINT",
    "segmentationSegmentNumber": "BIGINT",
}


@pytest.mark.acceptance("R18")
@pytest.mark.parametrize("name", IDC)
def test_columns_have_the_names_of_idc(name: str) -> None:
    types = {column.name: column.type for column in by_name(name).columns}
    wanted = {one.rstrip("*"): one.endswith("*") for one in IDC[name].split()}
    assert wanted.keys() <= types.keys()
    assert {column for column in wanted if types[column] == CODE} == {
        c for c, is_code in wanted.items() if is_code
    }
    for column, type_ in TYPES.items():
        if column in wanted:
            assert types[column] == type_
