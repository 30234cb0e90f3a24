-- No instance is stored twice.
--
-- depends: instances
select instance_key, count(*) as n
from instances
group by instance_key
having count(*) > 1
