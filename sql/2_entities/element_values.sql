-- One row per distinct value of each kind of element, with how often and where it occurs.
--
-- Ask for one element: `from element_values where keyword = 'ImageType'`. Of several values of an
-- element each counts by itself. Long binary values are known by their digest; pixel data and
-- sequences are left out, and so are empty elements.
--
-- grain:   tag, creator, vr, value
-- example: select value, series_count from element_values where keyword = 'ImageType'
-- depends: element_summaries, normal_elements, instances
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  keyword | VARCHAR | DICOM keyword; null if the dictionary has none
-- column:  creator | VARCHAR | private creator; null for standard elements and unreserved blocks
-- column:  vr | VARCHAR | Value Representation
-- column:  value | VARCHAR | as text; a person's name as written, binary values by their digest
-- column:  value_count | BIGINT | values equal to it
-- column:  element_count | BIGINT | elements that hold it, in sequences too
-- column:  instance_count | BIGINT | instances in which it occurs
-- column:  image_count | BIGINT | of these, instances with pixel data
-- column:  series_count | BIGINT | series in which it occurs
create or replace view element_values as
with
    -- So that a condition on the keyword reads the rows of its tag alone.
    names as (
        select
            tag,
            any_value(keyword) as keyword
        from element_summaries
        group by tag
    ),

    -- Counted step by step: distinct counts over all rows take ten times as long.
    by_element as (
        select
            elements.tag,
            names.keyword,
            elements.creator,
            elements.vr,
            coalesce(
                if(elements.vr = 'PN', person_name_text(elements.text), elements.text),
                cast(elements."integer" as varchar), cast(elements."real" as varchar), elements.sha256
            ) as value,
            elements.instance_id,
            elements.path,
            count(*) as value_count
        from names
        join normal_elements as elements on names.tag = elements.tag
        where
            elements.vm > 0 and elements.vr != 'SQ'
            and coalesce(
                elements.text, cast(elements."integer" as varchar), cast(elements."real" as varchar),
                elements.sha256
            ) is not null
        group by
            elements.tag, names.keyword, elements.creator, elements.vr, value, elements.instance_id, elements.path
    ),

    by_instance as (
        select
            tag,
            keyword,
            creator,
            vr,
            value,
            instance_id,
            sum(value_count) as value_count,
            count(*) as element_count
        from by_element
        group by tag, keyword, creator, vr, value, instance_id
    ),

    by_series as (
        select
            found.tag,
            found.keyword,
            found.creator,
            found.vr,
            found.value,
            instances.series_key,
            sum(found.value_count) as value_count,
            sum(found.element_count) as element_count,
            count(*) as instance_count,
            count(instances.pixel_offset) as image_count
        from by_instance as found
        join instances on found.instance_id = instances.instance_id
        group by found.tag, found.keyword, found.creator, found.vr, found.value, instances.series_key
    )

select
    tag,
    keyword,
    creator,
    vr,
    value,
    cast(sum(value_count) as bigint) as value_count,
    cast(sum(element_count) as bigint) as element_count,
    cast(sum(instance_count) as bigint) as instance_count,
    cast(sum(image_count) as bigint) as image_count,
    count(series_key) as series_count
from by_series
group by tag, keyword, creator, vr, value;
