-- Dose Types (3004,0004) of the objects of the series $1, in order.
select distinct normal_elements.text
from normal_elements
join instances on normal_elements.instance_id = instances.instance_id
where
    instances.series_key = $1 and normal_elements.tag = '30040004' and normal_elements.path = ''
    and normal_elements."index" = 0 and normal_elements.text is not null
order by normal_elements.text
