-- Payloads with values that are in no part of `vendor_payloads` that is left, once damaged parts have gone.
--
-- variables: left_parts, parts
select distinct payload
from read_parquet(getvariable('parts'))
where payload not in (select payload from read_parquet(getvariable('left_parts')))
