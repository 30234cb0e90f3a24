-- What the view says against the stack $2 of a multi-frame series ($1) of one image.
select any_value(why_not)
from stack_geometry
where series_key = $1 and ($2 is null or stack = $2)
having count(*) = 1 and not bool_or(is_volume or is_volume_stack)
