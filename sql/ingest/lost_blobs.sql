-- Instances that point to a long value which is in no part of `blobs` that is left.
--
-- variables: elements, inline_bytes, left_parts
select distinct instance_id
from read_parquet(getvariable('elements'))
where
    length > getvariable('inline_bytes')
    and sha256 is not null
    and sha256 not in (select sha256 from read_parquet(getvariable('left_parts')))
