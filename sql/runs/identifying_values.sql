-- Values that may identify a person, each once per attribute.
select distinct
    elements.tag,
    elements.keyword,
    elements.vr,
    elements.creator,
    elements.text
from normal_elements as elements
left join (select path, is_identifying_path(path) as is_hidden from (select distinct path from elements)) as paths
    on elements.path = paths.path
where
    elements.text is not null
    and length(elements.text) between 3 and 65536
    and (paths.is_hidden or is_identifying(elements.tag, elements.keyword, elements.vr))
