-- Rows of annotations with the sizes of bounding boxes (2DBB): `shapes` are the rows without them.
select
    *,
    box_area(points) as area,
    null as length,
    null as angle_degrees
from shapes
