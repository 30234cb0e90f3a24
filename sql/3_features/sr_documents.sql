-- One row per structured report or key object selection: type, title and subject.
--
-- All instances of the SOP classes of structured reporting (1.2.840.10008.5.1.4.1.1.88.*). The
-- content itself is in `sr_content`, what was measured in `measurement_groups`.
--
-- grain:   instance_id
-- depends: instances, normal_elements, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  series_key | VARCHAR | key to `series`
-- column:  study_key | VARCHAR | key to `studies`
-- column:  patient_key | VARCHAR | key to `patients`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  SOPClassUID | VARCHAR | SOP Class UID (0008,0016)
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  Modality | VARCHAR | Modality (0008,0060)
-- column:  SeriesDescription | VARCHAR | Series Description (0008,103E)
-- column:  Manufacturer | VARCHAR | Manufacturer (0008,0070)
-- column:  ContentDate | DATE | Content Date (0008,0023)
-- column:  ContentTime | TIME | Content Time (0008,0033)
-- column:  document_title | VARCHAR | meaning of the concept name of the document
-- column:  document_title_code | VARCHAR | its scheme and value, such as DCM:126000
-- column:  template | VARCHAR | TemplateIdentifier (0040,DB00) of the root, such as 1500
-- column:  CompletionFlag | VARCHAR | Completion Flag (0040,A491): COMPLETE or PARTIAL
-- column:  VerificationFlag | VARCHAR | Verification Flag (0040,A493): VERIFIED or UNVERIFIED
-- column:  PreliminaryFlag | VARCHAR | Preliminary Flag (0040,A496): PRELIMINARY or FINAL
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
-- column:  content_item_count | BIGINT | content items below the document itself
-- column:  measurement_count | BIGINT | content items with a number (NUM)
-- column:  image_reference_count | BIGINT | content items that reference an image (IMAGE)
-- column:  referenced_series_uids | VARCHAR[] | SeriesInstanceUID of the evidence, each once, sorted
-- column:  measurement_group_count | BIGINT | containers with code 125007 of DCM, in any template
-- column:  measurements_why_not | VARCHAR | why the report has no rows in `measurement_groups`: no template or another one than TID 1500, or no group; null if it has
create or replace view sr_documents as
with documents as (
    select
        *
    from instances
    where starts_with(SOPClassUID, '1.2.840.10008.5.1.4.1.1.88.')
),

said as (
    select
        instance_id,
        any_value(text) filter (where tag = '00080104') as title,
        any_value(text) filter (where tag = '00080100') as title_value,
        any_value(text) filter (where tag = '00080102') as title_scheme,
        any_value(text) filter (where tag = '0040DB00') as template,
        any_value(text) filter (where tag = '00080105') as template_resource,
        any_value(text) filter (where tag = '0040A491') as CompletionFlag,
        any_value(text) filter (where tag = '0040A493') as VerificationFlag,
        any_value(text) filter (where tag = '0040A496') as PreliminaryFlag
    from normal_elements
    where
        "index" = 0
        and (
            path = '' and tag in ('0040A491', '0040A493', '0040A496')
            or path = 'ConceptNameCodeSequence[0]' and tag in ('00080100', '00080102', '00080104')
            or path = 'ContentTemplateSequence[0]' and tag in ('0040DB00', '00080105')
        )
    group by instance_id
),

contents as (
    select
        instance_id,
        count(*) as content_item_count,
        count(*) filter (where text = 'NUM') as measurement_count,
        count(*) filter (where text = 'IMAGE') as image_reference_count
    from normal_elements
    where
        tag = '0040A040'
        and "index" = 0
        and regexp_full_match(path, '(ContentSequence\[\d+\]\.)*ContentSequence\[\d+\]')
    group by instance_id
),

grouped as (
    select
        codes.instance_id,
        count(distinct codes.path) as measurement_group_count
    from normal_elements as codes
    join normal_elements as schemes
        on
            codes.instance_id = schemes.instance_id and codes.path = schemes.path
            and schemes.tag = '00080102' and schemes."index" = 0 and schemes.text = 'DCM'
            and schemes.path between 'ContentSequence[' and 'ContentSequence]'
    where
        codes.tag = '00080100' and codes."index" = 0 and codes.text = '125007'
        and codes.path between 'ContentSequence[' and 'ContentSequence]'
        and regexp_full_match(codes.path, '(ContentSequence\[\d+\]\.)+ConceptNameCodeSequence\[0\]')
    group by codes.instance_id
),

evidence as (
    select
        instance_id,
        list_sort(list(distinct text)) as referenced_series_uids
    from normal_elements
    where
        tag = '0020000E'
        and vm > 0
        and (
            starts_with(path, 'CurrentRequestedProcedureEvidenceSequence[')
            or starts_with(path, 'PertinentOtherEvidenceSequence[')
        )
    group by instance_id
)

select
    documents.instance_id,
    documents.series_key,
    documents.study_key,
    documents.patient_key,
    documents.SOPInstanceUID,
    documents.SOPClassUID,
    documents.PatientID,
    documents.Modality,
    documents.SeriesDescription,
    documents.Manufacturer,
    documents.ContentDate,
    documents.ContentTime,
    said.title as document_title,
    said.title_scheme || ':' || said.title_value as document_title_code,
    said.template,
    said.CompletionFlag,
    said.VerificationFlag,
    said.PreliminaryFlag,
    unread.not_read,
    if(unread.not_read is null, coalesce(contents.content_item_count, 0), null) as content_item_count,
    if(unread.not_read is null, coalesce(contents.measurement_count, 0), null) as measurement_count,
    if(unread.not_read is null, coalesce(contents.image_reference_count, 0), null) as image_reference_count,
    evidence.referenced_series_uids,
    if(
        unread.not_read is null, coalesce(grouped.measurement_group_count, 0), null
    ) as measurement_group_count,
    case
        when unread.not_read is not null then null
        when said.template is null then 'the document names no template'
        when said.template <> '1500' or coalesce(said.template_resource, 'DCMR') <> 'DCMR'
            then 'its template is not TID 1500 of DCMR'
        when grouped.instance_id is null then 'it has no measurement group (125007, DCM)'
    end as measurements_why_not
from documents
left join said on documents.instance_id = said.instance_id
left join contents on documents.instance_id = contents.instance_id
left join grouped on documents.instance_id = grouped.instance_id
left join evidence on documents.instance_id = evidence.instance_id
left join unread
    on documents.instance_id = unread.instance_id and unread.is_without_elements;
