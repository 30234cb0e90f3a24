-- Sizes of annotations from their points: each point is a list of x, y and z.
--
-- Answers are in the unit of the coordinates, squared for areas: mm and mm² where these are mm, see
-- `annotations_about`. An answer that has no meaning is null: fewer points than the shape needs, corners
-- that make no rectangle, points that lie in no plane (by more than a thousandth of their extent), axes
-- of an ellipse that are more than 3° from right angles.
-- `polygon_area` closes the path; where a path crosses itself, parts that it runs round the other way are
-- subtracted. `polygon_perimeter` closes the path as well, `path_length` does not.
-- `lines_angle` is between the directions of two lines, each from its first point to its second;
-- `points_angle` is at the second of three points. Both are in degrees, 0 to 180.
-- `box_iou` is the overlap of two boxes over their union, 0 to 1: null where a side is not along an axis
-- or the boxes lie in planes of different directions, 0 where they lie in different parallel planes.
--
-- example: select polygon_area([[0, 0, 1], [4, 0, 1], [4, 3, 1]]) as area, points_angle([[1, 0, 0], [0, 0, 0], [0, 1, 0]]) as degrees
create or replace macro point_distance(a, b) as
    if(len(a) = 3 and len(b) = 3, list_distance(cast(a as double[]), cast(b as double[])), null);
create or replace macro vector_angle(a, b) as if(
    a[1] * a[1] + a[2] * a[2] + a[3] * a[3] > 0 and b[1] * b[1] + b[2] * b[2] + b[3] * b[3] > 0,
    degrees(atan2(
        sqrt(
            pow(a[2] * b[3] - a[3] * b[2], 2) + pow(a[3] * b[1] - a[1] * b[3], 2)
            + pow(a[1] * b[2] - a[2] * b[1], 2)
        ),
        a[1] * b[1] + a[2] * b[2] + a[3] * b[3]
    )),
    null
);
create or replace macro difference_of(a, b) as [b[1] - a[1], b[2] - a[2], b[3] - a[3]];
create or replace macro lines_angle(points) as if(
    len(points) = 4,
    vector_angle(difference_of(points[1], points[2]), difference_of(points[3], points[4])), null
);
create or replace macro points_angle(points) as if(
    len(points) = 3,
    vector_angle(difference_of(points[2], points[1]), difference_of(points[2], points[3])), null
);
create or replace macro path_length(points) as if(
    len(points) >= 2,
    list_sum(list_transform(range(1, len(points)), lambda i: list_distance(points[i], points[i + 1]))),
    null
);
-- Of several paths: no length between the end of one and the beginning of the next. The numbers of the parts
-- are computed once, as the only entry of a list: for every point, it would take time as the square of points.
create or replace macro part_numbers(part_lengths) as flatten(list_transform(
    range(1, len(part_lengths) + 1), lambda n: list_resize([n], part_lengths[n], n)
));
create or replace macro length_within_parts(points, numbers) as coalesce(list_sum(list_transform(
    list_filter(range(1, len(points)), lambda i: numbers[i] = numbers[i + 1]),
    lambda i: list_distance(points[i], points[i + 1])
)), 0.0);
create or replace macro paths_length(points, part_lengths) as case
    when len(part_lengths) = 1 then path_length(points)
    when len(points) < 2 then null
    else list_transform(
        [part_numbers(part_lengths)], lambda numbers: length_within_parts(points, numbers)
    )[1]
end;
create or replace macro polygon_perimeter(points) as if(
    len(points) >= 2, path_length(points) + list_distance(points[-1], points[1]), null
);
-- Twice the area along each axis: the sum of the cross products of neighbors, seen from the first point.
create or replace macro polygon_normal(points) as [
    list_sum(list_transform(range(2, len(points)), lambda i:
    (points[i][2] - points[1][2]) * (points[i + 1][3] - points[1][3])
    - (points[i][3] - points[1][3]) * (points[i + 1][2] - points[1][2]))),
    list_sum(list_transform(range(2, len(points)), lambda i:
    (points[i][3] - points[1][3]) * (points[i + 1][1] - points[1][1])
    - (points[i][1] - points[1][1]) * (points[i + 1][3] - points[1][3]))),
    list_sum(list_transform(range(2, len(points)), lambda i:
    (points[i][1] - points[1][1]) * (points[i + 1][2] - points[1][2])
    - (points[i][2] - points[1][2]) * (points[i + 1][1] - points[1][1])))
];
create or replace macro axis_extent(points, axis) as
    list_max(list_transform(points, lambda p: p[axis])) - list_min(list_transform(points, lambda p: p[axis]));
-- Twice how far the points are from a plane through the first one, times the length of its normal.
create or replace macro farthest_from_plane(points, normal) as list_max(list_transform(points, lambda p: abs(
    (p[1] - points[1][1]) * normal[1] + (p[2] - points[1][2]) * normal[2]
    + (p[3] - points[1][3]) * normal[3]
)));
-- A plane along two axes is the common case, and cheap to see. The normal is the only entry of a list, so
-- that it is computed once and not for every point.
create or replace macro lie_in_a_plane(points) as case
    when least(axis_extent(points, 1), axis_extent(points, 2), axis_extent(points, 3)) = 0 then true
    else coalesce(list_transform(
        [polygon_normal(points)],
        lambda normal: farthest_from_plane(points, normal)
        <= 1e-3 * list_distance(normal, [0.0, 0.0, 0.0])
        * greatest(axis_extent(points, 1), axis_extent(points, 2), axis_extent(points, 3))
    )[1], false)
end;
create or replace macro polygon_area(points) as if(
    len(points) >= 3 and lie_in_a_plane(points),
    list_distance(polygon_normal(points), [0.0, 0.0, 0.0]) / 2, null
);
create or replace macro is_rectangle(points) as coalesce(
    len(points) = 4
    and greatest(
        abs(points[1][1] + points[3][1] - points[2][1] - points[4][1]),
        abs(points[1][2] + points[3][2] - points[2][2] - points[4][2]),
        abs(points[1][3] + points[3][3] - points[2][3] - points[4][3]),
        abs(list_distance(points[1], points[3]) - list_distance(points[2], points[4]))
    ) <= 1e-3 * list_distance(points[1], points[3]),
    false
);
create or replace macro box_area(points) as if(
    is_rectangle(points),
    list_distance(points[1], points[2]) * list_distance(points[2], points[3]), null
);
create or replace macro ellipse_major_axis(points) as
    if(len(points) = 4, list_distance(points[1], points[2]), null);
create or replace macro ellipse_minor_axis(points) as
    if(len(points) = 4, list_distance(points[3], points[4]), null);
create or replace macro ellipse_area(points) as if(
    abs(lines_angle(points) - 90) <= 3,
    pi() / 4 * ellipse_major_axis(points) * ellipse_minor_axis(points), null
);
create or replace macro box_low(points, axis) as
    least(points[1][axis], points[2][axis], points[3][axis], points[4][axis]);
create or replace macro box_high(points, axis) as
    greatest(points[1][axis], points[2][axis], points[3][axis], points[4][axis]);
create or replace macro box_sides(points) as [
    box_high(points, 1) - box_low(points, 1), box_high(points, 2) - box_low(points, 2),
    box_high(points, 3) - box_low(points, 3)
];
-- The axis that the plane of a box is at right angles to; null if a side is along none.
create or replace macro box_plane(points) as case
    when not is_rectangle(points) then null
    when abs(list_max(box_sides(points)) - greatest(list_distance(points[1], points[2]), list_distance(points[2], points[3])))
        > 1e-3 * list_max(box_sides(points)) then null
    when list_sort(box_sides(points))[1] > 1e-3 * list_max(box_sides(points)) then null
    when list_sort(box_sides(points))[2] = 0 then null
    else list_position(box_sides(points), list_min(box_sides(points)))
end;
create or replace macro overlap_of(a, b, axis) as greatest(
    0.0, least(box_high(a, axis), box_high(b, axis)) - greatest(box_low(a, axis), box_low(b, axis))
);
create or replace macro box_overlap(a, b, plane) as case plane
    when 1 then overlap_of(a, b, 2) * overlap_of(a, b, 3)
    when 2 then overlap_of(a, b, 1) * overlap_of(a, b, 3)
    when 3 then overlap_of(a, b, 1) * overlap_of(a, b, 2)
end;
create or replace macro box_iou(a, b) as case
    when box_plane(a) is null or box_plane(b) is null or box_plane(a) <> box_plane(b) then null
    when abs(box_low(a, box_plane(a)) - box_low(b, box_plane(a)))
        > 1e-3 * greatest(list_max(box_sides(a)), list_max(box_sides(b))) then 0.0
    else box_overlap(a, b, box_plane(a))
        / (box_area(a) + box_area(b) - box_overlap(a, b, box_plane(a)))
end;
