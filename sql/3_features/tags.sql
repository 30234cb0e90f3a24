-- One row per kind of element that occurs, as `dicom-warehouse tags` lists it.
--
-- grain:   tag, creator, vr
-- example: select tag, name, vr, instance_count from tags where name = 'EchoTime'
-- depends: element_statistics, private_names
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  name | VARCHAR | DICOM keyword, or the name from the private dictionaries in brackets
-- column:  vr | VARCHAR | Value Representation
-- column:  creator | VARCHAR | private creator; null for standard elements and unreserved blocks
-- column:  element_count | BIGINT | elements, including those in sequences
-- column:  instance_count | BIGINT | instances in which it occurs
-- column:  distinct_count | BIGINT | distinct values; null for sequences and pixel data
-- column:  is_estimated | BOOLEAN | there are more than 1,000 distinct values; their number is estimated, with a standard error of 3 %
-- column:  example | VARCHAR | one value; null if it may identify a person or has no text
-- column:  is_private | BOOLEAN | the group is odd
create or replace view tags as
select
    found.tag,
    coalesce(found.keyword, '[' || private_names.name || ']') as name,
    found.vr,
    found.creator,
    found.element_count,
    found.instance_count,
    found.distinct_count,
    found.is_estimated,
    found.example,
    instr('13579BDF', found.tag[4]) > 0 as is_private
from element_statistics as found
left join private_names
    on
        found.creator = private_names.creator
        and block_free_tag(found.tag) = private_names.element;
