-- Uses, shapes and entries of sets without their value, or with another number of shapes.
--
-- severity: error
-- depends: value_uses, annotations, value_set_entries, socket_values
select 'value_uses' as table_name, value_id, count(*) as row_count
from value_uses anti join socket_values using (value_id)
group by value_id
union all
select 'value_set_entries' as table_name, value_id, count(*) as row_count
from value_set_entries anti join socket_values using (value_id)
where value_id is not null
group by value_id
union all
select
    'annotations' as table_name,
    coalesce(counted.value_id, socket_values.value_id) as value_id,
    coalesce(counted.shapes, 0) as row_count
from (select value_id, count(*) as shapes from annotations group by value_id) as counted
full join socket_values on counted.value_id = socket_values.value_id
where coalesce(counted.shapes, 0) <> coalesce(socket_values.shape_count, 0);
