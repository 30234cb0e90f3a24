-- Rows of annotations with the sizes that are kept: `shapes` are the rows without them.
select
    *,
    case kind
        when '2DBB' then box_area(points)
        when 'POLY' then polygon_area(points)
        when 'ELLI' then ellipse_area(points)
    end as area,
    case kind
        when 'DIST' then path_length(points)
        when 'LINE' then paths_length(points, part_lengths)
        when 'POLY' then polygon_perimeter(points)
    end as length,
    case kind
        when 'ANGL' then lines_angle(points)
        when '3ANG' then points_angle(points)
    end as angle_degrees
from shapes
