-- One row per kind of element: the number of instances and series in which it occurs.
--
-- grain:   tag, creator, vr
-- depends: element_sets, element_set_kinds
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  creator | VARCHAR | private creator; null for standard elements and unreserved blocks
-- column:  vr | VARCHAR | Value Representation
-- column:  instance_count | BIGINT | instances in which it occurs
-- column:  series_count | BIGINT | series in which it occurs
create or replace view element_counts as
with
    -- Series that have the same sets are counted together.
    profiles as (
        select
            kind_sets,
            count(series_key) as series_count
        from (
            select
                series_key,
                list(kind_set order by kind_set) as kind_sets
            from element_sets
            group by series_key
        )
        group by kind_sets
    ),

    by_series as (
        select
            tag,
            creator,
            vr,
            cast(sum(series_count) as bigint) as series_count
        from (
            select distinct
                profiles.kind_sets,
                profiles.series_count,
                kinds.tag,
                kinds.creator,
                kinds.vr
            from (select kind_sets, series_count, unnest(kind_sets) as kind_set from profiles) as profiles
            join element_set_kinds as kinds on profiles.kind_set = kinds.kind_set
        )
        group by tag, creator, vr
    ),

    by_instances as (
        select
            kinds.tag,
            kinds.creator,
            kinds.vr,
            cast(sum(sets.instance_count) as bigint) as instance_count
        from (select kind_set, sum(instance_count) as instance_count from element_sets group by kind_set) as sets
        join element_set_kinds as kinds on sets.kind_set = kinds.kind_set
        group by kinds.tag, kinds.creator, kinds.vr
    )

select
    by_instances.tag,
    by_instances.creator,
    by_instances.vr,
    by_instances.instance_count,
    by_series.series_count
from by_instances
join by_series
    on
        by_instances.tag = by_series.tag
        and by_instances.creator is not distinct from by_series.creator
        and by_instances.vr = by_series.vr;
