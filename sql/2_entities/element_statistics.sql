-- One row per kind of element that has values: what its values are like, and one of them.
--
-- It reads every value of the archive and is therefore a view apart from `element_definitions`.
-- The example is the smallest value as text and is withheld where a value may identify a person:
-- see `is_identifying`.
--
-- grain:   tag, creator, vr
-- depends: elements, normal_elements
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  keyword | VARCHAR | DICOM keyword; null if the dictionary has none
-- column:  creator | VARCHAR | private creator; null for standard elements and unreserved blocks
-- column:  vr | VARCHAR | Value Representation
-- column:  element_count | BIGINT | elements, in sequences too, empty ones too
-- column:  instance_count | BIGINT | instances in which it occurs
-- column:  distinct_count | BIGINT | distinct values; null for sequences and pixel data
-- column:  min_integer | BIGINT | smallest
-- column:  max_integer | BIGINT | largest
-- column:  min_real | DOUBLE | smallest
-- column:  max_real | DOUBLE | largest
-- column:  min_date | DATE | earliest
-- column:  max_date | DATE | latest
-- column:  min_timestamp | TIMESTAMP | earliest, of those with an offset in UTC, of the others as written
-- column:  max_timestamp | TIMESTAMP | latest, of those with an offset in UTC, of the others as written
-- column:  max_vm | INTEGER | most values of one element
-- column:  max_length | BIGINT | bytes of the longest binary value
-- column:  example | VARCHAR | one value; null if it may identify a person or has no text
create or replace view element_statistics as
with
    -- Asked of each path once: it takes longer than all the rest together.
    withheld as (
        select path
        from (select distinct path from elements where path != '')
        where is_identifying_path(path)
    ),

    valued as (
        select
            elements.*,
            coalesce(
                elements.text, cast(elements."integer" as varchar),
                cast(elements."real" as varchar), elements.sha256
            ) as value,
            withheld.path is not null as is_withheld
        from normal_elements as elements
        left join withheld on elements.path = withheld.path
    ),

    gathered as (
        select
            tag,
            any_value(keyword) as keyword,
            creator,
            vr,
            count(*) filter (where "index" = 0) as element_count,
            if(vr = 'SQ' or count(value) = 0, null, count(distinct value)) as distinct_count,
            min("integer") as min_integer,
            max("integer") as max_integer,
            min("real") as min_real,
            max("real") as max_real,
            min("date") as min_date,
            max("date") as max_date,
            min("timestamp") as min_timestamp,
            max("timestamp") as max_timestamp,
            max(vm) as max_vm,
            max(length) as max_length,
            min(nullif(if(sha256 is null, value, null), '')) filter (
                where not is_withheld
            ) as smallest
        from valued
        group by tag, creator, vr
    ),

    -- An instance has an element once, but in the items of sequences: only these are told apart.
    repeated as (
        select
            tag,
            creator,
            vr,
            count(distinct instance_id) as instance_count
        from elements
        where "index" = 0 and tag in (select nested.tag from elements as nested where nested.path != '')
        group by tag, creator, vr
    )

select
    gathered.tag,
    gathered.keyword,
    gathered.creator,
    gathered.vr,
    gathered.element_count,
    coalesce(repeated.instance_count, gathered.element_count) as instance_count,
    gathered.* exclude (tag, keyword, creator, vr, element_count, smallest),
    if(
        is_identifying(gathered.tag, gathered.keyword, gathered.vr) or gathered.vr = 'SQ',
        null, gathered.smallest
    ) as example
from gathered
left join repeated
    on
        gathered.tag = repeated.tag
        and gathered.creator is not distinct from repeated.creator
        and gathered.vr = repeated.vr;
