-- CT series whose slices are thin: `from ct_thin_slice(max_slice_mm := 1.0)`.
--
-- All slices that state SliceThickness are thin, also frames of one object; a series in which none
-- states it is no member. A series with a localizer is left out.
--
-- depends: series, instances, frame_values, group_elements
-- param:   max_slice_mm | DOUBLE | 1.5 | largest SliceThickness, mm, inclusive
-- param:   min_instances | BIGINT | 1 | fewest instances of a series, inclusive
create or replace macro ct_thin_slice(max_slice_mm := 1.5, min_instances := 1) as table
with others as (
    select instances.series_key
    from instances
    left join frame_values as frames on instances.instance_id = frames.instance_id
    where
        if(frames.instance_id is null, instances.SliceThickness, frames.SliceThickness) > max_slice_mm
        or list_contains(instances.ImageType, 'LOCALIZER')
    union all
    -- Of frames that differ, frame_values has the first.
    select instances.series_key
    from group_elements
    join instances on group_elements.instance_id = instances.instance_id
    where group_elements.tag = '00180050' and group_elements."real" > max_slice_mm
)

select
    series.series_key,
    series.SliceThickness,
    series.instance_count
from series
anti join others on series.series_key = others.series_key
where
    series.Modality = 'CT'
    and series.SliceThickness <= max_slice_mm
    and series.instance_count >= min_instances
    and not coalesce(list_contains(series.ImageType, 'LOCALIZER'), false);
