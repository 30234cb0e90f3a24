-- What the frames of the series $1 count: pointers of their dimensions, and of their increments; and of which
-- concatenation they are a part, after how many of its frames.
select
    elements.instance_id,
    elements.tag,
    try_cast(regexp_extract(elements.path, '^DimensionIndexSequence\[(\d+)\]$', 1) as bigint) as item,
    coalesce(elements.text, cast(elements."integer" as varchar)) as text
from elements
semi join instances
    on elements.instance_id = instances.instance_id and instances.series_key = $1
where
    (
        elements.tag = '00209165'
        and regexp_full_match(elements.path, 'DimensionIndexSequence\[\d+\]')
    )
    or (elements.tag in ('00209161', '00209228', '00280009') and elements.path = '')
order by elements.instance_id, elements.tag, item, elements."index"
