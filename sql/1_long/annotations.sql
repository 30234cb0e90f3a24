-- One row per shape of an annotation: a box, a line, a point, a polygon, an angle or an ellipse.
--
-- Coordinates stand as they were given; `annotations_about` says whether they are millimetres. The three
-- sizes are the answers of the macros in sql/0_macros/shapes.sql, kept because a polygon of many points
-- is slow to measure: in the unit of the coordinates, squared for the area, null where they have no
-- meaning. The JSON of the value can be made again of its rows: `dicom-warehouse value show`.
--
-- grain:   value_id, index
-- table:   annotations
-- column:  batch | VARCHAR | commit that added the row, or the first of those compacted together
-- column:  value_id | VARCHAR | key to `socket_values`
-- column:  index | BIGINT | index of the shape in the value, from 0
-- column:  kind | VARCHAR | code of the kind of the shape: 2DBB, DIST, POIN, POLY, LINE, ANGL, ELLI or 3ANG
-- column:  name | VARCHAR | name of the shape; null without one
-- column:  probability | DOUBLE | probability, 0 to 1; null if not stated
-- column:  sub_type | VARCHAR | of a polygon: how it was drawn
-- column:  groups | VARCHAR[] | of a polygon: groups it belongs to
-- column:  has_type | BOOLEAN | the shape states its type itself, as an item of a list may
-- column:  seed_points | DOUBLE[][] | start of the drawing: one point of a polygon, any number of a line; null otherwise
-- column:  points | DOUBLE[][] | x, y and z of each point: corners, start and end, path, ends of both lines, of both axes
-- column:  part_lengths | BIGINT[] | of a line: how many of the points each of its paths has
-- column:  as_written | VARCHAR | JSON text of a shape with integers that float64 cannot represent; null otherwise
-- column:  area | DOUBLE | of a box, polygon or ellipse, in squared units of the coordinates
-- column:  length | DOUBLE | of a distance or line; of a polygon the perimeter; in units of the coordinates
-- column:  angle_degrees | DOUBLE | of an angle, 0 to 180
create or replace view annotations as
select
    batch,
    value_id,
    "index",
    kind,
    "name",
    probability,
    sub_type,
    "groups",
    has_type,
    seed_points,
    points,
    part_lengths,
    as_written,
    area,
    length,
    angle_degrees
from read_parquet(
    getvariable('stored').annotations, hive_partitioning = true, hive_types = {'batch': varchar}
);
