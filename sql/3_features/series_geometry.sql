-- Whether the images of a series make a volume, and which: one column per condition.
--
-- Slices are ordered by their position along the normal of the first image, never by
-- InstanceNumber. A series is a volume if every condition holds; `why_not` names those that do
-- not, with figures. Images of several frames and Siemens mosaics hold more than one slice each
-- and are no volume here. Tolerances: cosine_tolerance(), spacing_tolerance() of a spacing or
-- position_tolerance_mm(), whichever is larger, and drift_tolerance_pixels().
--
-- grain:   series_key
-- depends: images
-- column:  series_key | VARCHAR | the series; only those with images
-- column:  slice_count | BIGINT | images of one frame each
-- column:  position_count | BIGINT | different positions along the normal
-- column:  volume_count | BIGINT | images at each position, if it is the same number everywhere; else null
-- column:  has_geometry | BOOLEAN | every image has position, orientation, pixel spacing and size
-- column:  has_one_frame_each | BOOLEAN | no image holds several frames or is a mosaic
-- column:  has_single_shape | BOOLEAN | Rows, Columns and SamplesPerPixel are the same in all
-- column:  has_single_spacing | BOOLEAN | PixelSpacing is the same in all
-- column:  has_single_orientation | BOOLEAN | all directions are those of the first: the slices are parallel
-- column:  is_orthonormal | BOOLEAN | rows and columns are at right angles, and their directions of length one
-- column:  has_unique_positions | BOOLEAN | no two images at one position along the normal
-- column:  is_complete | BOOLEAN | no gap of twice the usual spacing or more
-- column:  is_evenly_spaced | BOOLEAN | all positions lie on a regular grid
-- column:  is_aligned | BOOLEAN | positions lie on a line along the normal: no gantry tilt
-- column:  slice_spacing_mm | DOUBLE | between positions, along the normal
-- column:  missing_count | BIGINT | slices that gaps have room for
-- column:  drift_mm | DOUBLE | largest shift of a slice within its plane, against the first
-- column:  extent_mm | DOUBLE[] | along columns, rows and slices, outer edges
-- column:  affine | DOUBLE[] | 4 × 4, row by row: (column, row, slice, 1), each from 0, to mm in LPS at the centre of the voxel
-- column:  is_volume | BOOLEAN | all conditions hold, with two slices or more
-- column:  why_not | VARCHAR | what is against it; null for a volume
create or replace view series_geometry as
with slices as (
    select
        series_key,
        instance_key,
        ImagePositionPatient as position,
        ImageOrientationPatient[1:3] as along_row,
        ImageOrientationPatient[4:6] as along_column,
        PixelSpacing as spacing,
        "Rows" as row_count,
        "Columns" as column_count,
        SamplesPerPixel as sample_count,
        coalesce(NumberOfFrames, 1) = 1
        and not coalesce(list_contains(ImageType, 'MOSAIC'), false) as is_single,
        coalesce(
            len(ImagePositionPatient) = 3
            and len(ImageOrientationPatient) = 6
            and len(PixelSpacing) = 2
            and list_min(PixelSpacing) > 0
            and not list_contains(list_transform(
                ImagePositionPatient || ImageOrientationPatient || PixelSpacing,
                lambda number: number is null or not isfinite(number)
            ), true)
            and "Rows" > 0 and "Columns" > 0,
            false
        ) as is_placed
    from images
    where series_key is not null
),

models as (
    select
        series_key,
        count(*) as slice_count,
        bool_and(is_placed) as has_geometry,
        bool_and(is_single) as has_one_frame_each,
        count(distinct row(row_count, column_count, sample_count)) = 1 as has_single_shape,
        list_sort(list(distinct row_count || ' x ' || column_count)) as shapes,
        any_value(row_count) as row_count,
        any_value(column_count) as column_count,
        arg_min(position, instance_key) filter (where is_placed) as position,
        arg_min(along_row, instance_key) filter (where is_placed) as along_row,
        arg_min(along_column, instance_key) filter (where is_placed) as along_column,
        arg_min(spacing, instance_key) filter (where is_placed) as spacing
    from slices
    group by series_key
),

-- Where each slice lies in the directions of the first: along the normal, and within the plane.
placed as (
    select
        slices.series_key,
        slices.position,
        list_dot_product(
            cross_product(models.along_row, models.along_column), slices.position
        ) as height,
        list_dot_product(models.along_row, slices.position)
        - list_dot_product(models.along_row, models.position) as right_mm,
        list_dot_product(models.along_column, slices.position)
        - list_dot_product(models.along_column, models.position) as down_mm,
        greatest(
            largest_difference(slices.along_row, models.along_row),
            largest_difference(slices.along_column, models.along_column)
        ) as turn,
        largest_difference(slices.spacing, models.spacing) as spacing_difference
    from slices
    join models on slices.series_key = models.series_key
    where slices.is_placed
),

steps as (
    select
        *,
        height - lag(height) over (partition by series_key order by height) as step
    from placed
),

-- Equal positions count once.
levels as (
    select
        *,
        coalesce(step > position_tolerance_mm(), true) as is_new,
        sum(cast(coalesce(step > position_tolerance_mm(), true) as integer))
            over (partition by series_key order by height rows unbounded preceding)
        - 1 as level
    from steps
),

spread as (
    select
        series_key,
        cast(max(level) + 1 as bigint) as position_count,
        min(height) as lowest,
        max(height) as highest,
        arg_min(position, height) as first_position,
        arg_max(position, height) as last_position,
        median(step) filter (where is_new) as usual_step,
        max(step) as largest_step,
        max(turn) as turn,
        max(spacing_difference) as spacing_difference,
        greatest(max(right_mm) - min(right_mm), max(down_mm) - min(down_mm)) as drift_mm
    from levels
    group by series_key
),

per_level as (
    select
        series_key,
        min(image_count) as fewest,
        max(image_count) as most
    from (
        select
            series_key,
            level,
            count(*) as image_count
        from levels
        group by series_key, level
    )
    group by series_key
),

gaps as (
    select
        levels.series_key,
        cast(sum(greatest(round(levels.step / spread.usual_step) - 1, 0)) as bigint) as missing_count,
        max(abs(
            levels.height - spread.lowest
            - levels.level * (spread.highest - spread.lowest) / nullif(spread.position_count - 1, 0)
        )) as off_grid_mm
    from levels
    join spread on levels.series_key = spread.series_key
    where levels.is_new
    group by levels.series_key
),

judged as (
    select
        models.*,
        spread.position_count,
        if(per_level.fewest = per_level.most, per_level.most, null) as volume_count,
        models.has_geometry
        and spread.spacing_difference
        <= greatest(spacing_tolerance() * list_min(models.spacing), 1e-6) as has_single_spacing,
        models.has_geometry and spread.turn <= cosine_tolerance() as has_single_orientation,
        abs(list_dot_product(models.along_row, models.along_column)) <= 1e-3
        and abs(list_dot_product(models.along_row, models.along_row) - 1) <= 1e-3
        and abs(list_dot_product(models.along_column, models.along_column) - 1)
        <= 1e-3 as is_orthonormal,
        spread.position_count = models.slice_count as has_unique_positions,
        coalesce(gaps.missing_count, 0) = 0 as is_complete,
        coalesce(gaps.missing_count, 0) as missing_count,
        (spread.highest - spread.lowest) / nullif(spread.position_count - 1, 0) as slice_spacing_mm,
        gaps.off_grid_mm,
        spread.drift_mm,
        spread.drift_mm <= drift_tolerance_pixels() * list_min(models.spacing) as is_aligned,
        spread.first_position,
        spread.last_position
    from models
    left join spread on models.series_key = spread.series_key
    left join per_level on models.series_key = per_level.series_key
    left join gaps on models.series_key = gaps.series_key
),

explained as (
    select
        *,
        off_grid_mm <= greatest(
            spacing_tolerance() * slice_spacing_mm, position_tolerance_mm()
        ) as is_evenly_spaced,
        list_filter([
            if(not has_one_frame_each, 'images of several frames or mosaics', null),
            if(not has_geometry, 'images without position, orientation, spacing or size', null),
            if(not has_single_shape, 'several shapes: ' || array_to_string(shapes, ', '), null),
            if(has_geometry and slice_count < 2, 'a single slice', null),
            if(has_geometry and not has_single_spacing, 'several pixel spacings', null),
            if(has_geometry and not has_single_orientation, 'several orientations', null),
            if(has_geometry and not is_orthonormal, 'directions not at right angles', null),
            if(
                has_single_orientation and not has_unique_positions,
                coalesce(
                    'each position occurs ' || volume_count || ' times',
                    slice_count - position_count || ' repeated positions'
                ),
                null
            ),
            if(
                has_single_orientation and not is_complete,
                missing_count || ' missing slices', null
            ),
            if(
                has_single_orientation and is_complete and off_grid_mm > greatest(
                    spacing_tolerance() * slice_spacing_mm, position_tolerance_mm()
                ),
                'uneven spacing: off by ' || round(off_grid_mm, 3) || ' mm', null
            ),
            if(
                has_single_orientation and not is_aligned,
                'slices shifted by ' || round(drift_mm, 2) || ' mm: gantry tilt', null
            )
        ], lambda reason: reason is not null) as reasons
    from judged
)

select
    series_key,
    slice_count,
    position_count,
    volume_count,
    has_geometry,
    has_one_frame_each,
    has_single_shape,
    has_single_spacing,
    has_single_orientation,
    is_orthonormal,
    has_unique_positions,
    is_complete,
    is_evenly_spaced,
    is_aligned,
    slice_spacing_mm,
    missing_count,
    drift_mm,
    [
        column_count * spacing[2], row_count * spacing[1], position_count * slice_spacing_mm
    ] as extent_mm,
    if(len(reasons) = 0, [
        along_row[1] * spacing[2], along_column[1] * spacing[1],
        (last_position[1] - first_position[1]) / (position_count - 1), first_position[1],
        along_row[2] * spacing[2], along_column[2] * spacing[1],
        (last_position[2] - first_position[2]) / (position_count - 1), first_position[2],
        along_row[3] * spacing[2], along_column[3] * spacing[1],
        (last_position[3] - first_position[3]) / (position_count - 1), first_position[3],
        0, 0, 0, 1
    ], null) as affine,
    len(reasons) = 0 as is_volume,
    nullif(array_to_string(reasons, '; '), '') as why_not
from explained;
