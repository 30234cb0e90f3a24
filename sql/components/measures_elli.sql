-- Rows of annotations with the sizes of ellipses (ELLI): `shapes` are the rows without them.
select
    *,
    ellipse_area(points) as area,
    null as length,
    null as angle_degrees
from shapes
