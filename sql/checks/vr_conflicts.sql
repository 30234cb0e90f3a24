-- A standard element has one VR in the whole warehouse, or those that PS3.6 has for it.
--
-- depends: element_conflicts
-- severity: warn
select element as tag, keyword, list_sort(vrs) as vrs
from element_conflicts
where creator is null and not is_allowed and cast('0x' || left(element, 4) as integer) % 2 = 0
