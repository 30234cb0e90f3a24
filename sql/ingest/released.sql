-- Payloads of some parts of `vendor_payloads` that no instance holds once those in `gone` have gone.
--
-- reads:     gone
-- variables: part
select payload
from read_parquet(getvariable('part'))
group by payload
having bool_and(instance_id in (select instance_id from gone))
