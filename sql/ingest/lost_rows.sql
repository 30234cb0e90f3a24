-- Instances whose rows of a table are in no part of it that is left.
--
-- reads:     files
-- variables: is_kept_in_minimal, left_parts
select instance_id
from files
where
    status = 'ingested'
    and (getvariable('is_kept_in_minimal') or mode <> 'minimal')
    and instance_id not in (select instance_id from read_parquet(getvariable('left_parts')))
