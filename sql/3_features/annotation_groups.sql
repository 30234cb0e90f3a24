-- One row per group of a microscopy bulk simple annotations object (ANN), with IDC's names.
--
-- Codes are of the first item of their sequence. Points themselves are binary values: `elements` says their
-- digests, and `wh.blob` opens them. An object of which no element was read has one row without a group.
--
-- grain:   instance_id, item
-- depends: instances, normal_elements, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  item | BIGINT | index in the Annotation Group Sequence, from 0; null if elements were not read
-- column:  series_key | VARCHAR | key to `series`
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  SeriesInstanceUID | VARCHAR | Series Instance UID (0020,000E)
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  AnnotationCoordinateType | VARCHAR | Annotation Coordinate Type (006A,0001): 2D, pixels of the image, or 3D, mm on the slide
-- column:  AnnotationGroupNumber | BIGINT | Annotation Group Number (0040,A180)
-- column:  AnnotationGroupUID | VARCHAR | Annotation Group UID (006A,0003)
-- column:  AnnotationGroupLabel | VARCHAR | Annotation Group Label (006A,0005)
-- column:  AnnotationGroupGenerationType | VARCHAR | Annotation Group Generation Type (006A,0007): AUTOMATIC, SEMIAUTOMATIC or MANUAL
-- column:  NumberOfAnnotations | BIGINT | Number of Annotations (006A,000C)
-- column:  GraphicType | VARCHAR | Graphic Type (0070,0023): POINT, POLYLINE, POLYGON, ELLIPSE or RECTANGLE
-- column:  annotation_property_category | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | Annotation Property Category Code Sequence (006A,0009)
-- column:  annotation_property_type | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | Annotation Property Type Code Sequence (006A,000A)
-- column:  AlgorithmName | VARCHAR | Algorithm Name (0066,0036) of the Annotation Group Algorithm Identification Sequence
-- column:  points_sha256 | VARCHAR | digest of the coordinates; key to `blobs`
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view annotation_groups as
with objects as (
    select
        *
    from instances
    where Modality = 'ANN' or SOPClassUID = '1.2.840.10008.5.1.4.1.1.91.1'
),

kinds as (
    select
        instance_id,
        any_value(text) as AnnotationCoordinateType
    from normal_elements
    where tag = '006A0001' and path = '' and "index" = 0
    group by instance_id
),

said as (
    select
        instance_id,
        try_cast(regexp_extract(path, '^AnnotationGroupSequence\[(\d+)\]', 1) as bigint) as item,
        regexp_replace(path, '^AnnotationGroupSequence\[\d+\]\.?', '') as inner_path,
        tag,
        text,
        "integer",
        sha256
    from normal_elements
    where
        tag in (
            '00080100', '00080102', '00080104', '0040A180', '00660016', '00660022', '00660036', '006A0003',
            '006A0005', '006A0007', '006A000C', '00700023'
        )
        and "index" = 0
        and path between 'AnnotationGroupSequence[' and 'AnnotationGroupSequence]'
),

grouped as (
    select
        instance_id,
        item,
        any_value("integer") filter (where tag = '0040A180' and inner_path = '') as AnnotationGroupNumber,
        any_value(text) filter (where tag = '006A0003' and inner_path = '') as AnnotationGroupUID,
        any_value(text) filter (where tag = '006A0005' and inner_path = '') as AnnotationGroupLabel,
        any_value(text) filter (where tag = '006A0007' and inner_path = '') as AnnotationGroupGenerationType,
        any_value("integer") filter (where tag = '006A000C' and inner_path = '') as NumberOfAnnotations,
        any_value(text) filter (where tag = '00700023' and inner_path = '') as GraphicType,
        any_value(text) filter (
            where tag = '00660036' and inner_path = 'AnnotationGroupAlgorithmIdentificationSequence[0]'
        ) as AlgorithmName,
        any_value(sha256) filter (where tag in ('00660016', '00660022') and inner_path = '') as points_sha256,
        any_value(text) filter (where tag = '00080100' and inner_path = 'AnnotationPropertyCategoryCodeSequence[0]') as category_value,
        any_value(text) filter (where tag = '00080102' and inner_path = 'AnnotationPropertyCategoryCodeSequence[0]') as category_scheme,
        any_value(text) filter (where tag = '00080104' and inner_path = 'AnnotationPropertyCategoryCodeSequence[0]') as category_meaning,
        any_value(text) filter (where tag = '00080100' and inner_path = 'AnnotationPropertyTypeCodeSequence[0]') as type_value,
        any_value(text) filter (where tag = '00080102' and inner_path = 'AnnotationPropertyTypeCodeSequence[0]') as type_scheme,
        any_value(text) filter (where tag = '00080104' and inner_path = 'AnnotationPropertyTypeCodeSequence[0]') as type_meaning
    from said
    group by instance_id, item
)

select
    objects.instance_id,
    grouped.item,
    objects.series_key,
    objects.PatientID,
    objects.SeriesInstanceUID,
    objects.SOPInstanceUID,
    kinds.AnnotationCoordinateType,
    grouped.AnnotationGroupNumber,
    grouped.AnnotationGroupUID,
    grouped.AnnotationGroupLabel,
    grouped.AnnotationGroupGenerationType,
    grouped.NumberOfAnnotations,
    grouped.GraphicType,
    if(
        coalesce(grouped.category_value, grouped.category_scheme, grouped.category_meaning) is null, null, struct_pack(
            CodeValue := grouped.category_value, CodingSchemeDesignator := grouped.category_scheme,
            CodeMeaning := grouped.category_meaning
        )
    ) as annotation_property_category,
    if(
        coalesce(grouped.type_value, grouped.type_scheme, grouped.type_meaning) is null, null, struct_pack(
            CodeValue := grouped.type_value, CodingSchemeDesignator := grouped.type_scheme,
            CodeMeaning := grouped.type_meaning
        )
    ) as annotation_property_type,
    grouped.AlgorithmName,
    grouped.points_sha256,
    unread.not_read
from objects
left join unread on objects.instance_id = unread.instance_id and unread.is_without_elements
left join kinds on objects.instance_id = kinds.instance_id
left join grouped on objects.instance_id = grouped.instance_id
where grouped.item is not null or unread.not_read is not null;
