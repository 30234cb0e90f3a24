-- The tags of which a value that a kept summary names stood in parts that went, and not in those that came.
--
-- It may stand in others: the rows of these tags are asked again.
with
    extremes as (
        select distinct gone.tag
        from gone_element_summaries as gone
        join kept_element_summaries as kept
            on
                gone.tag = kept.tag
                and gone.creator is not distinct from kept.creator
                and gone.vr = kept.vr
        left join came_element_summaries as came
            on
                gone.tag = came.tag
                and gone.creator is not distinct from came.creator
                and gone.vr = came.vr
        where
            (gone.min_integer = kept.min_integer and came.min_integer is distinct from gone.min_integer)
            or (gone.max_integer = kept.max_integer and came.max_integer is distinct from gone.max_integer)
            or (gone.min_real = kept.min_real and came.min_real is distinct from gone.min_real)
            or (gone.max_real = kept.max_real and came.max_real is distinct from gone.max_real)
            or (gone.min_date = kept.min_date and came.min_date is distinct from gone.min_date)
            or (gone.max_date = kept.max_date and came.max_date is distinct from gone.max_date)
            or (gone.min_timestamp = kept.min_timestamp and came.min_timestamp is distinct from gone.min_timestamp)
            or (gone.max_timestamp = kept.max_timestamp and came.max_timestamp is distinct from gone.max_timestamp)
            or (gone.max_vm = kept.max_vm and came.max_vm is distinct from gone.max_vm)
            or (gone.max_length = kept.max_length and came.max_length is distinct from gone.max_length)
            or (gone.example = kept.example and came.example is distinct from gone.example)
    ),

    kept as (select tag, creator, vr, unnest(hash_values) as value from kept_element_sketches),

    gone as (select tag, creator, vr, unnest(hash_values) as value from gone_element_sketches),

    came as (select tag, creator, vr, unnest(hash_values) as value from came_element_sketches)

select tag from extremes
union
select gone.tag
from gone
semi join kept
    on
        gone.value = kept.value and gone.tag = kept.tag and gone.vr = kept.vr
        and gone.creator is not distinct from kept.creator
anti join came
    on
        gone.value = came.value and gone.tag = came.tag and gone.vr = came.vr
        and gone.creator is not distinct from came.creator
