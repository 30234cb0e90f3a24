-- One row per segment of a segmentation.
--
-- A segmentation of which no element was read has one row without a segment. Codes are of the first item of their sequence, as scheme and value: SCT:10200004.
--
-- grain:   instance_id, item
-- depends: normal_elements, instances, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  item | BIGINT | place in the Segment Sequence, from 0; null if elements were not read
-- column:  series_key | VARCHAR | key to `series`
-- column:  SegmentNumber | BIGINT | Segment Number (0062,0004)
-- column:  SegmentLabel | VARCHAR | Segment Label (0062,0005)
-- column:  SegmentDescription | VARCHAR | Segment Description (0062,0006)
-- column:  SegmentAlgorithmType | VARCHAR | Segment Algorithm Type (0062,0008): AUTOMATIC, SEMIAUTOMATIC or MANUAL
-- column:  SegmentAlgorithmName | VARCHAR | Segment Algorithm Name (0062,0009)
-- column:  TrackingID | VARCHAR | Tracking ID (0062,0020)
-- column:  TrackingUID | VARCHAR | Tracking UID (0062,0021)
-- column:  property_category | VARCHAR | meaning of the Segmented Property Category, such as Anatomical Structure
-- column:  property_category_code | VARCHAR | its scheme and value
-- column:  property_type | VARCHAR | meaning of the Segmented Property Type, such as Liver
-- column:  property_type_code | VARCHAR | its scheme and value
-- column:  anatomic_region | VARCHAR | meaning of the Anatomic Region
-- column:  anatomic_region_code | VARCHAR | its scheme and value
-- column:  not_read | VARCHAR | what the import mode left out of what this row needs, so that it is null; null if nothing
-- column:  frame_count | BIGINT | frames that refer to the segment; 0 in label maps and where frames do not say
create or replace view segments as
with said as (
    select
        instance_id,
        try_cast(regexp_extract(path, '^SegmentSequence\[(\d+)\]', 1) as bigint) as item,
        regexp_extract(path, '\.(.*)\[0\]$', 1) as code_of,
        tag,
        text,
        "integer"
    from normal_elements
    where
        tag in (
            '00080100', '00080102', '00080104', '00620004', '00620005', '00620006', '00620008',
            '00620009', '00620020', '00620021'
        )
        and "index" = 0
        and vm > 0
        and regexp_full_match(
            path,
            'SegmentSequence\[\d+\](\.(SegmentedPropertyCategoryCodeSequence|SegmentedPropertyTypeCodeSequence|AnatomicRegionSequence)\[0\])?'
        )
),

gathered as (
    select
        instance_id,
        item,
        any_value("integer") filter (where tag = '00620004') as SegmentNumber,
        any_value(text) filter (where tag = '00620005') as SegmentLabel,
        any_value(text) filter (where tag = '00620006') as SegmentDescription,
        any_value(text) filter (where tag = '00620008') as SegmentAlgorithmType,
        any_value(text) filter (where tag = '00620009') as SegmentAlgorithmName,
        any_value(text) filter (where tag = '00620020') as TrackingID,
        any_value(text) filter (where tag = '00620021') as TrackingUID,
        any_value(text) filter (
            where tag = '00080104' and code_of = 'SegmentedPropertyCategoryCodeSequence'
        ) as property_category,
        any_value(text) filter (
            where tag = '00080102' and code_of = 'SegmentedPropertyCategoryCodeSequence'
        ) as property_category_scheme,
        any_value(text) filter (
            where tag = '00080100' and code_of = 'SegmentedPropertyCategoryCodeSequence'
        ) as property_category_value,
        any_value(text) filter (
            where tag = '00080104' and code_of = 'SegmentedPropertyTypeCodeSequence'
        ) as property_type,
        any_value(text) filter (
            where tag = '00080102' and code_of = 'SegmentedPropertyTypeCodeSequence'
        ) as property_type_scheme,
        any_value(text) filter (
            where tag = '00080100' and code_of = 'SegmentedPropertyTypeCodeSequence'
        ) as property_type_value,
        any_value(text) filter (
            where tag = '00080104' and code_of = 'AnatomicRegionSequence'
        ) as anatomic_region,
        any_value(text) filter (
            where tag = '00080102' and code_of = 'AnatomicRegionSequence'
        ) as anatomic_region_scheme,
        any_value(text) filter (
            where tag = '00080100' and code_of = 'AnatomicRegionSequence'
        ) as anatomic_region_value
    from said
    group by instance_id, item
),

referring as (
    select
        instance_id,
        "integer" as segment_number,
        count(*) as frame_count
    from normal_elements
    where tag = '0062000B' and starts_with(path, 'PerFrameFunctionalGroupsSequence[')
    group by instance_id, "integer"
),

lacking as (
    select
        unread.instance_id,
        unread.not_read
    from unread
    join instances on unread.instance_id = instances.instance_id
    where unread.is_without_elements and instances.Modality = 'SEG'
)

select
    instances.instance_id,
    gathered.item,
    instances.series_key,
    gathered.SegmentNumber,
    gathered.SegmentLabel,
    gathered.SegmentDescription,
    gathered.SegmentAlgorithmType,
    gathered.SegmentAlgorithmName,
    gathered.TrackingID,
    gathered.TrackingUID,
    gathered.property_category,
    gathered.property_category_scheme || ':'
    || gathered.property_category_value as property_category_code,
    gathered.property_type,
    gathered.property_type_scheme || ':'
    || gathered.property_type_value as property_type_code,
    gathered.anatomic_region,
    gathered.anatomic_region_scheme || ':'
    || gathered.anatomic_region_value as anatomic_region_code,
    lacking.not_read,
    if(gathered.item is null, null, coalesce(referring.frame_count, 0)) as frame_count
from gathered
full join lacking on gathered.instance_id = lacking.instance_id
join instances on coalesce(gathered.instance_id, lacking.instance_id) = instances.instance_id
left join referring
    on
        gathered.instance_id = referring.instance_id
        and gathered.SegmentNumber = referring.segment_number;
