-- One row per kind of element: in how many instances and series it occurs.
--
-- grain:   tag, creator, vr
-- depends: element_sets
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  creator | VARCHAR | private creator; null for standard elements and unreserved blocks
-- column:  vr | VARCHAR | Value Representation
-- column:  instance_count | BIGINT | instances in which it occurs
-- column:  series_count | BIGINT | series in which it occurs
create or replace view element_counts as
with
    found as materialized (select series_key, kinds, instance_count from element_sets),

    sets as (
        select
            kinds,
            row_number() over () as set_number,
            cast(sum(instance_count) as bigint) as instance_count
        from found
        group by kinds
    ),

    of_sets as (
        select
            set_number,
            instance_count,
            unnest(from_json(kinds, '[{"tag": "VARCHAR", "creator": "VARCHAR", "vr": "VARCHAR"}]')) as kind
        from sets
    ),

    -- Series that have the same sets are counted together.
    in_series as (
        select
            set_numbers,
            row_number() over () as profile,
            count(*) as series_count
        from (
            select list(sets.set_number order by sets.set_number) as set_numbers
            from found
            join sets on found.kinds = sets.kinds
            where found.series_key is not null
            group by found.series_key
        )
        group by set_numbers
    ),

    by_instances as (
        select
            kind,
            cast(sum(instance_count) as bigint) as instance_count
        from of_sets
        group by kind
    ),

    by_series as (
        select
            kind,
            cast(sum(series_count) as bigint) as series_count
        from (
            select distinct
                of_sets.kind,
                profiles.profile,
                profiles.series_count
            from (
                select profile, series_count, unnest(set_numbers) as set_number from in_series
            ) as profiles
            join of_sets on profiles.set_number = of_sets.set_number
        )
        group by kind
    )

select
    by_instances.kind.tag,
    by_instances.kind.creator,
    by_instances.kind.vr,
    by_instances.instance_count,
    coalesce(by_series.series_count, 0) as series_count
from by_instances
left join by_series on by_instances.kind = by_series.kind;
