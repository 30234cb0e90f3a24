-- One row per shape and use of its value: with the series it is about, and sizes in millimetres.
--
-- Coordinates of an annotation about a series or an instance are taken for millimetres in the patient
-- coordinate system (LPS) of the frame of reference that it states: sizes are then in mm, mm²
-- and degrees. Without one they are null and `why_not` says why; `area`, `length` and `angle_degrees` of
-- `annotations` are those of the coordinates, in whatever unit these are.
--
-- grain:   use_id, index
-- depends: annotations, values_about
-- example: select added_by, Modality, avg(area_mm2) from annotations_about join series using (series_key) where kind = 'POLY' group by all
-- column:  use_id | VARCHAR | key to `value_uses`
-- column:  value_id | VARCHAR | key to `socket_values`
-- column:  index | BIGINT | index of the shape in the value, from 0
-- column:  slug | VARCHAR | socket
-- column:  added_by | VARCHAR | who added the value, as stated
-- column:  series_key | VARCHAR | key to `series`
-- column:  instance_key | VARCHAR | key to `instances`; null unless the value is about one
-- column:  kind | VARCHAR | code of the kind of the shape
-- column:  name | VARCHAR | name of the shape
-- column:  probability | DOUBLE | how sure, 0 to 1
-- column:  points | DOUBLE[][] | x, y and z of each point
-- column:  area_mm2 | DOUBLE | of a box, polygon or ellipse, mm²
-- column:  length_mm | DOUBLE | of a distance or line, of a polygon the perimeter, mm
-- column:  angle_degrees | DOUBLE | of an angle in the patient, 0 to 180
-- column:  frame_of_reference | VARCHAR | UID of the coordinate system that the series or instance states; null unless it is exactly one
-- column:  why_not | VARCHAR | why there are no sizes in mm; null if the coordinates are in mm
create or replace view annotations_about as
select
    values_about.use_id,
    annotations.value_id,
    annotations."index",
    values_about.slug,
    values_about.added_by,
    values_about.series_key,
    values_about.instance_key,
    annotations.kind,
    annotations."name",
    annotations.probability,
    annotations.points,
    if(values_about.frame_count = 1, annotations.area, null) as area_mm2,
    if(values_about.frame_count = 1, annotations.length, null) as length_mm,
    if(values_about.frame_count = 1, annotations.angle_degrees, null) as angle_degrees,
    values_about.frame_of_reference,
    case
        when values_about.about is null then 'the value is about no series'
        when not values_about.is_there then 'the archive has the entity no more'
        when values_about.series_key is null then 'the value is about no series'
        when values_about.frame_count = 0 then 'the series states no frame of reference'
        when values_about.frame_count > 1 then 'the series states several frames of reference'
    end as why_not
from annotations
inner join values_about on annotations.value_id = values_about.value_id;
