-- One row per number (NUM) of a measurement group, with the names of IDC's table.
--
-- Of the groups of `measurement_groups`, what stands directly in them. A number that is missing or cannot be
-- read has a row with the reason. Reports of which no element was read have one row without a number.
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
-- column:  Quantity | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | what was measured
-- column:  derivationModifier | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | Derivation (121401, DCM), such as Mean; null if none is stated
-- column:  Value | DOUBLE | the number, in Units; Floating Point Value (0040,A161) where it is stated, which has all digits
-- column:  Units | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | unit of the number, of UCUM
-- column:  finding | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | first finding of the group
-- column:  findingSite | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | first finding site of the group
-- column:  lateralityModifier | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | laterality of the first finding site of the group
-- column:  own_finding_site | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | finding site of the number itself, which overrides that of the group
-- column:  value_why_not | VARCHAR | why Value is null; null if it is not
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view quantitative_measurements as
with content as (
    select
        instance_id,
        path,
        parent_path,
        position,
        ValueType,
        concept,
        concept_code,
        if(
            NumericValue is not null and warning is not null, null, coalesce(FloatingPointValue, NumericValue)
        ) as number,
        unit,
        number_qualifier,
        warning
    from sr_content
),

items as (
    select
        *
    from content
    where ValueType = 'NUM'
),

modifiers as (
    select
        content.instance_id,
        content.parent_path,
        arg_min(content.concept_code, content.position) filter (
            where is_code(content.concept, '121401', 'DCM')
        ) as derivation,
        arg_min(content.concept_code, content.position) filter (
            where is_finding_site(content.concept)
        ) as site
    from content
    semi join items on content.instance_id = items.instance_id and content.parent_path = items.path
    where content.ValueType = 'CODE'
    group by content.instance_id, content.parent_path
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
    modifiers.derivation as derivationModifier,
    items.number as Value,
    items.unit as Units,
    groups.finding,
    groups.findingSite,
    groups.lateralityModifier,
    modifiers.site as own_finding_site,
    if(
        items.path is not null and items.number is null,
        coalesce(items.number_qualifier.CodeMeaning, items.warning), null
    ) as value_why_not,
    groups.not_read
from measurement_groups as groups
left join items on groups.instance_id = items.instance_id and groups.contentSequence = items.parent_path
left join modifiers on items.instance_id = modifiers.instance_id and items.path = modifiers.parent_path
where items.path is not null or groups.not_read is not null;
