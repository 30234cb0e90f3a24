-- One row per series and set of kinds of element that instances of it have: how many instances have it.
--
-- Most instances of a series have the same elements, so this is small; and since it is a sum over
-- instances, the rows of two archives can be added. `element_counts` says it by kind of element.
--
-- grain:   series_key, kinds
-- kept:    at 5,000 instances or 1,000,000 rows of elements and more, by the ingest
-- depends: elements, instances
-- column:  series_key | VARCHAR | identity of the series; null for a DICOMDIR
-- column:  kinds | VARCHAR | JSON, an array of objects with `tag`, `creator` and `vr`, in this order; those in sequences too
-- column:  instance_count | BIGINT | instances with these kinds of element and no other
create or replace view element_sets as
with
    -- A bit per instance: of a hundred kinds, most are in the same instances and so become one class.
    in_blocks as (
        select
            tag,
            creator,
            vr,
            instance_id >> 12 as block,
            bitstring_agg(cast(instance_id & 4095 as integer), 0, 4095) as bits
        from elements
        where "index" = 0
        group by tag, creator, vr, block
    ),

    classes as (
        select
            block,
            bits,
            list({'tag': tag, 'creator': creator, 'vr': vr}) as kinds,
            row_number() over () as class
        from in_blocks
        group by block, bits
    ),

    of_instances as (
        select
            instance_id,
            list(class order by class) as classes
        from (
            select
                (block << 12) | place as instance_id,
                class
            from classes
            cross join (select unnest(range(4096)) as place)
            where get_bit(bits, cast(place as integer)) = 1
        )
        group by instance_id
    ),

    in_series as (
        select
            instances.series_key,
            of_instances.classes,
            count(*) as instance_count
        from of_instances
        left join instances on of_instances.instance_id = instances.instance_id
        group by instances.series_key, of_instances.classes
    ),

    -- The same kinds are other classes in another block.
    named as (
        select
            sets.classes,
            cast(to_json(list_sort(flatten(list(classes.kinds)))) as varchar) as kinds
        from (select classes, unnest(classes) as class from (select distinct classes from in_series)) as sets
        join classes on sets.class = classes.class
        group by sets.classes
    )

select
    in_series.series_key,
    named.kinds,
    cast(sum(in_series.instance_count) as bigint) as instance_count
from in_series
join named on in_series.classes = named.classes
group by in_series.series_key, named.kinds;
