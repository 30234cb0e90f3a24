-- Instances that hold a payload whose values are in no part of `vendor_values` that is left.
--
-- variables: left_parts, payloads
select distinct instance_id
from read_parquet(getvariable('payloads'))
where payload not in (select payload from read_parquet(getvariable('left_parts')))
