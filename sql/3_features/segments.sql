-- One row per segment of a segmentation.
--
-- `segmentations` in words, with how many frames there are of each. A segmentation of which no element was read has one
-- row without a segment. Codes are of the first item of their sequence, as scheme and value: SCT:10200004.
--
-- grain:   instance_id, item
-- depends: segment_frames, segmentations
-- column:  instance_id | BIGINT | key to `instances`
-- column:  item | BIGINT | index in the Segment Sequence, from 0; null if elements were not read
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
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
-- column:  frame_count | BIGINT | frames that refer to the segment, themselves or in the shared functional groups; 0 in label maps and where frames do not say
create or replace view segments as
with referring as (
    select
        instance_id,
        segment_number,
        count(*) as frame_count
    from segment_frames
    where segment_why_not is null and segment_number is not null
    group by instance_id, segment_number
)

select
    said.instance_id,
    said.item,
    said.series_key,
    said.SegmentNumber,
    said.SegmentLabel,
    said.SegmentDescription,
    said.SegmentAlgorithmType,
    said.SegmentAlgorithmName,
    said.TrackingID,
    said.TrackingUID,
    said.SegmentedPropertyCategory.CodeMeaning as property_category,
    said.SegmentedPropertyCategory.CodingSchemeDesignator || ':'
    || said.SegmentedPropertyCategory.CodeValue as property_category_code,
    said.SegmentedPropertyType.CodeMeaning as property_type,
    said.SegmentedPropertyType.CodingSchemeDesignator || ':'
    || said.SegmentedPropertyType.CodeValue as property_type_code,
    said.AnatomicRegion.CodeMeaning as anatomic_region,
    said.AnatomicRegion.CodingSchemeDesignator || ':'
    || said.AnatomicRegion.CodeValue as anatomic_region_code,
    said.not_read,
    if(said.item is null, null, coalesce(referring.frame_count, 0)) as frame_count
from segmentations as said
left join referring
    on
        said.instance_id = referring.instance_id
        and said.SegmentNumber = referring.segment_number;
