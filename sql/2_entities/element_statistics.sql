-- One row per kind of element with values: statistics of the values, and an example.
--
-- Distinct values are counted up to 1,000; beyond, `distinct_count` is an estimate and `is_estimated` says
-- so. Of one element, `element_values` has them all. The example is the smallest value as text and is withheld where a value may identify a person:
-- see `is_identifying`.
--
-- grain:   tag, creator, vr
-- depends: element_summaries, element_sketches, element_counts
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  keyword | VARCHAR | DICOM keyword; null if the dictionary has none
-- column:  creator | VARCHAR | private creator; null for standard elements and unreserved blocks
-- column:  vr | VARCHAR | Value Representation
-- column:  element_count | BIGINT | elements, in sequences too, empty ones too
-- column:  instance_count | BIGINT | instances in which it occurs
-- column:  distinct_count | BIGINT | distinct values; null for sequences and pixel data
-- column:  is_estimated | BOOLEAN | there are more than 1,000 distinct values; their number is estimated, with a standard error of 3 %
-- column:  min_integer | BIGINT | smallest
-- column:  max_integer | BIGINT | largest
-- column:  min_real | DOUBLE | smallest, NaN left out
-- column:  max_real | DOUBLE | largest, NaN left out
-- column:  min_date | DATE | earliest
-- column:  max_date | DATE | latest
-- column:  min_timestamp | TIMESTAMP | earliest value: in UTC if it has an offset, otherwise as written
-- column:  max_timestamp | TIMESTAMP | latest value: in UTC if it has an offset, otherwise as written
-- column:  max_vm | INTEGER | most values of one element
-- column:  max_length | BIGINT | bytes of the longest binary value
-- column:  example | VARCHAR | one value; null if it may identify a person or has no text
create or replace view element_statistics as
select
    found.tag,
    found.keyword,
    found.creator,
    found.vr,
    found.element_count,
    coalesce(counts.instance_count, 0) as instance_count,
    -- So many of 2^64 hashes lie below the last: the density of all.
    if(
        len(sketches.hash_values) <= 1000, len(sketches.hash_values),
        cast(round(1000 / (cast(sketches.hash_values[1001] as double) / pow(2, 64))) as bigint)
    ) as distinct_count,
    coalesce(len(sketches.hash_values) > 1000, false) as is_estimated,
    found.min_integer,
    found.max_integer,
    found.min_real,
    found.max_real,
    found.min_date,
    found.max_date,
    found.min_timestamp,
    found.max_timestamp,
    found.max_vm,
    found.max_length,
    found.example
from element_summaries as found
left join element_counts as counts
    on
        found.tag = counts.tag
        and found.creator is not distinct from counts.creator
        and found.vr = counts.vr
left join element_sketches as sketches
    on
        found.tag = sketches.tag
        and found.creator is not distinct from sketches.creator
        and found.vr = sketches.vr;
