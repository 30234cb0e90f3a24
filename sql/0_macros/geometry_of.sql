-- Whether slices make a volume, and which: `from geometry_of('image_slices')`, one row per stack.
--
-- The table that is named has a row per slice with the columns of `image_slices`: two that say
-- which stack it belongs to (`whole`, `stack`), where it lies, its shape, and what may differ
-- between slices at one position. `series_geometry` and `stack_geometry` are this, for the images
-- of a series and for the frames of an image; what each column means stands there.
create or replace macro geometry_of(slices) as table
with judged_slices as (
    select
        *,
        coalesce(
            len(position) = 3
            and len(along_row) = 3
            and len(along_column) = 3
            and len(spacing) = 2
            and list_min(spacing) > 0
            and not list_contains(list_transform(
                position || along_row || along_column || spacing,
                lambda number: number is null or not isfinite(number)
            ), true)
            and row_count > 0 and column_count > 0,
            false
        ) as is_placed
    from query_table(slices)
),

models as (
    select
        whole,
        stack,
        count(*) as slice_count,
        bool_and(is_placed) as has_geometry,
        bool_and(is_single) as has_one_frame_each,
        count(distinct row(row_count, column_count, sample_count)) = 1 as has_single_shape,
        list_sort(list(distinct row_count || ' x ' || column_count)) as shapes,
        any_value(row_count) as row_count,
        any_value(column_count) as column_count,
        arg_min(position, slice_key) filter (where is_placed) as position,
        arg_min(along_row, slice_key) filter (where is_placed) as along_row,
        arg_min(along_column, slice_key) filter (where is_placed) as along_column,
        arg_min(spacing, slice_key) filter (where is_placed) as spacing
    from judged_slices
    group by whole, stack
),

-- Where each slice lies in the directions of the first: along the normal, and within the plane.
placed as (
    select
        models.whole,
        models.stack,
        judged_slices.position,
        judged_slices.diffusion,
        judged_slices.echo_time,
        judged_slices.moment,
        judged_slices.inversion_time,
        judged_slices.flip_angle,
        judged_slices.kind,
        judged_slices.segment,
        list_dot_product(
            cross_product(models.along_row, models.along_column), judged_slices.position
        ) as height,
        list_dot_product(models.along_row, judged_slices.position)
        - list_dot_product(models.along_row, models.position) as right_mm,
        list_dot_product(models.along_column, judged_slices.position)
        - list_dot_product(models.along_column, models.position) as down_mm,
        greatest(
            largest_difference(judged_slices.along_row, models.along_row),
            largest_difference(judged_slices.along_column, models.along_column)
        ) as turn,
        largest_difference(judged_slices.spacing, models.spacing) as spacing_difference
    from judged_slices
    join models on judged_slices.whole = models.whole and judged_slices.stack = models.stack
    where judged_slices.is_placed
),

steps as (
    select
        *,
        height - lag(height) over (partition by whole, stack order by height) as step
    from placed
),

-- Equal positions count once.
levels as (
    select
        *,
        coalesce(step > position_tolerance_mm(), true) as is_new,
        -- Over a range, not rows: images at just the same height may be sorted otherwise here.
        sum(cast(coalesce(step > position_tolerance_mm(), true) as integer))
            over (partition by whole, stack order by height range unbounded preceding)
        - 1 as level
    from steps
),

spread as (
    select
        whole,
        stack,
        cast(max(level) + 1 as bigint) as position_count,
        min(height) as lowest,
        max(height) as highest,
        arg_min(position, height) as first_position,
        arg_max(position, height) as last_position,
        median(step) filter (where is_new) as usual_step,
        max(turn) as turn,
        max(spacing_difference) as spacing_difference,
        greatest(max(right_mm) - min(right_mm), max(down_mm) - min(down_mm)) as drift_mm,
        degrees(atan2(
            sqrt(
                power(arg_max(right_mm, height) - arg_min(right_mm, height), 2)
                + power(arg_max(down_mm, height) - arg_min(down_mm, height), 2)
            ),
            max(height) - min(height)
        )) as tilt_degrees
    from levels
    group by whole, stack
),

per_level as (
    select
        whole,
        stack,
        level,
        count(*) as image_count,
        min(moment) < max(moment) as over_time,
        min(diffusion) < max(diffusion) as over_diffusion,
        min(echo_time) < max(echo_time) as over_echo,
        min(inversion_time) < max(inversion_time) as over_inversion,
        min(flip_angle) < max(flip_angle) as over_flip,
        min(kind) < max(kind) as over_kind,
        min(segment) < max(segment) as over_segment
    from levels
    group by whole, stack, level
),

repeated as (
    select
        whole,
        stack,
        min(image_count) as fewest,
        max(image_count) as most,
        list_filter([
            if(bool_or(over_time), 'time', null),
            if(bool_or(over_diffusion), 'diffusion', null),
            if(bool_or(over_echo), 'echo', null),
            if(bool_or(over_inversion), 'inversion', null),
            if(bool_or(over_flip), 'flip angle', null),
            if(bool_or(over_kind), 'image type', null),
            if(bool_or(over_segment), 'segment', null)
        ], lambda what: what is not null) as differences
    from per_level
    group by whole, stack
),

gaps as (
    select
        levels.whole,
        levels.stack,
        -- A slice is missing where a gap has room for whole ones; other gaps are uneven.
        cast(sum(if(
            abs(levels.step - round(levels.step / spread.usual_step) * spread.usual_step)
            <= 0.1 * spread.usual_step,
            greatest(round(levels.step / spread.usual_step) - 1, 0), 0
        )) as bigint) as missing_count,
        max(abs(
            levels.step - greatest(round(levels.step / spread.usual_step), 1) * spread.usual_step
        )) as off_step_mm,
        max(abs(
            levels.height - spread.lowest
            - levels.level * (spread.highest - spread.lowest) / nullif(spread.position_count - 1, 0)
        )) as off_grid_mm
    from levels
    join spread on levels.whole = spread.whole and levels.stack = spread.stack
    where levels.is_new
    group by levels.whole, levels.stack
),

judged as (
    select
        models.*,
        spread.position_count,
        repeated.most,
        repeated.fewest,
        repeated.differences,
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
        spread.usual_step,
        (spread.highest - spread.lowest) / nullif(spread.position_count - 1, 0) as slice_spacing_mm,
        gaps.off_grid_mm,
        gaps.off_step_mm,
        spread.drift_mm,
        spread.tilt_degrees,
        spread.drift_mm <= drift_tolerance_pixels() * list_min(models.spacing) as is_aligned,
        spread.first_position,
        spread.last_position
    from models
    left join spread on models.whole = spread.whole and models.stack = spread.stack
    left join repeated on models.whole = repeated.whole and models.stack = repeated.stack
    left join gaps on models.whole = gaps.whole and models.stack = gaps.stack
),

graded as (
    select
        *,
        off_grid_mm <= greatest(
            spacing_tolerance() * slice_spacing_mm, position_tolerance_mm()
        ) as is_evenly_spaced
    from judged
),

-- The distances that occur where they differ, each with those within tolerance of its neighbour.
sorted_steps as (
    select
        levels.whole,
        levels.stack,
        levels.step,
        coalesce(
            levels.step - lag(levels.step)
                over (partition by levels.whole, levels.stack order by levels.step)
            > 2 * greatest(spacing_tolerance() * graded.usual_step, position_tolerance_mm()),
            true
        ) as is_other
    from levels
    join graded on levels.whole = graded.whole and levels.stack = graded.stack
    where levels.is_new and levels.step is not null and not graded.is_evenly_spaced
),

step_groups as (
    select
        *,
        sum(cast(is_other as integer))
            over (partition by whole, stack order by step range unbounded preceding) as step_group
    from sorted_steps
),

distances as (
    select
        whole,
        stack,
        list(distance order by distance) as distances_mm
    from (
        select
            whole,
            stack,
            median(step) as distance
        from step_groups
        group by whole, stack, step_group
    )
    group by whole, stack
),

explained as (
    select
        graded.*,
        coalesce(
            distances.distances_mm,
            if(graded.slice_spacing_mm is null, null, [graded.slice_spacing_mm])
        ) as distances_mm,
        list_filter([
            if(not has_one_frame_each, 'images of several frames or mosaics', null),
            if(not has_geometry, 'slices without position, orientation, spacing or size', null),
            if(not has_single_shape, 'several shapes: ' || array_to_string(shapes, ', '), null),
            if(has_geometry and slice_count < 2, 'a single slice', null),
            if(
                has_geometry and slice_count > 1 and position_count < 2, 'a single position', null
            ),
            if(has_geometry and not has_single_spacing, 'several pixel spacings', null),
            if(has_geometry and not has_single_orientation, 'several orientations', null),
            if(has_geometry and not is_orthonormal, 'directions not at right angles', null),
            if(
                has_single_orientation and not is_complete,
                missing_count || ' missing slices', null
            ),
            if(
                has_single_orientation and not is_evenly_spaced and (
                    is_complete or off_step_mm > 2 * greatest(
                        spacing_tolerance() * usual_step, position_tolerance_mm()
                    )
                ),
                'uneven spacing: distances ' || if(
                    len(distances.distances_mm) <= 5,
                    'of ' || array_to_string(list_transform(
                        distances.distances_mm, lambda mm: cast(round(mm, 3) as varchar)
                    ), ', '),
                    'from ' || round(list_min(distances.distances_mm), 3)
                    || ' to ' || round(list_max(distances.distances_mm), 3)
                ) || ' mm',
                null
            ),
            if(
                has_single_orientation and not is_aligned,
                'slices shifted by ' || round(drift_mm, 2) || ' mm'
                || if(
                    tilt_degrees between 0.05 and 89,
                    ': gantry tilt of ' || round(tilt_degrees, 1) || ' degrees', ''
                ),
                null
            )
        ], lambda reason: reason is not null) as reasons
    from graded
    left join distances on graded.whole = distances.whole and graded.stack = distances.stack
),

decided as (
    select
        *,
        len(reasons) = 0 and has_unique_positions as is_volume,
        -- Slices that merely occur twice are no volumes: then something has to differ.
        len(reasons) = 0 and not has_unique_positions
        and (fewest = most or len(differences) > 0) as is_volume_stack
    from explained
)

select
    whole,
    stack,
    slice_count,
    position_count,
    if(has_single_orientation, most, null) as volume_count,
    if(has_single_orientation, fewest, null) as complete_volume_count,
    if(has_single_orientation, differences, null) as volumes_differ_in,
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
    distances_mm,
    missing_count,
    drift_mm,
    tilt_degrees,
    [
        column_count * spacing[2], row_count * spacing[1], position_count * slice_spacing_mm
    ] as extent_mm,
    if(is_volume or is_volume_stack, [
        along_row[1] * spacing[2], along_column[1] * spacing[1],
        (last_position[1] - first_position[1]) / (position_count - 1), first_position[1],
        along_row[2] * spacing[2], along_column[2] * spacing[1],
        (last_position[2] - first_position[2]) / (position_count - 1), first_position[2],
        along_row[3] * spacing[2], along_column[3] * spacing[1],
        (last_position[3] - first_position[3]) / (position_count - 1), first_position[3],
        0, 0, 0, 1
    ], null) as affine,
    is_volume,
    is_volume_stack,
    nullif(array_to_string(reasons || if(
        has_single_orientation and position_count > 1 and not has_unique_positions,
        [if(
            is_volume_stack,
            most || ' volumes of ' || position_count || ' slices at the same positions'
            || if(fewest < most, ', ' || fewest || ' of them complete', ''),
            if(
                fewest = most,
                'each position occurs ' || most || ' times',
                slice_count - position_count || ' repeated positions'
            )
        )], cast([] as varchar[])
    ), '; '), '') as why_not
from decided;
