-- One row per tiled image, such as a whole slide: the arrangement of its frames in the total pixel matrix.
--
-- Frames of TILED_FULL state no position: PS3.3 C.7.6.17.3 gives their order, row by row of tiles, then focal
-- planes, then optical paths, or segments of a segmentation. `frames` has the position of each one. An object of a
-- concatenation begins at its Concatenation Frame Offset Number. Where the number of frames is not what the
-- order needs, no frame has a computed position.
--
-- grain:   instance_id
-- depends: elements, instances, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  series_key | VARCHAR | key to `series`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  DimensionOrganizationType | VARCHAR | Dimension Organization Type (0020,9311): TILED_FULL or TILED_SPARSE
-- column:  TotalPixelMatrixColumns | BIGINT | Total Pixel Matrix Columns (0048,0006)
-- column:  TotalPixelMatrixRows | BIGINT | Total Pixel Matrix Rows (0048,0007)
-- column:  TotalPixelMatrixFocalPlanes | BIGINT | Total Pixel Matrix Focal Planes (0048,0303); 1 if it is not stated
-- column:  ImageOrientationSlide | DOUBLE[] | Image Orientation (Slide) (0048,0102), direction cosines of a row, then of a column
-- column:  XOffsetInSlideCoordinateSystem | DOUBLE | X Offset in Slide Coordinate System (0040,072A) of the Total Pixel Matrix Origin Sequence, mm
-- column:  YOffsetInSlideCoordinateSystem | DOUBLE | Y Offset in Slide Coordinate System (0040,073A) of the Total Pixel Matrix Origin Sequence, mm
-- column:  optical_paths | VARCHAR[] | Optical Path Identifiers (0048,0106), in the order of the Optical Path Sequence; null if there is none
-- column:  segment_numbers | BIGINT[] | Segment Numbers (0062,0004) of a segmentation whose frames are of one segment each, in order; null otherwise
-- column:  channel_count | BIGINT | number of optical paths, or of segments, for which tiles are repeated
-- column:  tile_columns | BIGINT | number of tiles in a row
-- column:  tile_rows | BIGINT | number of tiles in a column
-- column:  ConcatenationUID | VARCHAR | Concatenation UID (0020,9161); null if the object is whole
-- column:  first_frame | BIGINT | frames of the concatenation before this object; 0 without a concatenation
-- column:  tiles_why_not | VARCHAR | why the positions of frames cannot be computed; null if they can, and for TILED_SPARSE, whose frames state them
-- column:  slide_why_not | VARCHAR | why coordinates on the slide cannot be computed; null if they can, and for TILED_SPARSE
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view tiled_images as
with
    stated as (
        select
            instance_id,
            any_value(text) filter (where tag = '00209311' and path = '' and "index" = 0) as organization,
            any_value("integer") filter (where tag = '00480006' and path = '') as matrix_columns,
            any_value("integer") filter (where tag = '00480007' and path = '') as matrix_rows,
            any_value("integer") filter (where tag = '00480303' and path = '') as focal_planes,
            any_value("integer") filter (where tag = '00480302' and path = '') as optical_path_count,
            list("real" order by "index") filter (where tag = '00480102' and path = '') as orientation,
            any_value("real") filter (where tag = '0040072A') as x_mm,
            any_value("real") filter (where tag = '0040073A') as y_mm,
            any_value(text) filter (where tag = '00209161') as concatenation_uid,
            any_value("integer") filter (where tag = '00209228') as frame_offset,
            any_value(text) filter (where tag = '00620001') as segmentation_type
        from elements
        where
            tag in (
                '00209161', '00209228', '00209311', '0040072A', '0040073A', '00480006', '00480007', '00480102',
                '00480302', '00480303', '00620001'
            )
            and path = if(tag in ('0040072A', '0040073A'), 'TotalPixelMatrixOriginSequence[0]', '')
            and vm > 0
        group by instance_id
    ),

    each_channel as (
        select
            instance_id,
            list(text order by try_cast(regexp_extract(path, '\[(\d+)\]$', 1) as bigint)) filter (
                where tag = '00480106'
            ) as optical_paths,
            list("integer" order by try_cast(regexp_extract(path, '\[(\d+)\]$', 1) as bigint)) filter (
                where tag = '00620004'
            ) as segment_numbers
        from elements
        where
            (
                tag = '00480106' and path between 'OpticalPathSequence[' and 'OpticalPathSequence]'
                or tag = '00620004' and path between 'SegmentSequence[' and 'SegmentSequence]'
            )
            and regexp_full_match(path, '\w+\[\d+\]')
            and "index" = 0
        group by instance_id
    ),

    counted as (
        select
            instances.instance_id,
            instances.series_key,
            instances.SOPInstanceUID,
            stated.*exclude (instance_id, segmentation_type),
            unread.not_read,
            coalesce(stated.focal_planes, 1) as planes,
            each_channel.optical_paths,
            if(stated.segmentation_type in ('BINARY', 'FRACTIONAL'), each_channel.segment_numbers, null) as segment_numbers,
            case
                when stated.segmentation_type in ('BINARY', 'FRACTIONAL') then len(each_channel.segment_numbers)
                when stated.segmentation_type is not null then 1
                else coalesce(stated.optical_path_count, len(each_channel.optical_paths), 1)
            end as channel_count,
            if(
                instances."Columns" > 0, (stated.matrix_columns + instances."Columns" - 1) // instances."Columns", null
            ) as tile_columns,
            if(instances."Rows" > 0, (stated.matrix_rows + instances."Rows" - 1) // instances."Rows", null) as tile_rows,
            if(stated.concatenation_uid is null, coalesce(stated.frame_offset, 0), stated.frame_offset) as first_frame,
            coalesce(nullif(instances.NumberOfFrames, 0), 1) as frame_count
        from instances
        left join stated on instances.instance_id = stated.instance_id
        left join each_channel on instances.instance_id = each_channel.instance_id
        left join unread on instances.instance_id = unread.instance_id and unread.is_without_elements
        where
            stated.organization in ('TILED_FULL', 'TILED_SPARSE')
            or stated.matrix_columns is not null
            -- Slides, and what may be made of them: segmentations, label maps, parametric maps.
            or unread.not_read is not null and instances.SOPClassUID in (
                '1.2.840.10008.5.1.4.1.1.77.1.6', '1.2.840.10008.5.1.4.1.1.66.4',
                '1.2.840.10008.5.1.4.1.1.66.7', '1.2.840.10008.5.1.4.1.1.30'
            )
    )

select
    instance_id,
    series_key,
    SOPInstanceUID,
    organization as DimensionOrganizationType,
    matrix_columns as TotalPixelMatrixColumns,
    matrix_rows as TotalPixelMatrixRows,
    if(not_read is null, planes, null) as TotalPixelMatrixFocalPlanes,
    orientation as ImageOrientationSlide,
    x_mm as XOffsetInSlideCoordinateSystem,
    y_mm as YOffsetInSlideCoordinateSystem,
    optical_paths,
    segment_numbers,
    if(not_read is null, channel_count, null) as channel_count,
    tile_columns,
    tile_rows,
    concatenation_uid as ConcatenationUID,
    if(not_read is null, first_frame, null) as first_frame,
    case
        when not_read is not null or coalesce(organization, '') = 'TILED_SPARSE' then null
        when organization is null then 'no Dimension Organization Type'
        when tile_columns is null or tile_rows is null or tile_columns * tile_rows <= 0
            then 'no size of the total pixel matrix'
        when first_frame is null then 'part of a concatenation without Concatenation Frame Offset Number'
        when channel_count is null then 'no segment'
        when
            first_frame < 0 or planes < 1
            or concatenation_uid is null and first_frame + frame_count <> tile_columns * tile_rows * planes * channel_count
            or first_frame + frame_count > tile_columns * tile_rows * planes * channel_count
            then 'the number of frames is not that of tiles, focal planes and optical paths or segments'
    end as tiles_why_not,
    case
        when not_read is not null or coalesce(organization, '') = 'TILED_SPARSE' then null
        when tiles_why_not is not null then tiles_why_not
        when x_mm is null or y_mm is null then 'no Total Pixel Matrix Origin'
        when orientation is null or len(orientation) <> 6 or list_count(orientation) < 6 then 'no Image Orientation (Slide)'
        when abs(orientation[3]) > 1e-4 or abs(orientation[6]) > 1e-4 then 'rows or columns do not lie in the plane of the slide'
    end as slide_why_not,
    not_read
from counted;
