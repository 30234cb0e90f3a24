-- What the view says against a series ($1) whose slices make no regular grid.
--
-- Of a whole stack of volumes the view only says that there are several: nothing against a grid.
select why_not
from series_geometry
where series_key = $1 and not is_volume and not (is_volume_stack and complete_volume_count = volume_count)
