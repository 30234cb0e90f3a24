-- Every element belongs to a stored instance.
--
-- depends: elements, instances
select elements.instance_id, count(*) as n
from elements
left join instances on elements.instance_id = instances.instance_id
where instances.instance_id is null
group by elements.instance_id
