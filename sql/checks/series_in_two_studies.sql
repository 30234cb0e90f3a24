-- A series belongs to one study.
--
-- depends: instances
-- severity: warn
select series_key, list_sort(list(distinct study_key)) as studies
from instances
where series_key is not null
group by series_key
having count(distinct study_key) > 1
