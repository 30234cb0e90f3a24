-- Segments of objects that were not counted in their present state; of all series, or of those named.
select
    wanted.instance_key,
    wanted.state,
    instances.SeriesInstanceUID,
    wanted.SOPInstanceUID,
    wanted.instance_id,
    wanted.SegmentNumber
from segment_volumes as wanted
inner join instances on wanted.instance_id = instances.instance_id
anti join measured_segments
    on wanted.instance_key = measured_segments.instance_key and wanted.state = measured_segments.state
where
    wanted.state is not null
    and ($1::varchar[] is null or list_contains($1::varchar[], instances.SeriesInstanceUID))
order by wanted.instance_key, wanted.SegmentNumber
