-- One row per segment of a segmentation: binary, fractional or label map, as IDC names it.
--
-- Codes are of the first item of their sequence under IDC's names; lists have all items. A segment whose
-- number another one has as well, or that has none, says so in `segment_why_not`. `segments` has the same in
-- words. A segmentation of which no element was read has one row without a segment.
--
-- grain:   instance_id, item
-- depends: normal_elements, instances, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  item | BIGINT | index in the Segment Sequence, from 0; null if elements were not read
-- column:  series_key | VARCHAR | key to `series`
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  StudyInstanceUID | VARCHAR | Study Instance UID (0020,000D)
-- column:  SeriesInstanceUID | VARCHAR | Series Instance UID (0020,000E)
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  FrameOfReferenceUID | VARCHAR | Frame of Reference UID (0020,0052)
-- column:  SegmentationType | VARCHAR | Segmentation Type (0062,0001): BINARY, FRACTIONAL or LABELMAP
-- column:  AnatomicRegion | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | first item of the Anatomic Region Sequence (0008,2218)
-- column:  AnatomicRegionModifier | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | first item of its Anatomic Region Modifier Sequence (0008,2220)
-- column:  SegmentedPropertyCategory | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | Segmented Property Category Code Sequence (0062,0003)
-- column:  SegmentedPropertyType | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | first item of the Segmented Property Type Code Sequence (0062,000F)
-- column:  SegmentAlgorithmType | VARCHAR | Segment Algorithm Type (0062,0008): AUTOMATIC, SEMIAUTOMATIC or MANUAL
-- column:  SegmentAlgorithmName | VARCHAR | Segment Algorithm Name (0062,0009)
-- column:  SegmentNumber | BIGINT | Segment Number (0062,0004)
-- column:  TrackingUID | VARCHAR | Tracking UID (0062,0021)
-- column:  TrackingID | VARCHAR | Tracking ID (0062,0020)
-- column:  segmented_SeriesInstanceUID | VARCHAR | series of the images: the first of the Referenced Series Sequence, otherwise that of the first source image in the warehouse
-- column:  SegmentLabel | VARCHAR | Segment Label (0062,0005)
-- column:  SegmentDescription | VARCHAR | Segment Description (0062,0006)
-- column:  anatomic_regions | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR)[] | all items of the Anatomic Region Sequence; null if there is none
-- column:  anatomic_region_modifiers | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR)[] | all items of the modifiers of the first region; null if there is none
-- column:  property_types | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR)[] | all items of the Segmented Property Type Code Sequence; null if there is none
-- column:  property_type_modifiers | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR)[] | all items of the Segmented Property Type Modifier Code Sequence (0062,0011) of the first type; null if there is none
-- column:  segment_why_not | VARCHAR | why frames cannot be assigned to this segment: it has no number, or that of another one; null if they can
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view segmentations as
with objects as (
    select
        *
    from instances
    where Modality = 'SEG' or SOPClassUID in ('1.2.840.10008.5.1.4.1.1.66.4', '1.2.840.10008.5.1.4.1.1.66.7')
),

said as (
    select
        instance_id,
        try_cast(regexp_extract(path, '^SegmentSequence\[(\d+)\]', 1) as bigint) as item,
        -- Sequences without their places: AnatomicRegionSequence.AnatomicRegionModifierSequence.
        regexp_replace(regexp_replace(path, '^SegmentSequence\[\d+\]\.?', ''), '\[\d+\]', '', 'g') as code_of,
        list_transform(regexp_extract_all(path, '\[(\d+)\]', 1), lambda n: try_cast(n as bigint))[2:] as place,
        tag,
        text,
        "integer"
    from normal_elements
    where
        tag in (
            '00080100', '00080102', '00080104', '00080119', '00080120', '00620004', '00620005', '00620006',
            '00620008', '00620009', '00620020', '00620021'
        )
        and "index" = 0
        and vm > 0
        and path between 'SegmentSequence[' and 'SegmentSequence]'
        and regexp_full_match(
            path,
            'SegmentSequence\[\d+\](\.(SegmentedPropertyCategoryCodeSequence|'
            || 'SegmentedPropertyTypeCodeSequence|AnatomicRegionSequence)\[\d+\]'
            || '(\.(AnatomicRegionModifierSequence|SegmentedPropertyTypeModifierCodeSequence)\[\d+\])?)?'
        )
),

numbered as (
    select
        instance_id,
        item,
        any_value("integer") filter (where tag = '00620004') as SegmentNumber,
        any_value(text) filter (where tag = '00620005') as SegmentLabel,
        any_value(text) filter (where tag = '00620006') as SegmentDescription,
        any_value(text) filter (where tag = '00620008') as SegmentAlgorithmType,
        any_value(text) filter (where tag = '00620009') as SegmentAlgorithmName,
        any_value(text) filter (where tag = '00620020') as TrackingID,
        any_value(text) filter (where tag = '00620021') as TrackingUID
    from said
    group by instance_id, item
),

each_code as (
    select
        instance_id,
        item,
        code_of,
        place,
        struct_pack(
            CodeValue := any_value(text) filter (where tag in ('00080100', '00080119', '00080120')),
            CodingSchemeDesignator := any_value(text) filter (where tag = '00080102'),
            CodeMeaning := any_value(text) filter (where tag = '00080104')
        ) as code
    from said
    where code_of <> ''
    group by instance_id, item, code_of, place
),

codes as (
    select
        instance_id,
        item,
        list(code order by place) filter (where code_of = 'AnatomicRegionSequence') as regions,
        list(code order by place) filter (
            where code_of = 'AnatomicRegionSequence.AnatomicRegionModifierSequence' and place[1] = 0
        ) as region_modifiers,
        list(code order by place) filter (where code_of = 'SegmentedPropertyCategoryCodeSequence') as categories,
        list(code order by place) filter (where code_of = 'SegmentedPropertyTypeCodeSequence') as types,
        list(code order by place) filter (
            where code_of = 'SegmentedPropertyTypeCodeSequence.SegmentedPropertyTypeModifierCodeSequence'
            and place[1] = 0
        ) as type_modifiers
    from each_code
    group by instance_id, item
),

kinds as (
    select
        instance_id,
        any_value(text) as SegmentationType
    from normal_elements
    where tag = '00620001' and path = '' and "index" = 0
    group by instance_id
),

named as (
    select
        instance_id,
        arg_min(text, try_cast(regexp_extract(path, '\[(\d+)\]$', 1) as bigint)) as series_uid
    from normal_elements
    where
        tag = '0020000E' and vm > 0
        and path between 'ReferencedSeriesSequence[' and 'ReferencedSeriesSequence]'
        and regexp_full_match(path, 'ReferencedSeriesSequence\[\d+\]')
    group by instance_id
),

sources as (
    select
        elements.instance_id,
        arg_min(
            images.SeriesInstanceUID, (
                starts_with(elements.path, 'Shared'),
                list_transform(regexp_extract_all(elements.path, '\[(\d+)\]', 1), lambda n: try_cast(n as bigint))
            )
        ) as series_uid
    from normal_elements as elements
    join instances as images on elements.text = images.SOPInstanceUID
    where
        elements.tag = '00081155' and elements.vm > 0
        and elements.path between 'PerFrameFunctionalGroupsSequence[' and 'SourceImageSequence]'
        and contains(elements.path, 'SourceImageSequence[')
        and elements.instance_id in (select objects.instance_id from objects)
        and elements.instance_id not in (select named.instance_id from named)
    group by elements.instance_id
)

select
    objects.instance_id,
    numbered.item,
    objects.series_key,
    objects.PatientID,
    objects.StudyInstanceUID,
    objects.SeriesInstanceUID,
    objects.SOPInstanceUID,
    objects.FrameOfReferenceUID,
    kinds.SegmentationType,
    codes.regions[1] as AnatomicRegion,
    codes.region_modifiers[1] as AnatomicRegionModifier,
    codes.categories[1] as SegmentedPropertyCategory,
    codes.types[1] as SegmentedPropertyType,
    numbered.SegmentAlgorithmType,
    numbered.SegmentAlgorithmName,
    numbered.SegmentNumber,
    numbered.TrackingUID,
    numbered.TrackingID,
    coalesce(named.series_uid, sources.series_uid) as segmented_SeriesInstanceUID,
    numbered.SegmentLabel,
    numbered.SegmentDescription,
    codes.regions as anatomic_regions,
    codes.region_modifiers as anatomic_region_modifiers,
    codes.types as property_types,
    codes.type_modifiers as property_type_modifiers,
    case
        when numbered.item is null then null
        when numbered.SegmentNumber is null then 'it has no segment number'
        when count(*) over (partition by objects.instance_id, numbered.SegmentNumber) > 1
            then 'another segment has its number'
    end as segment_why_not,
    unread.not_read
from objects
left join unread on objects.instance_id = unread.instance_id and unread.is_without_elements
left join numbered on objects.instance_id = numbered.instance_id
left join codes on numbered.instance_id = codes.instance_id and numbered.item = codes.item
left join kinds on objects.instance_id = kinds.instance_id
left join named on objects.instance_id = named.instance_id
left join sources on objects.instance_id = sources.instance_id
where numbered.item is not null or unread.not_read is not null;
