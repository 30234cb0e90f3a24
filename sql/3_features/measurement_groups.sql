-- One row per measurement group of a report (TID 1500), with the names of IDC's table.
--
-- Groups are containers whose concept is code 125007 of DCM, whatever its words, in reports whose template is
-- 1500 of DCMR; `sr_documents.measurements_why_not` says why another report has none. A group needs neither
-- finding, site nor tracking identifier to have a row. Where a group has several findings or sites, the
-- column of IDC's name is the first, and a list has all. Reports of which no element was read have one row
-- without a group.
--
-- grain:   instance_id, contentSequence
-- depends: sr_content, instances, normal_elements
-- column:  instance_id | BIGINT | key to `instances`
-- column:  series_key | VARCHAR | key to `series`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018) of the report
-- column:  SeriesInstanceUID | VARCHAR | Series Instance UID (0020,000E) of the report
-- column:  measurementGroup_number | BIGINT | index in the container of the group, from 0, as in IDC
-- column:  trackingUniqueIdentifier | VARCHAR | Tracking Unique Identifier (112040, DCM)
-- column:  trackingIdentifier | VARCHAR | Tracking Identifier (112039, DCM)
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  SeriesDescription | VARCHAR | Series Description (0008,103E) of the report
-- column:  finding | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | first Finding (121071, DCM)
-- column:  findingSite | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | first Finding Site (363698007, SCT; G-C0E3, SRT)
-- column:  sourceSegmentedSeriesUID | VARCHAR | Source series for segmentation (121232, DCM)
-- column:  segmentationInstanceUID | VARCHAR | segmentation that the group is of: the first reference to a segmentation object or to a segment
-- column:  segmentationSegmentNumber | BIGINT | its first segment number
-- column:  contentSequence | VARCHAR | path of the group in `sr_content`, where IDC has its nested content; null if elements were not read
-- column:  segmentationSeriesUID | VARCHAR | series of the segmentation, as stated by the evidence of the report, otherwise that of the stored instance
-- column:  lateralityModifier | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | Laterality (272741003, SCT; G-C171, SRT) of the first finding site
-- column:  findings | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR)[] | all findings, in order; null if there is none
-- column:  finding_sites | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR)[] | all finding sites, in order; null if there is none
-- column:  segment_numbers | BIGINT[] | all segment numbers of the first reference; null if there is none
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view measurement_groups as
with content as (
    select
        instance_id,
        path,
        parent_path,
        position,
        ValueType,
        concept,
        concept_code,
        concept_codes,
        value,
        instance_references,
        TemplateIdentifier,
        MappingResource,
        not_read
    from sr_content
),

reports as (
    select instance_id
    from content
    where path = '' and TemplateIdentifier = '1500' and coalesce(MappingResource, 'DCMR') = 'DCMR'
),

groups as (
    select
        content.instance_id,
        content.path
    from content
    semi join reports on content.instance_id = reports.instance_id
    where content.ValueType = 'CONTAINER' and is_code(content.concept, '125007', 'DCM')
),

members as (
    select
        content.*,
        groups.path as group_path,
        list_filter(
            content.instance_references, lambda one: one['ReferencedSegmentNumber'] is not null
            or one['ReferencedSOPClassUID'] in ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')
        )[1] as segment
    from content
    join groups on content.instance_id = groups.instance_id and content.parent_path = groups.path
),

gathered as (
    select
        instance_id,
        group_path,
        arg_min(value, position) filter (
            where ValueType = 'UIDREF' and is_code(concept, '112040', 'DCM')
        ) as trackingUniqueIdentifier,
        arg_min(value, position) filter (
            where ValueType = 'TEXT' and is_code(concept, '112039', 'DCM')
        ) as trackingIdentifier,
        flatten(list(concept_codes order by position) filter (
            where ValueType = 'CODE' and is_code(concept, '121071', 'DCM') and concept_codes is not null
        )) as findings,
        flatten(list(concept_codes order by position) filter (
            where ValueType = 'CODE' and is_finding_site(concept) and concept_codes is not null
        )) as finding_sites,
        arg_min(path, position) filter (where ValueType = 'CODE' and is_finding_site(concept)) as site_path,
        arg_min(value, position) filter (
            where ValueType = 'UIDREF' and is_code(concept, '121232', 'DCM')
        ) as sourceSegmentedSeriesUID,
        arg_min(segment, position) filter (where ValueType = 'IMAGE' and segment is not null) as segment
    from members
    group by instance_id, group_path
),

modifiers as (
    select
        content.instance_id,
        content.parent_path,
        arg_min(content.concept_code, content.position) as laterality
    from content
    join gathered on content.instance_id = gathered.instance_id and content.parent_path = gathered.site_path
    where is_laterality(content.concept)
    group by content.instance_id, content.parent_path
),

-- Place of a series in the evidence → its UID, and the instances below it.
evidence as (
    select
        instance_id,
        regexp_extract(path, '^\w+EvidenceSequence\[\d+\]\.ReferencedSeriesSequence\[\d+\]') as place,
        text,
        tag
    from normal_elements
    where
        tag in ('0020000E', '00081155')
        and "index" = 0
        and (
            path between 'CurrentRequestedProcedureEvidenceSequence[' and 'CurrentRequestedProcedureEvidenceSequence]'
            or path between 'PertinentOtherEvidenceSequence[' and 'PertinentOtherEvidenceSequence]'
        )
),

series_of_evidence as (
    select
        named.instance_id,
        named.text as instance_uid,
        min(placed.text) as series_uid
    from evidence as named
    join evidence as placed
        on named.instance_id = placed.instance_id and named.place = placed.place and placed.tag = '0020000E'
    where named.tag = '00081155'
    group by named.instance_id, named.text
),

stored as (
    select
        SOPInstanceUID,
        min(SeriesInstanceUID) as series_uid
    from instances
    where SOPInstanceUID in (select gathered.segment.ReferencedSOPInstanceUID from gathered)
    group by SOPInstanceUID
),

lacking as (
    select
        instance_id,
        not_read
    from content
    where not_read is not null
),

rows_of_groups as (
    select
        instance_id,
        path,
        null as not_read
    from groups
    union all
    select
        instance_id,
        null as path,
        not_read
    from lacking
)

select
    instances.instance_id,
    instances.series_key,
    instances.SOPInstanceUID,
    instances.SeriesInstanceUID,
    try_cast(regexp_extract(rows_of_groups.path, '\[(\d+)\]$', 1) as bigint) as measurementGroup_number,
    gathered.trackingUniqueIdentifier,
    gathered.trackingIdentifier,
    instances.PatientID,
    instances.SeriesDescription,
    gathered.findings[1] as finding,
    gathered.finding_sites[1] as findingSite,
    gathered.sourceSegmentedSeriesUID,
    gathered.segment.ReferencedSOPInstanceUID as segmentationInstanceUID,
    gathered.segment.ReferencedSegmentNumber[1] as segmentationSegmentNumber,
    rows_of_groups.path as contentSequence,
    coalesce(series_of_evidence.series_uid, stored.series_uid) as segmentationSeriesUID,
    modifiers.laterality as lateralityModifier,
    gathered.findings,
    gathered.finding_sites,
    gathered.segment.ReferencedSegmentNumber as segment_numbers,
    rows_of_groups.not_read
from rows_of_groups
join instances on rows_of_groups.instance_id = instances.instance_id
left join gathered
    on rows_of_groups.instance_id = gathered.instance_id and rows_of_groups.path = gathered.group_path
left join modifiers
    on gathered.instance_id = modifiers.instance_id and gathered.site_path = modifiers.parent_path
left join series_of_evidence
    on
        gathered.instance_id = series_of_evidence.instance_id
        and gathered.segment.ReferencedSOPInstanceUID = series_of_evidence.instance_uid
left join stored on gathered.segment.ReferencedSOPInstanceUID = stored.SOPInstanceUID;
