-- Whether any of the instances with ids from $1 to $2 has functional groups.
select count(*) > 0
from elements
where tag in ('52009229', '52009230') and path = '' and instance_id between $1 and $2
