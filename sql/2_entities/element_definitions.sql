-- One row per kind of element that occurs: tag, private creator and VR.
--
-- The same private tag in two blocks is two rows; group by creator and the last two digits of the
-- tag to join them. A tag with more than one row of one creator has a VR conflict.
--
-- grain:   tag, creator, vr
-- example: select tag, keyword, instance_count from element_definitions limit 5
-- depends: elements, instances
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  keyword | VARCHAR | DICOM keyword; null if the dictionary has none
-- column:  creator | VARCHAR | private creator; null for standard elements and unreserved blocks
-- column:  vr | VARCHAR | Value Representation
-- column:  is_private | BOOLEAN | the group is odd
-- column:  element_count | BIGINT | elements, in sequences too; one of several values counts once
-- column:  value_count | BIGINT | values
-- column:  empty_count | BIGINT | elements without a value
-- column:  instance_count | BIGINT | instances in which it occurs
-- column:  series_count | BIGINT | series in which it occurs
-- column:  warning_count | BIGINT | values that could not be read strictly
create or replace view element_definitions as
with
    -- Counted by series first: distinct counts over all values would fill the memory.
    in_series as (
        select
            elements.tag,
            any_value(elements.keyword) as keyword,
            elements.creator,
            elements.vr,
            instances.series_key,
            count(*) filter (where elements."index" = 0) as element_count,
            count(*) filter (where elements.vm > 0) as value_count,
            count(*) filter (where elements.vm = 0) as empty_count,
            count(elements.warning) as warning_count
        from elements
        join instances on elements.instance_id = instances.instance_id
        group by elements.tag, elements.creator, elements.vr, instances.series_key
    ),

    gathered as (
        select
            tag,
            any_value(keyword) as keyword,
            creator,
            vr,
            cast(sum(element_count) as bigint) as element_count,
            cast(sum(value_count) as bigint) as value_count,
            cast(sum(empty_count) as bigint) as empty_count,
            count(series_key) as series_count,
            cast(sum(warning_count) as bigint) as warning_count
        from in_series
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
    instr('13579BDF', gathered.tag[4]) > 0 as is_private,
    gathered.element_count,
    gathered.value_count,
    gathered.empty_count,
    coalesce(repeated.instance_count, gathered.element_count) as instance_count,
    gathered.series_count,
    gathered.warning_count
from gathered
left join repeated
    on
        gathered.tag = repeated.tag
        and gathered.creator is not distinct from repeated.creator
        and gathered.vr = repeated.vr;
