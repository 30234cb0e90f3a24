-- One row per private element that occurs, in any block, with its name.
--
-- Names come from the dictionaries that users added (`dicom-warehouse dictionary add FILE`), then
-- from pydicom's: the catalog makes `pydicom_dictionary()` of the one and sets the variable
-- `private_dictionary` to the other. Join it by creator and block-free tag:
-- `creator = p.creator and block_free_tag(tag) = p.element`.
--
-- grain:   creator, element
-- depends: element_summaries
-- column:  creator | VARCHAR | private creator
-- column:  element | VARCHAR | tag without its block, such as 0019xx9C
-- column:  name | VARCHAR | from a dictionary; null if it is in none
-- column:  dictionary_vr | VARCHAR | Value Representation that the dictionary states
-- column:  source | VARCHAR | source of the dictionary: user or pydicom
-- column:  vrs | VARCHAR[] | Value Representations in which it occurs
-- column:  tags | VARCHAR[] | tags with which it occurs, one per block
-- column:  element_count | BIGINT | elements
create or replace view private_names as
with
    occurring as (
        select
            creator,
            block_free_tag(tag) as element,
            list_sort(list(distinct vr)) as vrs,
            list_sort(list(distinct tag)) as tags,
            cast(sum(element_count) as bigint) as element_count
        from element_summaries
        where instr('13579BDF', tag[4]) > 0 and creator is not null
        group by all
    ),

    stated as (
        select
            string_split(line, chr(9)) as fields,
            'user' as source
        from (select unnest(string_split(getvariable('private_dictionary'), chr(10))) as line)
        union all
        select
            string_split(line, chr(9)) as fields,
            'pydicom' as source
        from (select unnest(string_split(pydicom_dictionary(), chr(10))) as line)
    ),

    known as (
        select distinct on (fields[1], fields[2])
            fields[1] as creator,
            fields[2] as element,
            fields[3] as vr,
            fields[4] as name,
            source
        from stated
        order by fields[1], fields[2], source desc
    )

select
    occurring.creator,
    occurring.element,
    coalesce(exact.name, any_group.name) as name,
    coalesce(exact.vr, any_group.vr) as dictionary_vr,
    coalesce(exact.source, any_group.source) as source,
    occurring.vrs,
    occurring.tags,
    occurring.element_count
from occurring
left join known as exact
    on occurring.creator = exact.creator and occurring.element = exact.element
left join known as any_group
    on
        occurring.creator = any_group.creator
        and any_group.element = occurring.element[:2] || 'xxxx' || occurring.element[7:];
