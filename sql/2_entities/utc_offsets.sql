-- One row per instance that states the time zone of its dates and times.
--
-- grain:   instance_id
-- depends: elements
-- column:  instance_id | BIGINT | key to `instances`
-- column:  utc_offset_minutes | INTEGER | Timezone Offset From UTC (0008,0201): minutes by which its clock is before UTC
create or replace view utc_offsets as
select
    instance_id,
    any_value(utc_offset_minutes(normal_text(vr, text))) as utc_offset_minutes
from elements
where path = '' and tag = '00080201' and "index" = 0
group by instance_id
having utc_offset_minutes is not null;
