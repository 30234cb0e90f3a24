-- One row per kind of element: counts that can be added up over parts of an archive, and ranges of values.
--
-- `element_definitions` and `element_statistics` read it. Large warehouses keep its answer, and that of
-- `element_sketches` and `element_sets`: an ingest summarizes what is new and adds it.
-- The example is the smallest value as text and is withheld where a value may identify a person:
-- see `is_identifying`.
--
-- grain:   tag, creator, vr
-- kept:    at 5,000 instances or 1,000,000 rows of elements and more, by the ingest
-- depends: element_runs
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  keyword | VARCHAR | DICOM keyword; null if the dictionary has none
-- column:  creator | VARCHAR | private creator; null for standard elements and unreserved blocks
-- column:  vr | VARCHAR | Value Representation
-- column:  element_count | BIGINT | elements, including those in sequences; a multi-valued element counts once
-- column:  value_count | BIGINT | values
-- column:  empty_count | BIGINT | elements without a value
-- column:  warning_count | BIGINT | values that could not be read strictly
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
create or replace view element_summaries as
with
    -- Asked of each path once: it takes longer than all the rest together.
    withheld as (
        select path
        from (select distinct path from element_runs where path != '')
        where is_identifying_path(path)
    ),

    gathered as (
        select
            tag,
            any_value(keyword) as keyword,
            creator,
            vr,
            cast(sum(if("index" = 0, run_length, 0)) as bigint) as element_count,
            cast(sum(if(vm > 0, run_length, 0)) as bigint) as value_count,
            cast(sum(if(vm = 0, run_length, 0)) as bigint) as empty_count,
            cast(sum(if(has_warning, run_length, 0)) as bigint) as warning_count,
            min("integer") as min_integer,
            max("integer") as max_integer,
            -- NaN would be larger than all numbers.
            min("real") filter (where not isnan("real")) as min_real,
            max("real") filter (where not isnan("real")) as max_real,
            min("date") as min_date,
            max("date") as max_date,
            min("timestamp") as min_timestamp,
            max("timestamp") as max_timestamp,
            max(vm) as max_vm,
            max(length) as max_length,
            min(nullif(coalesce(text, cast("integer" as varchar), cast("real" as varchar)), '')) filter (
                where sha256 is null and (path = '' or path not in (select withheld.path from withheld))
            ) as smallest
        from element_runs
        group by tag, creator, vr
    )

select
    * exclude (smallest),
    if(is_identifying(tag, keyword, vr) or vr = 'SQ', null, smallest) as example
from gathered;
