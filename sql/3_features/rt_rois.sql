-- One row per region of interest of an RT structure set, with its type and algorithm.
--
-- The same rows as `rt_structures`, with what its contours are good for: `rt_contours` has them, and
-- wh.structures(...) puts them on the grid of a series. A structure set of which no element was read has one
-- row without a region.
--
-- grain:   instance_id, item
-- depends: rt_structures, instances, normal_elements
-- column:  instance_id | BIGINT | key to `instances`
-- column:  item | BIGINT | index in the Structure Set ROI Sequence, from 0; null if elements were not read
-- column:  series_key | VARCHAR | key to `series`
-- column:  study_key | VARCHAR | key to `studies`
-- column:  patient_key | VARCHAR | key to `patients`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  SeriesInstanceUID | VARCHAR | Series Instance UID (0020,000E) of the structure set
-- column:  ROINumber | BIGINT | ROI Number (3006,0022)
-- column:  ROIName | VARCHAR | ROI Name (3006,0026)
-- column:  ROIGenerationAlgorithm | VARCHAR | ROI Generation Algorithm (3006,0036): AUTOMATIC, SEMIAUTOMATIC or MANUAL
-- column:  RTROIInterpretedType | VARCHAR | RT ROI Interpreted Type (3006,00A4), such as GTV, PTV or ORGAN
-- column:  ReferencedFrameOfReferenceUID | VARCHAR | Referenced Frame of Reference UID (3006,0024)
-- column:  referenced_SeriesInstanceUID | VARCHAR | series of the images on which the contours were drawn; else that which the structure set references in the frame of reference of the region, else the only one that it references; null if there are none or several
-- column:  contour_count | BIGINT | contours; 0 for an empty region
-- column:  point_count | BIGINT | points of these, as stated
-- column:  contour_types | VARCHAR[] | ContourGeometricType (3006,0042), each once, sorted
-- column:  roi_why_not | VARCHAR | why the region encloses no volume: no contour, no closed contour, or the number of another region; null if it may enclose one
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view rt_rois as
with contour_items as (
    select
        instance_id,
        path,
        "integer" as roi_number
    from normal_elements
    where
        tag = '30060084' and "index" = 0
        and path between 'ROIContourSequence[' and 'ROIContourSequence]'
        and regexp_full_match(path, 'ROIContourSequence\[\d+\]')
),

contour_images as (
    select distinct
        instance_id,
        regexp_extract(path, '^ROIContourSequence\[\d+\]') as path,
        text as uid
    from normal_elements
    where
        tag = '00081155' and "index" = 0
        and path between 'ROIContourSequence[' and 'ROIContourSequence]'
        and contains(path, '.ContourImageSequence[')
),

drawn_on as (
    select
        contour_items.instance_id,
        contour_items.roi_number,
        list(distinct images.SeriesInstanceUID) as series_uids
    from contour_images
    join contour_items
        on contour_images.instance_id = contour_items.instance_id and contour_images.path = contour_items.path
    join instances as images on contour_images.uid = images.SOPInstanceUID
    where images.SeriesInstanceUID is not null
    group by contour_items.instance_id, contour_items.roi_number
),

spaces as (
    select
        instance_id,
        path,
        text as uid
    from normal_elements
    where
        tag = '00200052' and "index" = 0
        and regexp_full_match(path, 'ReferencedFrameOfReferenceSequence\[\d+\]')
),

in_space as (
    select
        referenced.instance_id,
        spaces.uid as space_uid,
        list(distinct referenced.text) as series_uids
    from normal_elements as referenced
    join spaces
        on referenced.instance_id = spaces.instance_id and starts_with(referenced.path, spaces.path || '.')
    where
        referenced.tag = '0020000E' and referenced."index" = 0 and referenced.text <> ''
    group by referenced.instance_id, spaces.uid
)

select
    rois.instance_id,
    rois.item,
    rois.series_key,
    rois.study_key,
    rois.patient_key,
    rois.SOPInstanceUID,
    instances.SeriesInstanceUID,
    rois.ROINumber,
    rois.ROIName,
    rois.ROIGenerationAlgorithm,
    rois.RTROIInterpretedType,
    rois.ReferencedFrameOfReferenceUID,
    if(
        len(coalesce(drawn_on.series_uids, in_space.series_uids, rois.referenced_series_uids)) = 1,
        coalesce(drawn_on.series_uids, in_space.series_uids, rois.referenced_series_uids)[1], null
    ) as referenced_SeriesInstanceUID,
    rois.contour_count,
    rois.point_count,
    rois.contour_types,
    case
        when rois.item is null then null
        when rois.ROINumber is null then 'it has no number'
        when count(*) over (partition by rois.instance_id, rois.ROINumber) > 1 then 'another region has its number'
        when rois.contour_count = 0 then 'it has no contour'
        when not list_has_any(rois.contour_types, ['CLOSED_PLANAR', 'CLOSEDPLANAR_XOR'])
            then 'it has no closed contour: ' || array_to_string(rois.contour_types, ', ')
    end as roi_why_not,
    rois.not_read
from rt_structures as rois
join instances on rois.instance_id = instances.instance_id
left join drawn_on on rois.instance_id = drawn_on.instance_id and rois.ROINumber = drawn_on.roi_number
left join in_space
    on
        rois.instance_id = in_space.instance_id
        and rois.ReferencedFrameOfReferenceUID = in_space.space_uid;
