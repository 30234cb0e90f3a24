-- In which direction the phase of an MR instance was encoded; only instances that say so, or whose elements were not read.
--
-- The axis is In-plane Phase Encoding Direction (0018,1312). No standard element has the sign: it is
-- PhaseEncodingDirectionPositive of the Siemens CSA header, in modes normal and full.
--
-- grain:   instance_id
-- depends: instances, vendor_elements, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  phase_encoding_direction | VARCHAR | i along a row, j along a column of the image; with - against it
-- column:  not_read | VARCHAR | what the import mode left out of what this row needs, so that it is null; null if nothing
create or replace view phase_encoding as
with signs as (
    select
        instance_id,
        arg_min("integer", source_tag) as positive
    from vendor_elements
    where
        name = 'PhaseEncodingDirectionPositive'
        and source_path = ''
        and "index" = 0
        and (creator = 'SIEMENS CSA HEADER' or creator = 'SIEMENS MR SDS 01')
    group by instance_id
)

select
    instances.instance_id,
    case instances.InPlanePhaseEncodingDirection when 'ROW' then 'i' when 'COL' then 'j' end
    || case signs.positive when 0 then '' when 1 then '-' end as phase_encoding_direction,
    cast(null as varchar) as not_read
from instances
join signs on instances.instance_id = signs.instance_id
where
    instances.Modality = 'MR'
    and instances.InPlanePhaseEncodingDirection in ('ROW', 'COL')
    and signs.positive in (0, 1)
union all
select
    unread.instance_id,
    null as phase_encoding_direction,
    unread.not_read
from unread
join instances on unread.instance_id = instances.instance_id
where unread.is_without_elements and instances.Modality = 'MR';
