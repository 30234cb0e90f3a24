-- Summaries of several sets of parts → those of all together; pieces of parts that went have the sign -1.
--
-- What is smallest and largest is right unless it went: see `lost`.
select
    tag,
    any_value(keyword) as keyword,
    creator,
    vr,
    cast(sum(sign * element_count) as bigint) as element_count,
    cast(sum(sign * value_count) as bigint) as value_count,
    cast(sum(sign * empty_count) as bigint) as empty_count,
    cast(sum(sign * warning_count) as bigint) as warning_count,
    min(min_integer) filter (where sign > 0) as min_integer,
    max(max_integer) filter (where sign > 0) as max_integer,
    min(min_real) filter (where sign > 0) as min_real,
    max(max_real) filter (where sign > 0) as max_real,
    min(min_date) filter (where sign > 0) as min_date,
    max(max_date) filter (where sign > 0) as max_date,
    min(min_timestamp) filter (where sign > 0) as min_timestamp,
    max(max_timestamp) filter (where sign > 0) as max_timestamp,
    max(max_vm) filter (where sign > 0) as max_vm,
    max(max_length) filter (where sign > 0) as max_length,
    min(example) filter (where sign > 0) as example
from pieces
group by tag, creator, vr
having sum(sign * element_count) > 0
