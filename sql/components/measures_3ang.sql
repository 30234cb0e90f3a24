-- Rows of annotations with the sizes of angles at a point (3ANG): `shapes` are the rows without them.
select
    *,
    null as area,
    null as length,
    points_angle(points) as angle_degrees
from shapes
