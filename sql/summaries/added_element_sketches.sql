-- Sketches of several sets of parts → those of all together, unless a value of them went: see `lost`.
select
    tag,
    creator,
    vr,
    min(value, 1001) as hash_values
from (select distinct tag, creator, vr, unnest(hash_values) as value from pieces where sign > 0)
group by tag, creator, vr
