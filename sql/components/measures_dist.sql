-- Rows of annotations with the sizes of distance measurements (DIST): `shapes` are the rows without them.
select
    *,
    null as area,
    path_length(points) as length,
    null as angle_degrees
from shapes
