-- Points of two readers that are each other's nearest, and how far their answers differ.
--
-- A point that is the nearest of a point whose nearest is another one has no match, and no row. Only
-- points in millimetres count (`why_not` of `annotations_about` is null).
--
-- depends: annotations_about, shapes
-- example: select avg(distance_mm) from matched_points('spots', 'reader 1', 'reader 2', max_distance_mm := 10)
create or replace macro matched_points(socket_slug, reader_a, reader_b, max_distance_mm := 1e9) as table
    with
    points as (
        select series_key, frame_of_reference, added_by, value_id, "index", points[1] as point
        from annotations_about
        where slug = socket_slug and kind = 'POIN' and why_not is null
    ),
    pairs as (
        select
            a.series_key,
            a.value_id as value_a,
            a."index" as index_a,
            b.value_id as value_b,
            b."index" as index_b,
            a.point as point_a,
            b.point as point_b,
            point_distance(a.point, b.point) as distance_mm
        from points as a
        -- Instances of a series may have different frames of reference, and points in them no distance.
        inner join points as b
            on a.series_key = b.series_key and a.frame_of_reference = b.frame_of_reference
        where
            a.added_by = reader_a and b.added_by = reader_b
            and point_distance(a.point, b.point) <= max_distance_mm
    ),
    ranked as (
        select
            *,
            row_number() over (
                partition by series_key, value_a, index_a order by distance_mm, value_b, index_b
            ) as rank_of_a,
            row_number() over (
                partition by series_key, value_b, index_b order by distance_mm, value_a, index_a
            ) as rank_of_b
        from pairs
    )
    select * exclude (rank_of_a, rank_of_b) from ranked
    where rank_of_a = 1 and rank_of_b = 1;
