-- One row per kind of element that occurs: tag, private creator and VR.
--
-- The same private tag in two blocks is two rows; group by creator and the last two digits of the
-- tag to join them. A tag with more than one row of one creator has a VR conflict.
--
-- grain:   tag, creator, vr
-- example: select tag, keyword, instance_count from element_definitions limit 5
-- depends: element_summaries, element_counts
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  keyword | VARCHAR | DICOM keyword; null if the dictionary has none
-- column:  creator | VARCHAR | private creator; null for standard elements and unreserved blocks
-- column:  vr | VARCHAR | Value Representation
-- column:  is_private | BOOLEAN | the group is odd
-- column:  element_count | BIGINT | elements, including those in sequences; a multi-valued element counts once
-- column:  value_count | BIGINT | values
-- column:  empty_count | BIGINT | elements without a value
-- column:  instance_count | BIGINT | instances in which it occurs
-- column:  series_count | BIGINT | series in which it occurs
-- column:  warning_count | BIGINT | values that could not be read strictly
create or replace view element_definitions as
select
    found.tag,
    found.keyword,
    found.creator,
    found.vr,
    instr('13579BDF', found.tag[4]) > 0 as is_private,
    found.element_count,
    found.value_count,
    found.empty_count,
    coalesce(counts.instance_count, 0) as instance_count,
    coalesce(counts.series_count, 0) as series_count,
    found.warning_count
from element_summaries as found
left join element_counts as counts
    on
        found.tag = counts.tag
        and found.creator is not distinct from counts.creator
        and found.vr = counts.vr;
