-- Series that lack instances, and how many they had: `sizes` says it of each instance.
select
    instances.series_key,
    count(*) as instance_count,
    max(sizes.instance_count) as whole_count
from instances
inner join sizes on instances.instance_key = sizes.instance_key
group by instances.series_key
having count(*) <> max(sizes.instance_count)
