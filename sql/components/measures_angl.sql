-- Rows of annotations with the sizes of angles between two lines (ANGL): `shapes` are the rows without them.
select
    *,
    null as area,
    null as length,
    lines_angle(points) as angle_degrees
from shapes
