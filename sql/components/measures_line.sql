-- Rows of annotations with the sizes of lines (LINE): `shapes` are the rows without them.
select
    *,
    null as area,
    paths_length(points, part_lengths) as length,
    null as angle_degrees
from shapes
