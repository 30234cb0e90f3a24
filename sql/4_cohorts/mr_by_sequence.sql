-- MR series by ScanningSequence: `from mr_by_sequence(scanning_sequence := ['GR', 'IR'])`.
--
-- The values are compared as a set: all of them and no other, in any order. A series is a member if
-- its instances and frames that state a value agree.
--
-- depends: series, instances, frame_values
-- param:   scanning_sequence | VARCHAR[] | [SE] | ScanningSequence, as a set
-- param:   acquisition_type | VARCHAR | null | MRAcquisitionType, 2D or 3D; null takes any
create or replace macro mr_by_sequence(scanning_sequence := ['SE'], acquisition_type := null) as table
with others as (
    select instances.series_key
    from instances
    left join frame_values as frames on instances.instance_id = frames.instance_id
    where
        list_sort(list_distinct(
            if(frames.instance_id is null, instances.ScanningSequence, frames.ScanningSequence)
        )) != list_sort(list_distinct(scanning_sequence))
        or if(frames.instance_id is null, instances.MRAcquisitionType, frames.MRAcquisitionType)
        != acquisition_type
        or list_contains(frames.frames_differ, 'ScanningSequence')
        or (acquisition_type is not null and list_contains(frames.frames_differ, 'MRAcquisitionType'))
)

select
    series.series_key,
    series.ScanningSequence,
    series.MRAcquisitionType
from series
anti join others on series.series_key = others.series_key
where
    series.Modality = 'MR'
    and list_sort(list_distinct(series.ScanningSequence)) = list_sort(list_distinct(scanning_sequence))
    and (acquisition_type is null or series.MRAcquisitionType = acquisition_type);
