-- How many patients, studies, series and instances the members of a run are.
select
    count(distinct patient_key) as patients,
    count(distinct study_key) as studies,
    count(distinct series_key) as series,
    count(*) as instances
from members
