-- One row per distinct binary value of over 256 bytes that is not pixel data: CSA, ICC, LUTs, overlays.
--
-- grain:   sha256
-- table:   blobs
-- column:  batch | VARCHAR | ingest batch that read the value first, or the first of those compacted together
-- column:  sha256 | VARCHAR | digest of the bytes, as in `elements`
-- column:  length | BIGINT | number of bytes
-- column:  bytes | BLOB | the value field as it stands in the file
create or replace view blobs as
select batch, sha256, length, bytes
from read_parquet(
    getvariable('stored').blobs, hive_partitioning = true, hive_types = {'batch': varchar}
);
