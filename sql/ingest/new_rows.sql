-- Appended rows that are not stored, the first of equal ones; `is_taken` if others have their key.
--
-- `appended` has place, key and value of a row, `stored` key and value; keys and values are structs.
--
-- reads:     appended, stored
with firsts as (
    select min(place) as place, key, value from appended group by key, value
),

held as (
    select key, value from stored semi join appended using (key)
)

select
    firsts.place,
    held.key is not null or count(*) over (partition by firsts.key) > 1 as is_taken
from firsts
left join held on firsts.key = held.key
where held.key is null or held.value is distinct from firsts.value
order by firsts.place
