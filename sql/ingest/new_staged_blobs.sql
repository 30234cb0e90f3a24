-- Digests of long values that were staged with rows that point to them, all of which the batch adds,
-- and that the warehouse does not hold.
--
-- variables: blobs_files, staged_blobs
select distinct sha256
from read_parquet(getvariable('staged_blobs'))
where sha256 not in (select sha256 from read_parquet(getvariable('blobs_files')))
