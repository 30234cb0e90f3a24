-- Which instances two runs do not share or hold differently, and why as far as it can be known.
--
-- Reads members of the older run as `before`, of the newer as `after`, what the warehouse holds now
-- as `instances`, what of an instance has changed as `changed_attributes`, ids that the older version did not have as
-- `read_since`, and the variables `same_question` and `newest_before`: the largest instance_id that existed when the
-- older run was made. A batch that is read again gets ids after its own, which may be smaller; they are known to be new
-- only while the older version is there.
with joined as (
    select
        coalesce(before.instance_key, after.instance_key) as instance_key,
        coalesce(before.series_key, after.series_key) as series_key,
        case
            when before.instance_key is null then 'added'
            when after.instance_key is null then 'gone'
            else 'changed'
        end as change,
        before.instance_id as id_before,
        after.instance_id as id_after,
        before.path != after.path as has_moved
    from before
    full join after on before.instance_key = after.instance_key
    where before.instance_id is distinct from after.instance_id
)

select
    joined.change,
    case
        when joined.change = 'changed' and joined.has_moved then 'another file holds it'
        when joined.change = 'changed' then 'its file was read again'
        when
            joined.change = 'added'
            and (joined.id_after > getvariable('newest_before') or joined.id_after in (from read_since))
            then 'read since the first run'
        when joined.change = 'gone' and instances.instance_id is null
            then 'not in the warehouse any more'
        when
            joined.change = 'gone'
            and (
                instances.instance_id > getvariable('newest_before')
                or instances.instance_id in (from read_since)
            )
            then 'its file was read again and does not match any more'
        when not getvariable('same_question') then 'the question or its parameters differ'
        else 'other instances of its series, study or patient changed'
    end as why,
    changed_attributes.attributes,
    joined.series_key,
    joined.instance_key
from joined
left join instances on joined.instance_key = instances.instance_key
left join changed_attributes on joined.instance_key = changed_attributes.instance_key
order by joined.change, joined.instance_key
