-- One row per kind of element that occurs: tag, private creator and VR.
--
-- The same private tag in two blocks is two rows; group by creator and the last two digits of the
-- tag to join them. A tag with more than one row of one creator has a VR conflict.
--
-- grain:   tag, creator, vr
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
select
    elements.tag,
    any_value(elements.keyword) as keyword,
    elements.creator,
    elements.vr,
    instr('13579BDF', elements.tag[4]) > 0 as is_private,
    count(*) filter (where elements."index" = 0) as element_count,
    count(*) filter (where elements.vm > 0) as value_count,
    count(*) filter (where elements.vm = 0) as empty_count,
    count(distinct elements.instance_id) as instance_count,
    count(distinct instances.series_key) as series_count,
    count(elements.warning) as warning_count
from elements
join instances on elements.instance_id = instances.instance_id
group by elements.tag, elements.creator, elements.vr;
