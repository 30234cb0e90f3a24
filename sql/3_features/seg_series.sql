-- One row per series of segmentations: segments, algorithm, and the images that were segmented.
--
-- Lists have each value of the segments once, sorted; `segments` has a row per segment. The images
-- are those of the Referenced Series Sequence; where there is none, those that frames name as their
-- source, if the warehouse has them.
--
-- grain:   series_key
-- depends: series, instances, normal_elements, segments, unread_series
-- column:  series_key | VARCHAR | SeriesInstanceUID; if it is missing, `missing:` and instance_key
-- column:  study_key | VARCHAR | key to `studies`
-- column:  patient_key | VARCHAR | key to `patients`
-- column:  SeriesInstanceUID | VARCHAR | Series Instance UID (0020,000E)
-- column:  StudyInstanceUID | VARCHAR | Study Instance UID (0020,000D)
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  SeriesNumber | BIGINT | Series Number (0020,0011)
-- column:  series_at | TIMESTAMP | SeriesDate and the SeriesTime beside it as written, in the clock of the device; midnight if the time is missing, null without a date
-- column:  SeriesDescription | VARCHAR | Series Description (0008,103E)
-- column:  Manufacturer | VARCHAR | Manufacturer (0008,0070)
-- column:  ManufacturerModelName | VARCHAR | Manufacturer's Model Name (0008,1090)
-- column:  SegmentationType | VARCHAR | Segmentation Type (0062,0001): BINARY, FRACTIONAL or LABELMAP
-- column:  segment_count | BIGINT | segments of all instances
-- column:  segment_labels | VARCHAR[] | SegmentLabel (0062,0005)
-- column:  algorithm_types | VARCHAR[] | SegmentAlgorithmType (0062,0008)
-- column:  algorithm_names | VARCHAR[] | SegmentAlgorithmName (0062,0009)
-- column:  property_categories | VARCHAR[] | meanings of the Segmented Property Categories
-- column:  property_types | VARCHAR[] | meanings of the Segmented Property Types, such as Liver
-- column:  property_type_codes | VARCHAR[] | their schemes and values, such as SCT:10200004
-- column:  anatomic_regions | VARCHAR[] | meanings of the Anatomic Regions
-- column:  referenced_series_uids | VARCHAR[] | SeriesInstanceUID of the segmented images
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
-- column:  instance_count | BIGINT | instances; copies of a file count once
-- column:  frame_count | BIGINT | frames of these images: NumberOfFrames, or 1 if it is missing
create or replace view seg_series as
with segmentations as (
    select
        instance_id,
        instance_key,
        series_key
    from instances
    where Modality = 'SEG'
),

said as (
    select
        segmentations.series_key,
        arg_min(elements.text, segmentations.instance_key) as SegmentationType
    from normal_elements as elements
    join segmentations on elements.instance_id = segmentations.instance_id
    where elements.tag = '00620001' and elements.path = '' and elements."index" = 0
    group by segmentations.series_key
),

segmented as (
    select
        series_key,
        count(item) as segment_count,
        list_sort(list(distinct SegmentLabel) filter (where SegmentLabel is not null)) as segment_labels,
        list_sort(list(distinct SegmentAlgorithmType) filter (where SegmentAlgorithmType is not null)) as algorithm_types,
        list_sort(list(distinct SegmentAlgorithmName) filter (where SegmentAlgorithmName is not null)) as algorithm_names,
        list_sort(list(distinct property_category) filter (where property_category is not null)) as property_categories,
        list_sort(list(distinct property_type) filter (where property_type is not null)) as property_types,
        list_sort(list(distinct property_type_code) filter (where property_type_code is not null)) as property_type_codes,
        list_sort(list(distinct anatomic_region) filter (where anatomic_region is not null)) as anatomic_regions
    from segments
    group by series_key
),

named as (
    select
        segmentations.instance_id,
        segmentations.series_key,
        elements.text as uid
    from normal_elements as elements
    join segmentations on elements.instance_id = segmentations.instance_id
    where
        elements.tag = '0020000E'
        and elements.vm > 0
        and starts_with(elements.path, 'ReferencedSeriesSequence[')
),

sources as (
    select distinct
        segmentations.series_key,
        elements.text as uid
    from normal_elements as elements
    join segmentations on elements.instance_id = segmentations.instance_id
    where
        elements.tag = '00081155'
        and elements.vm > 0
        and contains(elements.path, 'SourceImageSequence[')
        and segmentations.instance_id not in (select named.instance_id from named)
),

referenced as (
    select
        series_key,
        list_sort(list(distinct uid)) as referenced_series_uids
    from (
        select
            series_key,
            uid
        from named
        union all
        select
            sources.series_key,
            instances.SeriesInstanceUID as uid
        from sources
        join instances on sources.uid = instances.SOPInstanceUID
        where instances.SeriesInstanceUID is not null
    )
    group by series_key
)

select
    series.series_key,
    series.study_key,
    series.patient_key,
    series.SeriesInstanceUID,
    series.StudyInstanceUID,
    series.PatientID,
    series.SeriesNumber,
    series.series_at,
    series.SeriesDescription,
    series.Manufacturer,
    series.ManufacturerModelName,
    said.SegmentationType,
    if(
        unread_series.elements_not_read is null, coalesce(segmented.segment_count, 0), null
    ) as segment_count,
    segmented.segment_labels,
    segmented.algorithm_types,
    segmented.algorithm_names,
    segmented.property_categories,
    segmented.property_types,
    segmented.property_type_codes,
    segmented.anatomic_regions,
    referenced.referenced_series_uids,
    unread_series.elements_not_read as not_read,
    series.instance_count,
    series.frame_count
from series
left join said on series.series_key = said.series_key
left join segmented on series.series_key = segmented.series_key
left join referenced on series.series_key = referenced.series_key
left join unread_series on series.series_key = unread_series.series_key
where series.Modality = 'SEG';
