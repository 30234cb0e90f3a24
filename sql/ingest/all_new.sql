-- What becomes of the files of a batch of which the warehouse knows none, neither by path nor by
-- instance, and no two of which hold the same instance: what `resolve` says of them, without a join.
--
-- reads: staged
-- makes: verdict, touched
create or replace temp table verdict as
select
    path,
    instance_id,
    case status when 'ingested' then 'created' else status end as outcome,
    status,
    false as is_unreachable
from staged;

create or replace temp table touched as
select path, instance_id, cast(null as varchar) as becomes
from staged limit 0;
