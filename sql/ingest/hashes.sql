-- A hash of each path and of each identity that a part of `files`, or a batch, holds.
--
-- reads:     hashed
select hash(path) as hash
from hashed
union all
select hash(instance_key) as hash
from hashed
where instance_key is not null
