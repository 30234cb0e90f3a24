-- One row per kind of element with values: a sample of its distinct values, by their hashes.
--
-- The hashes are those of the 1,001 distinct values that have the smallest ones. Where there are no more
-- than 1,000 distinct values, all are there and can be counted; else the largest of these hashes says how
-- densely they lie, and so about how many there are. The sample of two archives together is found in
-- their samples. Hashes are DuckDB's and differ between its versions.
--
-- grain:   tag, creator, vr
-- kept:    at 5,000 instances or 1,000,000 rows of elements and more, by the ingest
-- depends: element_runs
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  creator | VARCHAR | private creator; null for standard elements and unreserved blocks
-- column:  vr | VARCHAR | Value Representation
-- column:  hash_values | UBIGINT[] | the smallest hashes of distinct values, ascending
create or replace view element_sketches as
with
    hashed as (
        select distinct
            tag,
            creator,
            vr,
            hash(coalesce(
                text, cast("integer" as varchar), cast("real" as varchar), sha256
            )) as value
        from element_runs
        where
            vr != 'SQ'
            and (text is not null or "integer" is not null or "real" is not null or sha256 is not null)
    )

select
    tag,
    creator,
    vr,
    min(value, 1001) as hash_values
from hashed
group by tag, creator, vr;
