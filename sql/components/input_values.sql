-- Values that go into jobs, with how the file of each was called.
select
    socket_values.value_id,
    socket_values.slug,
    socket_values.socket_version,
    socket_values.form,
    socket_values."value",
    socket_values.sha256,
    socket_values.series_key,
    socket_values.head is not null as is_annotation,
    names.file_name
from socket_values
left join (
    select
        value_id,
        min(file_name) as file_name
    from value_uses
    group by value_id
) as names on socket_values.value_id = names.value_id
where socket_values.value_id in (select unnest($1))
