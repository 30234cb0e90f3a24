-- One row per element that occurs with more than one VR.
--
-- Private elements are the same whatever their block. Elements for which the standard has several
-- VRs, such as `US or SS`, are listed too, because a query over typed columns has to know.
--
-- grain:   element, creator
-- depends: element_definitions
-- column:  element | VARCHAR | tag; of a private element without its block, such as 0019xx9C
-- column:  keyword | VARCHAR | DICOM keyword; null if the dictionary has none
-- column:  creator | VARCHAR | private creator
-- column:  vrs | VARCHAR[] | Value Representations, the most frequent first
-- column:  element_counts | BIGINT[] | elements of each
-- column:  is_allowed | BOOLEAN | PS3.6 has all of these VRs for the element
create or replace view element_conflicts as
with
    counted as (
        select
            if(is_private and creator is not null, block_free_tag(tag), tag) as element,
            any_value(keyword) as keyword,
            creator,
            vr,
            cast(sum(element_count) as bigint) as element_count
        from element_definitions
        group by element, creator, vr
    )

select
    element,
    any_value(keyword) as keyword,
    creator,
    list(vr order by element_count desc, vr asc) as vrs,
    list(element_count order by element_count desc, vr asc) as element_counts,
    creator is null and coalesce(
        list_has_all(string_split(keyword_fields(element)[2], ' or '), list(vr)),
        -- Curves and overlays, whose groups repeat.
        left(element, 2) in ('50', '60') and list_sort(list(vr)) = ['OB', 'OW']
    ) as is_allowed
from counted
group by element, creator
having count(*) > 1;
