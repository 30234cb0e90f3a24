-- CT series whose slices are thin: `from ct_thin_slice(max_slice_mm := 1.0)`.
--
-- Localizers are left out. A series without SliceThickness is no member.
--
-- depends: series
-- param:   max_slice_mm | DOUBLE | 1.5 | largest SliceThickness, mm, inclusive
-- param:   min_instances | BIGINT | 1 | fewest instances of a series, inclusive
create or replace macro ct_thin_slice(max_slice_mm := 1.5, min_instances := 1) as table
select
    series_key,
    SliceThickness,
    instance_count
from series
where
    Modality = 'CT'
    and SliceThickness <= max_slice_mm
    and instance_count >= min_instances
    and not coalesce(list_contains(ImageType, 'LOCALIZER'), false);
