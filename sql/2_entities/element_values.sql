-- One row per distinct value of each kind of element, with its frequency by entity.
--
-- Ask for one element: `from element_values where keyword = 'ImageType'`. Of several values of an
-- element each counts by itself. Long binary values are known by their digest; pixel data and
-- sequences are left out, and so are empty elements.
--
-- grain:   tag, creator, vr, value
-- example: select value, series_count from element_values where keyword = 'ImageType'
-- depends: element_summaries, elements, instances
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

    -- Instances are counted by 64: those of neighboring ids are a block, and each is a bit of `ids`. Of what
    -- most instances state this leaves a fiftieth of the rows, in whatever order they come.
    stated as (
        select
            elements.tag,
            names.keyword,
            elements.creator,
            elements.vr,
            elements.text,
            if(
                elements.text is null or elements.vr = 'PN',
                coalesce(
                    cast(elements."integer" as varchar), cast(equal_number(elements."real") as varchar),
                    elements.sha256
                ),
                null
            ) as not_text,
            elements.path,
            elements."index",
            elements.instance_id >> 6 as block,
            bit_or(cast(1 as ubigint) << cast(elements.instance_id & 63 as ubigint)) as ids
        from names
        join elements on names.tag = elements.tag
        where
            elements.vm > 0 and elements.vr != 'SQ'
            and (
                elements.text is not null or elements."integer" is not null or elements."real" is not null
                or elements.sha256 is not null
            )
        group by
            elements.tag, names.keyword, elements.creator, elements.vr, elements.text, not_text, elements.path,
            elements."index", block
    ),

    -- Asked once, for two reads of it.
    held as materialized (
        select
            series_key,
            instance_id >> 6 as block,
            min(instance_id) as first_id,
            bit_or(cast(1 as ubigint) << cast(instance_id & 63 as ubigint)) as ids,
            bit_or(
                if(pixel_offset is null, 0, cast(1 as ubigint) << cast(instance_id & 63 as ubigint))
            ) as image_ids
        from instances
        group by series_key, block
    ),

    -- A number for each series is compared faster than its key.
    series_blocks as (
        select
            if(series_key is null, null, min(first_id) over (partition by series_key)) as series_number,
            block,
            ids,
            image_ids
        from held
    ),

    -- Of the indexes of an element each has a value; texts that differ in spaces alone are one from here on.
    by_element as (
        select
            stated.tag,
            stated.keyword,
            stated.creator,
            stated.vr,
            coalesce(
                if(
                    stated.vr = 'PN', person_name_text(normal_text(stated.vr, stated.text)),
                    normal_text(stated.vr, stated.text)
                ),
                stated.not_text
            ) as value,
            stated.path,
            found.series_number,
            stated.block,
            any_value(found.image_ids) as image_ids,
            bit_or(stated.ids & found.ids) as ids,
            sum(bit_count(stated.ids & found.ids)) as value_count
        from stated
        join series_blocks as found on stated.block = found.block and stated.ids & found.ids != 0
        group by
            stated.tag, stated.keyword, stated.creator, stated.vr, value, stated.path, found.series_number,
            stated.block
    ),

    by_block as (
        select
            tag,
            keyword,
            creator,
            vr,
            value,
            series_number,
            any_value(image_ids) as image_ids,
            bit_or(ids) as ids,
            sum(bit_count(ids)) as element_count,
            sum(value_count) as value_count
        from by_element
        group by tag, keyword, creator, vr, value, series_number, block
    ),

    by_series as (
        select
            tag,
            keyword,
            creator,
            vr,
            value,
            series_number,
            sum(value_count) as value_count,
            sum(element_count) as element_count,
            sum(bit_count(ids)) as instance_count,
            sum(bit_count(ids & image_ids)) as image_count
        from by_block
        group by tag, keyword, creator, vr, value, series_number
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
    count(series_number) as series_count
from by_series
group by tag, keyword, creator, vr, value;
