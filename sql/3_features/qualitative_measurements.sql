-- One row per coded evaluation of a measurement group, with the names of IDC's table.
--
-- Of the groups of `measurement_groups`, what stands directly in them, but finding, finding site and
-- measurement method. Reports of which no element was read have one row without an evaluation.
--
-- grain:   instance_id, path
-- depends: measurement_groups, sr_content
-- column:  instance_id | BIGINT | key to `instances`
-- column:  path | VARCHAR | path of the item in `sr_content`; null if elements were not read
-- column:  series_key | VARCHAR | key to `series`
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018) of the report
-- column:  SeriesInstanceUID | VARCHAR | Series Instance UID (0020,000E) of the report
-- column:  SeriesDescription | VARCHAR | Series Description (0008,103E) of the report
-- column:  measurementGroup_number | BIGINT | as in `measurement_groups`
-- column:  contentSequence | VARCHAR | path of the group; key to `measurement_groups`
-- column:  segmentationInstanceUID | VARCHAR | segmentation that the group is of
-- column:  segmentationSeriesUID | VARCHAR | series of the segmentation
-- column:  segmentationSegmentNumber | BIGINT | its first segment number
-- column:  sourceSegmentedSeriesUID | VARCHAR | Source series for segmentation (121232, DCM)
-- column:  trackingIdentifier | VARCHAR | Tracking Identifier (112039, DCM) of the group
-- column:  trackingUniqueIdentifier | VARCHAR | Tracking Unique Identifier (112040, DCM) of the group
-- column:  Quantity | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | what was evaluated
-- column:  Value | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | the answer, the first of several
-- column:  answers | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR)[] | all items of the answer, in order
-- column:  finding | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | first finding of the group
-- column:  findingSite | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | first finding site of the group
-- column:  lateralityModifier | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | laterality of the first finding site of the group
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view qualitative_measurements as
with items as (
    select
        instance_id,
        path,
        parent_path,
        concept,
        concept_code,
        concept_codes
    from sr_content
    where
        ValueType = 'CODE'
        and not is_code(concept, '121071', 'DCM')
        and not is_finding_site(concept)
        and not is_measurement_method(concept)
)

select
    groups.instance_id,
    items.path,
    groups.series_key,
    groups.PatientID,
    groups.SOPInstanceUID,
    groups.SeriesInstanceUID,
    groups.SeriesDescription,
    groups.measurementGroup_number,
    groups.contentSequence,
    groups.segmentationInstanceUID,
    groups.segmentationSeriesUID,
    groups.segmentationSegmentNumber,
    groups.sourceSegmentedSeriesUID,
    groups.trackingIdentifier,
    groups.trackingUniqueIdentifier,
    items.concept as Quantity,
    items.concept_code as Value,
    items.concept_codes as answers,
    groups.finding,
    groups.findingSite,
    groups.lateralityModifier,
    groups.not_read
from measurement_groups as groups
left join items on groups.instance_id = items.instance_id and groups.contentSequence = items.parent_path
where items.path is not null or groups.not_read is not null;
