-- Texts of attributes that identify nobody, in lower case, each once; in sequences too.
select distinct lower(elements.text) as harmless
from normal_elements as elements
where
    elements.text is not null
    and length(elements.text) >= 5
    and not is_identifying(elements.tag, elements.keyword, elements.vr)
