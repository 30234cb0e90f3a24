-- Values among $1 that are series of the archive, with the series of each.
select
    value_id,
    series_key
from socket_values
where form = 'series' and value_id in (select unnest($1))
