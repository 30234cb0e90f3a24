-- A standard element has one VR in the whole warehouse; US beside SS and OB beside OW are allowed.
--
-- depends: element_definitions
-- severity: warn
select tag, keyword, list_sort(list(vr)) as vrs
from element_definitions
where not is_private
group by tag, keyword
having count(*) > 1 and not list_sort(list(vr)) in (['SS', 'US'], ['OB', 'OW'])
