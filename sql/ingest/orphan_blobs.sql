-- Digests of long values that no row of the new version points to any more.
--
-- variables: inline_bytes, kept, removed
select distinct sha256
from read_parquet(getvariable('removed'))
where
    length > getvariable('inline_bytes')
    and sha256 is not null
    and sha256 not in (
        select sha256
        from read_parquet(getvariable('kept'))
        where sha256 is not null and length > getvariable('inline_bytes')
    )
