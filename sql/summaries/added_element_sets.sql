-- Sets of several sets of parts → those of all together; pieces of parts that went have the sign -1.
select
    series_key,
    kind_set,
    cast(sum(sign * instance_count) as bigint) as instance_count
from pieces
group by series_key, kind_set
having sum(sign * instance_count) > 0
