-- One row per RT dose: type and unit, and the plan and structure set that it refers to.
--
-- wh.volume(series, rescale=True) gives the grid in Gy. A dose whose numbers are not Gy, or whose planes
-- have no place, says so. Points and histograms that are stored without a grid have a row too.
--
-- grain:   instance_id
-- depends: instances, normal_elements, frames, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  series_key | VARCHAR | key to `series`
-- column:  study_key | VARCHAR | key to `studies`
-- column:  patient_key | VARCHAR | key to `patients`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  FrameOfReferenceUID | VARCHAR | Frame of Reference UID (0020,0052)
-- column:  DoseUnits | VARCHAR | Dose Units (3004,0002): GY or RELATIVE
-- column:  DoseType | VARCHAR | Dose Type (3004,0004): PHYSICAL, EFFECTIVE or ERROR
-- column:  DoseSummationType | VARCHAR | Dose Summation Type (3004,000A), such as PLAN, BEAM or FRACTION
-- column:  DoseGridScaling | DOUBLE | Dose Grid Scaling (3004,000E): what stored values are multiplied by
-- column:  plan_uid | VARCHAR | SOPInstanceUID of the plan (300C,0002)
-- column:  structure_set_uid | VARCHAR | SOPInstanceUID of the structure set (300C,0060)
-- column:  stored_dvh_count | BIGINT | items of the DVH Sequence (3004,0050)
-- column:  plane_count | BIGINT | planes of the grid
-- column:  dose_why_not | VARCHAR | why the grid cannot be converted to Gy: no grid, no scaling, relative units, planes without a position; null if it can
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view rt_doses as
with doses as (
    select
        *
    from instances
    where Modality = 'RTDOSE'
),

said as (
    select
        instance_id,
        any_value(text) filter (where tag = '30040002') as DoseUnits,
        any_value(text) filter (where tag = '30040004') as DoseType,
        any_value(text) filter (where tag = '3004000A') as DoseSummationType,
        any_value("real") filter (where tag = '3004000E') as DoseGridScaling,
        any_value("integer") filter (where tag = '30040050') as stored_dvh_count
    from normal_elements
    where
        path = '' and "index" = 0 and vm > 0
        and tag in ('30040002', '30040004', '3004000A', '3004000E', '30040050')
    group by instance_id
),

referenced as (
    select
        instance_id,
        any_value(text) filter (where path = 'ReferencedRTPlanSequence[0]') as plan_uid,
        any_value(text) filter (where path = 'ReferencedStructureSetSequence[0]') as structure_set_uid
    from normal_elements
    where
        tag = '00081155' and "index" = 0
        and path in ('ReferencedRTPlanSequence[0]', 'ReferencedStructureSetSequence[0]')
    group by instance_id
),

-- An object of one frame has no row in `frames`.
planes as (
    select
        doses.instance_id,
        count(*) as plane_count,
        if(
            any_value(frames.instance_id) is null and any_value(doses.ImagePositionPatient) is null,
            'no position', any_value(frames.position_why_not)
        ) as why_not
    from doses
    left join frames on doses.instance_id = frames.instance_id
    where frames.instance_id is not null or doses.pixel_offset is not null
    group by doses.instance_id
)

select
    doses.instance_id,
    doses.series_key,
    doses.study_key,
    doses.patient_key,
    doses.SOPInstanceUID,
    doses.FrameOfReferenceUID,
    said.DoseUnits,
    said.DoseType,
    said.DoseSummationType,
    said.DoseGridScaling,
    referenced.plan_uid,
    referenced.structure_set_uid,
    if(unread.not_read is null, coalesce(said.stored_dvh_count, 0), null) as stored_dvh_count,
    if(unread.not_read is null, coalesce(planes.plane_count, 0), null) as plane_count,
    case
        when unread.not_read is not null then null
        when planes.plane_count is null then 'it has no grid'
        when said.DoseGridScaling is null then 'Dose Grid Scaling is missing'
        when coalesce(said.DoseUnits, '') <> 'GY' then 'Dose Units are not GY'
        else planes.why_not
    end as dose_why_not,
    unread.not_read
from doses
left join unread on doses.instance_id = unread.instance_id and unread.is_without_elements
left join said on doses.instance_id = said.instance_id
left join referenced on doses.instance_id = referenced.instance_id
left join planes on doses.instance_id = planes.instance_id;
