-- One row per series and set of kinds of element that instances of it have: how many instances have it.
--
-- Most instances of a series have the same elements, so this is small; and since it is a sum over
-- instances, the rows of two archives can be added. `element_counts` says it by kind of element.
--
-- grain:   series_key, kinds
-- kept:    at 5,000 instances or 1,000,000 rows of elements and more, by the ingest
-- depends: element_runs, instances
-- column:  series_key | VARCHAR | identity of the series; null for a DICOMDIR
-- column:  kinds | VARCHAR | JSON, an array of objects with `tag`, `creator` and `vr`, in this order; those in sequences too
-- column:  instance_count | BIGINT | instances with these kinds of element and no other
create or replace view element_sets as
with
    -- Runs of other values of the same kind are one range of ids.
    neighbours as materialized (
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
                lead(past_before) over (order by place), (select arg_max(last.past_id, last.place) from neighbours as last)
            ) as past_id
        from neighbours
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
    ),

    of_segments as (
        select
            segments.first_id,
            segments.past_id,
            cast(to_json(list_sort(list(distinct
                {'tag': ranges.tag, 'creator': ranges.creator, 'vr': ranges.vr}
            ))) as varchar) as kinds
        from segments
        join ranges on segments.first_id >= ranges.first_id and segments.first_id < ranges.past_id
        group by segments.first_id, segments.past_id
    ),

    in_series as (
        select
            instances.series_key,
            ids.segment,
            count(*) as instance_count
        from (
            select
                first_id as segment,
                unnest(range(first_id, past_id)) as instance_id
            from of_segments
        ) as ids
        left join instances on ids.instance_id = instances.instance_id
        group by instances.series_key, ids.segment
    )

select
    in_series.series_key,
    of_segments.kinds,
    cast(sum(in_series.instance_count) as bigint) as instance_count
from in_series
join of_segments on in_series.segment = of_segments.first_id
group by in_series.series_key, of_segments.kinds;
