-- Which attributes differ between the instances that two versions of the warehouse hold.
--
-- Reads `changed` (instance_key), and the table `instances` of both versions as `instances_before`
-- and `instances_after`. Where it lies, and when it was read, is no attribute of an instance.
with before_values as (
    unpivot (
        select instance_key, cast(columns(* exclude (instance_key, batch, instance_id, path, pixel_offset, pixel_length)) as varchar)
        from instances_before
        semi join changed using (instance_key)
    )
    on columns(* exclude (instance_key)) into name attribute value content
),

after_values as (
    unpivot (
        select instance_key, cast(columns(* exclude (instance_key, batch, instance_id, path, pixel_offset, pixel_length)) as varchar)
        from instances_after
        semi join changed using (instance_key)
    )
    on columns(* exclude (instance_key)) into name attribute value content
),

different as (
    select
        coalesce(before_values.instance_key, after_values.instance_key) as instance_key,
        coalesce(before_values.attribute, after_values.attribute) as attribute
    from before_values
    full join after_values
        on
            before_values.instance_key = after_values.instance_key
            and before_values.attribute = after_values.attribute
    where before_values.content is distinct from after_values.content
)

select
    changed.instance_key,
    coalesce(list(different.attribute order by different.attribute) filter (where different.attribute is not null), [])
        as attributes
from changed
left join different on changed.instance_key = different.instance_key
group by changed.instance_key
