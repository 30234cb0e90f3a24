-- One row per series and set of kinds of element: the number of instances with this set.
--
-- Most instances of a series have the same elements, so this is small; and since it is a sum over
-- instances, the rows of two archives can be added. `element_set_kinds` says which kinds are in a set, and
-- `element_counts` counts by kind of element.
--
-- grain:   series_key, kind_set
-- kept:    at 5,000 instances or 1,000,000 rows of elements and more, by the ingest
-- depends: element_segments, instances
-- column:  series_key | VARCHAR | identity of the series; null for a DICOMDIR
-- column:  kind_set | VARCHAR | digest of the kinds; key to `element_set_kinds`
-- column:  instance_count | BIGINT | instances with these kinds of element and no other
create or replace view element_sets as
with
    segments as (
        select
            first_id,
            past_id,
            sha256(kinds) as kind_set
        from element_segments
    ),

    ids as (
        select
            kind_set,
            unnest(range(first_id, past_id)) as instance_id
        from segments
    )

select
    instances.series_key,
    ids.kind_set,
    count(*) as instance_count
from ids
left join instances on ids.instance_id = instances.instance_id
group by instances.series_key, ids.kind_set;
