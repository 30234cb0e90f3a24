-- Rows of annotations with the sizes of polygons (POLY): `shapes` are the rows without them.
select
    *,
    polygon_area(points) as area,
    polygon_perimeter(points) as length,
    null as angle_degrees
from shapes
