-- One row per structure (region of interest) of an RT structure set.
--
-- A structure set of which no element was read has one row without a structure. Names, observations and contours of a structure stand in three sequences of the file and are
-- joined by its number. Contours themselves are in `elements`.
--
-- grain:   instance_id, item
-- depends: instances, normal_elements, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  item | BIGINT | index in the Structure Set ROI Sequence, from 0; null if elements were not read
-- column:  series_key | VARCHAR | key to `series`
-- column:  study_key | VARCHAR | key to `studies`
-- column:  patient_key | VARCHAR | key to `patients`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  StructureSetLabel | VARCHAR | Structure Set Label (3006,0002)
-- column:  StructureSetName | VARCHAR | Structure Set Name (3006,0004)
-- column:  ROINumber | BIGINT | ROI Number (3006,0022)
-- column:  ROIName | VARCHAR | ROI Name (3006,0026)
-- column:  ROIDescription | VARCHAR | ROI Description (3006,0028)
-- column:  ROIGenerationAlgorithm | VARCHAR | ROI Generation Algorithm (3006,0036): AUTOMATIC, SEMIAUTOMATIC or MANUAL
-- column:  ROIVolume | DOUBLE | ROI Volume (3006,002C), cm³, as stated
-- column:  ReferencedFrameOfReferenceUID | VARCHAR | Referenced Frame of Reference UID (3006,0024)
-- column:  RTROIInterpretedType | VARCHAR | RT ROI Interpreted Type (3006,00A4), such as GTV, PTV or ORGAN
-- column:  ROIObservationLabel | VARCHAR | ROI Observation Label (3006,0085)
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
-- column:  contour_count | BIGINT | contours; 0 for an empty structure
-- column:  point_count | BIGINT | points of these, as stated
-- column:  contour_types | VARCHAR[] | ContourGeometricType (3006,0042), each once, sorted, such as CLOSED_PLANAR
-- column:  referenced_series_uids | VARCHAR[] | SeriesInstanceUID of the images that the structure set is of, each once, sorted
create or replace view rt_structures as
with structure_sets as (
    select
        *
    from instances
    where Modality = 'RTSTRUCT'
),

titles as (
    select
        instance_id,
        any_value(text) filter (where tag = '30060002') as StructureSetLabel,
        any_value(text) filter (where tag = '30060004') as StructureSetName
    from normal_elements
    where path = '' and "index" = 0 and tag in ('30060002', '30060004')
    group by instance_id
),

rois as (
    select
        instance_id,
        try_cast(regexp_extract(path, '\[(\d+)\]', 1) as bigint) as item,
        any_value("integer") filter (where tag = '30060022') as ROINumber,
        any_value(text) filter (where tag = '30060024') as ReferencedFrameOfReferenceUID,
        any_value(text) filter (where tag = '30060026') as ROIName,
        any_value(text) filter (where tag = '30060028') as ROIDescription,
        any_value("real") filter (where tag = '3006002C') as ROIVolume,
        any_value(text) filter (where tag = '30060036') as ROIGenerationAlgorithm
    from normal_elements
    where
        tag in ('30060022', '30060024', '30060026', '30060028', '3006002C', '30060036')
        and "index" = 0
        and regexp_full_match(path, 'StructureSetROISequence\[\d+\]')
    group by instance_id, path
),

observed as (
    select
        instance_id,
        try_cast(regexp_extract(path, '\[(\d+)\]', 1) as bigint) as item,
        any_value("integer") filter (where tag = '30060084') as roi_number,
        any_value(text) filter (where tag = '300600A4') as RTROIInterpretedType,
        any_value(text) filter (where tag = '30060085') as ROIObservationLabel
    from normal_elements
    where
        tag in ('30060084', '30060085', '300600A4')
        and "index" = 0
        and regexp_full_match(path, 'RTROIObservationsSequence\[\d+\]')
    group by instance_id, path
),

-- One observation per structure; of several the first that says something.
observations as (
    select
        instance_id,
        roi_number,
        arg_min(RTROIInterpretedType, item) as RTROIInterpretedType,
        arg_min(ROIObservationLabel, item) as ROIObservationLabel
    from observed
    where roi_number is not null
    group by instance_id, roi_number
),

drawn as (
    select
        instance_id,
        regexp_extract(path, '^ROIContourSequence\[\d+\]') as contour_path,
        max("integer") filter (where tag = '30060084') as roi_number,
        count(*) filter (where tag = '30060042') as contour_count,
        try_cast(sum("integer") filter (where tag = '30060046') as bigint) as point_count,
        list(distinct text) filter (where tag = '30060042') as contour_types
    from normal_elements
    where
        tag in ('30060042', '30060046', '30060084')
        and "index" = 0
        and regexp_full_match(path, 'ROIContourSequence\[\d+\](\.ContourSequence\[\d+\])?')
    group by instance_id, contour_path
),

contours as (
    select
        instance_id,
        roi_number,
        cast(sum(contour_count) as bigint) as contour_count,
        try_cast(sum(point_count) as bigint) as point_count,
        list_sort(list_distinct(flatten(list(contour_types)))) as contour_types
    from drawn
    where roi_number is not null
    group by instance_id, roi_number
),

referenced as (
    select
        instance_id,
        list_sort(list(distinct text)) as referenced_series_uids
    from normal_elements
    where
        tag = '0020000E'
        and vm > 0
        and starts_with(path, 'ReferencedFrameOfReferenceSequence[')
    group by instance_id
)

select
    structure_sets.instance_id,
    rois.item,
    structure_sets.series_key,
    structure_sets.study_key,
    structure_sets.patient_key,
    structure_sets.SOPInstanceUID,
    structure_sets.PatientID,
    titles.StructureSetLabel,
    titles.StructureSetName,
    rois.ROINumber,
    rois.ROIName,
    rois.ROIDescription,
    rois.ROIGenerationAlgorithm,
    rois.ROIVolume,
    rois.ReferencedFrameOfReferenceUID,
    observations.RTROIInterpretedType,
    observations.ROIObservationLabel,
    unread.not_read,
    if(rois.item is null, null, coalesce(contours.contour_count, 0)) as contour_count,
    if(rois.item is null, null, coalesce(contours.point_count, 0)) as point_count,
    contours.contour_types,
    referenced.referenced_series_uids
from structure_sets
left join unread
    on structure_sets.instance_id = unread.instance_id and unread.is_without_elements
left join rois on structure_sets.instance_id = rois.instance_id
left join titles on structure_sets.instance_id = titles.instance_id
left join observations
    on rois.instance_id = observations.instance_id and rois.ROINumber = observations.roi_number
left join contours
    on rois.instance_id = contours.instance_id and rois.ROINumber = contours.roi_number
left join referenced on structure_sets.instance_id = referenced.instance_id
where rois.item is not null or unread.not_read is not null;
