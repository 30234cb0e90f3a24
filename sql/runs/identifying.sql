-- Attributes of the dictionary that may identify a person, with their VR.
select
    entry[2] as tag,
    entry[3] as vr
from (select string_split(unnest(string_split(keyword_dictionary(), chr(10))), chr(9)) as entry)
where entry[1] != entry[2] and is_identifying(entry[2], entry[1], entry[3])
