-- One row per contour of an RT structure set: its points, its plane, its area.
--
-- Coordinates are mm, LPS. A contour whose points cannot be told has a row with the reason, and so has one
-- that encloses no area. Areas close the path; where it crosses itself, parts that it runs round the
-- other way are subtracted, so that a keyhole takes its hole away. Holes that are contours of their own are
-- not: wh.structures(...) combines the contours of a plane by XOR. A structure set of which no element
-- was read has one row without a contour.
--
-- grain:   instance_id, roi_item, contour_item
-- depends: instances, normal_elements, blobs, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  roi_item | BIGINT | index in the ROI Contour Sequence, from 0; null if elements were not read
-- column:  contour_item | BIGINT | index in the Contour Sequence of the region, from 0
-- column:  series_key | VARCHAR | key to `series`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  ROINumber | BIGINT | ROI Number (3006,0022) of the region that the contour is of
-- column:  ContourNumber | BIGINT | Contour Number (3006,0048)
-- column:  ContourGeometricType | VARCHAR | Contour Geometric Type (3006,0042), such as CLOSED_PLANAR
-- column:  NumberOfContourPoints | BIGINT | Number of Contour Points (3006,0046), as stated
-- column:  ReferencedSOPInstanceUID | VARCHAR | Referenced SOP Instance UID (0008,1155) of the first item of the Contour Image Sequence
-- column:  point_count | BIGINT | points that there are
-- column:  points | DOUBLE[][] | x, y, z of each, mm
-- column:  normal | DOUBLE[] | unit vector at right angles to the plane, the last component that is not 0 positive; null if points lie in no plane
-- column:  plane_mm | DOUBLE | mm from the origin to the plane along the normal: z of an axial contour
-- column:  area_mm2 | DOUBLE | area inside of a closed contour, mm²
-- column:  why_not | VARCHAR | why there are no points or no area: values that are no numbers or no whole number of points, fewer than 3 points, points in no plane, an open contour; null if there is an area
-- column:  warning | VARCHAR | statements about the contour that are not true; null if none
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view rt_contours as
with structure_sets as (
    select
        instance_id,
        series_key,
        SOPInstanceUID
    from instances
    where Modality = 'RTSTRUCT'
),

said as (
    select
        instance_id,
        path,
        any_value("integer") filter (where tag = '30060084') as ROINumber,
        any_value("integer") filter (where tag = '30060048') as ContourNumber,
        any_value(text) filter (where tag = '30060042') as ContourGeometricType,
        any_value("integer") filter (where tag = '30060046') as NumberOfContourPoints
    from normal_elements
    where
        tag in ('30060042', '30060046', '30060048', '30060084')
        and "index" = 0
        and path between 'ROIContourSequence[' and 'ROIContourSequence]'
        and regexp_full_match(path, 'ROIContourSequence\[\d+\](\.ContourSequence\[\d+\])?')
    group by instance_id, path
),

images as (
    select
        instance_id,
        regexp_replace(path, '\.ContourImageSequence\[0\]$', '') as path,
        any_value(text) as uid
    from normal_elements
    where
        tag = '00081155' and "index" = 0
        and path between 'ROIContourSequence[' and 'ROIContourSequence]'
        and ends_with(path, '.ContourImageSequence[0]')
    group by instance_id, path
),

-- More values than an element has rows for, and more bytes than an explicit VR can count (UN), are one
-- row of bytes.
long_data as (
    select
        elements.instance_id,
        elements.path,
        -- Bytes that are no text are one value that is no number.
        string_split(
            rtrim(coalesce(try(decode(coalesce(elements.bytes, blobs.bytes))), 'not text'), ' '), '\'
        ) as texts
    from normal_elements as elements
    left join blobs on elements.sha256 = blobs.sha256
    where
        elements.tag = '30060050' and elements.length is not null
        and elements.path between 'ROIContourSequence[' and 'ROIContourSequence]'
),

-- By row, not by list: what a lambda captures is copied for each of its calls.
coordinates as (
    select
        instance_id,
        path,
        "index" as number,
        "real" as coordinate
    from normal_elements
    where
        tag = '30060050' and length is null and vm > 0
        and path between 'ROIContourSequence[' and 'ROIContourSequence]'
        and regexp_full_match(path, 'ROIContourSequence\[\d+\]\.ContourSequence\[\d+\]')
    union all
    select
        instance_id,
        path,
        unnest(range(len(texts))) as number,
        try_cast(trim(unnest(texts)) as double) as coordinate
    from long_data
),

counted as (
    select
        instance_id,
        path,
        count(*) as value_count,
        case
            when count(coordinate) < count(*) then 'a coordinate is no number'
            when count(*) % 3 <> 0 then 'the number of its coordinates is no multiple of 3'
        end as data_why_not
    from coordinates
    group by instance_id, path
),

corners as (
    select
        coordinates.instance_id,
        coordinates.path,
        coordinates.number // 3 as corner,
        max(coordinates.coordinate) filter (where coordinates.number % 3 = 0) as x,
        max(coordinates.coordinate) filter (where coordinates.number % 3 = 1) as y,
        max(coordinates.coordinate) filter (where coordinates.number % 3 = 2) as z
    from coordinates
    join counted on coordinates.instance_id = counted.instance_id and coordinates.path = counted.path
    where counted.data_why_not is null
    group by coordinates.instance_id, coordinates.path, corner
),

-- Each point and the next one, seen from the first.
sides as (
    select
        *,
        x - first_value(x) over outline as dx,
        y - first_value(y) over outline as dy,
        z - first_value(z) over outline as dz,
        lead(x) over outline - first_value(x) over outline as next_dx,
        lead(y) over outline - first_value(y) over outline as next_dy,
        lead(z) over outline - first_value(z) over outline as next_dz
    from corners
    window outline as (partition by instance_id, path order by corner)
),

shapes as (
    select
        instance_id,
        path,
        count(*) as point_count,
        list([x, y, z] order by corner) as points,
        arg_min([x, y, z], corner) as first_point,
        -- Twice the area along each axis.
        sum(dy * next_dz - dz * next_dy) as doubled_x,
        sum(dz * next_dx - dx * next_dz) as doubled_y,
        sum(dx * next_dy - dy * next_dx) as doubled_z,
        sqrt(doubled_x * doubled_x + doubled_y * doubled_y + doubled_z * doubled_z) as doubled_area,
        least(max(x) - min(x), max(y) - min(y), max(z) - min(z)) as least_extent,
        greatest(max(x) - min(x), max(y) - min(y), max(z) - min(z)) as extent
    from sides
    group by instance_id, path
),

-- A plane along two axes is the common case, and needs no second look.
bent as (
    select
        sides.instance_id,
        sides.path,
        max(abs(sides.dx * shapes.doubled_x + sides.dy * shapes.doubled_y + sides.dz * shapes.doubled_z))
        > 1e-3 * any_value(shapes.doubled_area * shapes.extent) as is_bent
    from sides
    join shapes on sides.instance_id = shapes.instance_id and sides.path = shapes.path
    where shapes.least_extent > 0
    group by sides.instance_id, sides.path
),

measured as (
    select
        coalesce(said.instance_id, counted.instance_id) as instance_id,
        coalesce(said.path, counted.path) as path,
        said.ContourNumber,
        said.ContourGeometricType,
        said.NumberOfContourPoints,
        counted.value_count,
        if(counted.path is null, 'it has no points', counted.data_why_not) as data_why_not,
        shapes.* exclude (instance_id, path),
        -- Whichever way round the points go; components of less than 1e-6 are rounding.
        shapes.doubled_area * case
            when abs(shapes.doubled_z) > 1e-6 * shapes.doubled_area then sign(shapes.doubled_z)
            when abs(shapes.doubled_y) > 1e-6 * shapes.doubled_area then sign(shapes.doubled_y)
            else sign(shapes.doubled_x)
        end as signed_area,
        shapes.point_count >= 3 and not coalesce(bent.is_bent, false) as is_planar
    from said
    full join counted on said.instance_id = counted.instance_id and said.path = counted.path
    left join shapes on counted.instance_id = shapes.instance_id and counted.path = shapes.path
    left join bent on shapes.instance_id = bent.instance_id and shapes.path = bent.path
    where contains(coalesce(said.path, counted.path), '.ContourSequence[')
)

select
    structure_sets.instance_id,
    try_cast(regexp_extract(measured.path, '^ROIContourSequence\[(\d+)\]', 1) as bigint) as roi_item,
    try_cast(regexp_extract(measured.path, '\[(\d+)\]$', 1) as bigint) as contour_item,
    structure_sets.series_key,
    structure_sets.SOPInstanceUID,
    regions.ROINumber,
    measured.ContourNumber,
    measured.ContourGeometricType,
    measured.NumberOfContourPoints,
    images.uid as ReferencedSOPInstanceUID,
    measured.point_count,
    measured.points,
    if(
        measured.is_planar and measured.doubled_area > 0,
        [
            measured.doubled_x / measured.signed_area + 0.0, measured.doubled_y / measured.signed_area + 0.0,
            measured.doubled_z / measured.signed_area + 0.0
        ], null
    ) as normal,
    measured.first_point[1] * normal[1] + measured.first_point[2] * normal[2]
    + measured.first_point[3] * normal[3] as plane_mm,
    if(
        measured.is_planar and measured.ContourGeometricType in ('CLOSED_PLANAR', 'CLOSEDPLANAR_XOR'),
        measured.doubled_area / 2, null
    ) as area_mm2,
    case
        when measured.path is null then null
        when measured.data_why_not is not null then measured.data_why_not
        when coalesce(measured.ContourGeometricType, '') not in ('CLOSED_PLANAR', 'CLOSEDPLANAR_XOR')
            then 'it is not closed: ' || coalesce(measured.ContourGeometricType, 'it states no type')
        when measured.point_count < 3 then 'it has fewer than 3 points'
        when not measured.is_planar then 'its points lie in no plane'
    end as why_not,
    case
        when measured.NumberOfContourPoints <> measured.value_count / 3
            then 'Number of Contour Points is not the number of its points'
    end as warning,
    unread.not_read
from structure_sets
left join unread on structure_sets.instance_id = unread.instance_id and unread.is_without_elements
left join measured on structure_sets.instance_id = measured.instance_id
left join said as regions
    on
        measured.instance_id = regions.instance_id
        and regexp_extract(measured.path, '^ROIContourSequence\[\d+\]') = regions.path
left join images on measured.instance_id = images.instance_id and measured.path = images.path
where measured.path is not null or unread.not_read is not null;
