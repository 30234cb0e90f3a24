-- One row per run of instances with consecutive ids that have the same kinds of element.
--
-- grain:   first_id
-- depends: element_runs
-- column:  first_id | BIGINT | the first `instance_id`
-- column:  past_id | BIGINT | the id after the last
-- column:  kinds | VARCHAR | JSON, an array of objects with `tag`, `creator` and `vr`, in this order; includes elements in sequences
create or replace view element_segments as
with
    -- Runs of other values of the same kind are one range of ids.
    neighbors as materialized (
        select
            tag,
            creator,
            vr,
            first_id,
            first_id + run_length as past_id,
            lag(past_id) over () as past_before,
            lag(tag) over () as tag_before,
            lag(creator) over () as creator_before,
            lag(vr) over () as vr_before,
            row_number() over () as place
        from element_runs
        where "index" = 0
    ),

    ranges as (
        select
            tag,
            creator,
            vr,
            first_id,
            coalesce(
                lead(past_before) over (order by place), (select arg_max(last.past_id, last.place) from neighbors as last)
            ) as past_id
        from neighbors
        where
            first_id is distinct from past_before
            or tag is distinct from tag_before
            or vr is distinct from vr_before
            or creator is distinct from creator_before
    ),

    -- Between two ends of ranges, all instances have the same kinds.
    segments as (
        select
            cut as first_id,
            lead(cut) over (order by cut) as past_id
        from (select distinct unnest([first_id, past_id]) as cut from ranges)
    )

select
    segments.first_id,
    segments.past_id,
    cast(to_json(list_sort(list(distinct
        {'tag': ranges.tag, 'creator': ranges.creator, 'vr': ranges.vr}
    ))) as varchar) as kinds
from segments
join ranges on segments.first_id >= ranges.first_id and segments.first_id < ranges.past_id
group by segments.first_id, segments.past_id;
