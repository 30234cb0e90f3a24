-- Digests of long values that rows of this batch point to and the warehouse does not hold.
--
-- variables: added, blobs_files, inline_bytes
select distinct sha256
from read_parquet(getvariable('added'))
where
    length > getvariable('inline_bytes')
    and sha256 is not null
    and sha256 not in (select sha256 from read_parquet(getvariable('blobs_files')))
