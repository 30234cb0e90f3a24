-- What is in a set of values now, with what is needed to write each value.
select
    newest.*,
    socket_values.form,
    socket_values.sha256,
    socket_values.series_key,
    socket_values."value"
from (
    select * exclude batch from value_set_entries where set_name = $1
    qualify row_number() over (partition by item, slug order by entry desc) = 1
) as newest
inner join socket_values on newest.value_id = socket_values.value_id
