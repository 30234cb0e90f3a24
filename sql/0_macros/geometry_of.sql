-- Whether slices make a volume, and which: `from geometry_of('image_slices')`, one row per stack.
--
-- The table that is named has a row per slice with the columns of `image_slices`: two that say
-- which stack it belongs to (`whole`, `stack`), where it lies, its shape, and what may differ
-- between slices at one position. `series_geometry` and `stack_geometry` are this, for the images
-- of a series and for the frames of an image; what each column means stands there.
--
-- No step is joined with another, so that asking for one stack reads only its slices.
--
-- example: from geometry_of('image_slices') limit 5
create or replace macro geometry_of(slices) as table
with checked as (
    select
        * exclude (position, along_row, along_column, spacing),
        -- Nothing is computed with half a position.
        if(is_placed, position, null) as position,
        if(is_placed, along_row, null) as along_row,
        if(is_placed, along_column, null) as along_column,
        if(is_placed, spacing, null) as spacing,
        struct_pack(
            row_count := row_count, column_count := column_count, sample_count := sample_count
        ) as shape
    from (
        select
            *,
            coalesce(
                len(position) = 3
                and len(along_row) = 3
                and len(along_column) = 3
                and len(spacing) = 2
                and list_min(spacing) > 0
                -- Larger numbers are damage, and too large to compute with.
                and not list_contains(list_transform(
                    position || spacing, lambda mm: coalesce(abs(mm) < 1e6, false)
                ), false)
                and not list_contains(list_transform(
                    along_row || along_column, lambda cosine: coalesce(abs(cosine) < 2, false)
                ), false)
                and row_count > 0 and column_count > 0,
                false
            ) as is_placed
        from query_table(slices)
    )
),

modeled as (
    select
        *,
        arg_min(shape, slice_key) over stacks as first_shape,
        arg_min(
            struct_pack(
                position := position, along_row := along_row, along_column := along_column,
                spacing := spacing
            ),
            slice_key
        ) filter (where is_placed) over stacks as first
    from checked
    window stacks as (partition by whole, stack)
),

-- Where each slice lies in the directions of the first: along the normal, and within the plane.
placed as (
    select
        *,
        dot_product(cross_product(first.along_row, first.along_column), position) as height,
        dot_product(first.along_row, position)
        - dot_product(first.along_row, first.position) as right_mm,
        dot_product(first.along_column, position)
        - dot_product(first.along_column, first.position) as down_mm,
        greatest(
            largest_difference(along_row, first.along_row),
            largest_difference(along_column, first.along_column)
        ) as turn,
        largest_difference(spacing, first.spacing) as spacing_difference
    from modeled
),

steps as (
    select
        *,
        height - lag(height) over (partition by whole, stack order by height) as step
    from placed
),

-- Equal positions count once. Slices without a place come last, and have a level of their own.
numbered as (
    select
        *,
        -- Over a range, not rows: slices at just the same height may be sorted otherwise here.
        if(is_placed, sum(cast(coalesce(step > rounding_mm(first.spacing), true) as integer))
            over (partition by whole, stack order by height range unbounded preceding), null) as level
    from steps
),

levels as (
    select
        whole,
        stack,
        level,
        count(*) as slice_count,
        bool_and(is_single) as is_single,
        any_value(first_shape) as first_shape,
        list(shape) filter (where shape is distinct from first_shape) as other_shapes,
        any_value(first) as first,
        min(height) as height,
        max(step) filter (where step > rounding_mm(first.spacing)) as step,
        arg_min(position, height) as position,
        max(turn) as turn,
        max(spacing_difference) as spacing_difference,
        arg_min(right_mm, height) as right_mm,
        arg_min(down_mm, height) as down_mm,
        min(right_mm) as least_right_mm,
        max(right_mm) as most_right_mm,
        min(down_mm) as least_down_mm,
        max(down_mm) as most_down_mm,
        any_value(position_why_not) as position_why_not,
        min(temporal_position) < max(temporal_position)
        or min(acquired_us) < max(acquired_us)
        or min(elapsed_ms) < max(elapsed_ms) as over_time,
        min(trigger_ms) < max(trigger_ms) as over_trigger,
        min(cardiac_percent) < max(cardiac_percent) as over_heart,
        min(respiratory_ms) < max(respiratory_ms)
        or min(respiratory_percent) < max(respiratory_percent) as over_breath,
        min(b_value) < max(b_value) or min(direction) < max(direction) as over_diffusion,
        min(echo_time) < max(echo_time) or min(echo_number) < max(echo_number) as over_echo,
        min(inversion_time) < max(inversion_time) as over_inversion,
        min(flip_angle) < max(flip_angle) as over_flip,
        min(repetition_time) < max(repetition_time) as over_repetition,
        min(kind) < max(kind) as over_kind,
        min(segment) < max(segment) as over_segment,
        min(tube_voltage) < max(tube_voltage) as over_voltage,
        min(kernel) < max(kernel) as over_kernel,
        min(vectors) < max(vectors) as over_vectors,
        -- What has one value in a volume, of all slices here in any order.
        sum(cast(hash(
            kind, echo_time, echo_number, inversion_time, flip_angle, b_value, direction, segment,
            cardiac_percent, respiratory_ms, respiratory_percent, vectors
        ) as hugeint)) as conditions
    from numbered
    group by whole, stack, level
),

stacks as (
    select
        whole,
        stack,
        cast(sum(slice_count) as bigint) as slice_count,
        nullif(count(level), 0) as position_count,
        count(*) = count(level) as has_geometry,
        bool_and(is_single) as has_one_frame_each,
        any_value(first_shape) as first_shape,
        flatten(coalesce(list(other_shapes), [])) as other_shapes,
        any_value(first) as first,
        min(height) as lowest,
        max(height) as highest,
        arg_min(position, height) as first_position,
        arg_max(position, height) as last_position,
        list(height order by height) filter (where level is not null) as heights,
        list(step order by height) filter (where step is not null) as steps,
        max(turn) as turn,
        max(spacing_difference) as spacing_difference,
        greatest(
            max(most_right_mm) - min(least_right_mm), max(most_down_mm) - min(least_down_mm)
        ) as drift_mm,
        sqrt(
            power(arg_max(right_mm, height) - arg_min(right_mm, height), 2)
            + power(arg_max(down_mm, height) - arg_min(down_mm, height), 2)
        ) as shift_mm,
        min(slice_count) filter (where level is not null) as fewest,
        max(slice_count) filter (where level is not null) as most,
        list_filter([
            if(bool_or(over_time), 'time', null),
            if(bool_or(over_trigger), 'trigger time', null),
            if(bool_or(over_heart), 'cardiac phase', null),
            if(bool_or(over_breath), 'respiratory phase', null),
            if(bool_or(over_diffusion), 'diffusion', null),
            if(bool_or(over_echo), 'echo', null),
            if(bool_or(over_inversion), 'inversion', null),
            if(bool_or(over_flip), 'flip angle', null),
            if(bool_or(over_repetition), 'repetition time', null),
            if(bool_or(over_kind), 'image type', null),
            if(bool_or(over_segment), 'segment', null),
            if(bool_or(over_voltage), 'tube voltage', null),
            if(bool_or(over_kernel), 'kernel', null),
            if(bool_or(over_vectors), 'nuclear medicine vectors', null)
        ], lambda what: what is not null) as differences,
        min(conditions) = max(conditions) as has_common_conditions,
        any_value(position_why_not) as position_why_not
    from levels
    group by whole, stack
),

spaced as (
    select
        *,
        first.along_row,
        first.along_column,
        first.spacing,
        first_shape.row_count,
        first_shape.column_count,
        list_median(steps) as usual_step,
        (highest - lowest) / nullif(position_count - 1, 0) as mean_step,
        greatest(
            spacing_tolerance() * (highest - lowest) / nullif(position_count - 1, 0),
            2 * rounding_mm(first.spacing)
        ) as tolerance_mm
    from stacks
),

compared as (
    select
        *,
        list_sort(steps) as sorted_steps,
        -- A slice is missing where a gap has room for whole ones; other gaps are uneven.
        coalesce(cast(list_sum(list_transform(steps, lambda step: if(
            abs(step - round(step / usual_step) * usual_step) <= 0.1 * usual_step,
            greatest(round(step / usual_step) - 1, 0), 0
        ))) as bigint), 0) as missing_count,
        list_max(list_transform(
            steps, lambda step: abs(step - greatest(round(step / usual_step), 1) * usual_step)
        )) as off_step_mm,
        list_max(list_transform(
            range(0, len(heights)), lambda n: abs(heights[n + 1] - lowest - n * mean_step)
        )) as off_grid_mm
    from spaced
),

judged as (
    select
        *,
        coalesce(has_geometry and spacing_difference
        <= greatest(spacing_tolerance() * list_min(spacing), 1e-6), false) as has_single_spacing,
        coalesce(has_geometry and turn <= cosine_tolerance(), false) as has_single_orientation,
        abs(dot_product(along_row, along_column)) <= 1e-3
        and abs(dot_product(along_row, along_row) - 1) <= 1e-3
        and abs(dot_product(along_column, along_column) - 1) <= 1e-3 as is_orthonormal,
        len(other_shapes) = 0 as has_single_shape,
        position_count = slice_count as has_unique_positions,
        missing_count = 0 as is_complete,
        off_grid_mm <= tolerance_mm as is_evenly_spaced,
        -- The mean is more exact; where slices are missing it is the distance of none.
        if(off_grid_mm <= tolerance_mm, mean_step, usual_step) as slice_spacing_mm,
        drift_mm <= greatest(
            drift_tolerance_pixels() * list_min(spacing), 2 * rounding_mm(spacing)
        ) as is_aligned,
        degrees(atan2(shift_mm, highest - lowest)) as tilt_degrees,
        -- Those within tolerance of their neighbor are one.
        if(off_grid_mm <= tolerance_mm, [mean_step], list_transform(
            list_filter(
                range(1, len(sorted_steps) + 1),
                lambda n: n = 1 or sorted_steps[n] - sorted_steps[n - 1] > 2 * tolerance_mm
            ),
            lambda n: sorted_steps[n]
        )) as distances_mm
    from compared
),

explained as (
    select
        *,
        list_filter([
            if(not has_one_frame_each, 'images of several frames or mosaics', null),
            if(
                not has_geometry,
                'slices without position, orientation, spacing or size'
                || coalesce(': ' || position_why_not, ''),
                null
            ),
            if(
                not has_single_shape,
                'several shapes: ' || array_to_string(list_transform(
                    list_sort(list_distinct([first_shape] || other_shapes)),
                    lambda shape: format(
                        '{} x {}{} ({})',
                        shape.row_count, shape.column_count,
                        if(shape.sample_count > 1, ' x ' || shape.sample_count, ''),
                        if(
                            shape = first_shape, slice_count - len(other_shapes),
                            len(list_filter(other_shapes, lambda other: other = shape))
                        )
                    )
                ), ', '),
                null
            ),
            if(has_geometry and slice_count < 2, 'a single slice', null),
            if(
                has_geometry and slice_count > 1 and position_count < 2, 'a single position', null
            ),
            if(has_geometry and not has_single_spacing, 'several pixel spacings', null),
            if(has_geometry and not has_single_orientation, 'several orientations', null),
            if(has_geometry and not is_orthonormal, 'directions not at right angles', null),
            if(
                has_single_orientation and not is_complete,
                missing_count || ' missing slice' || if(missing_count = 1, '', 's'), null
            ),
            if(
                has_single_orientation and not is_evenly_spaced
                and (is_complete or off_step_mm > 2 * tolerance_mm),
                'uneven spacing: distances ' || if(
                    len(distances_mm) <= 5,
                    'of ' || array_to_string(list_transform(
                        distances_mm, lambda mm: cast(round(mm, 3) as varchar)
                    ), ', '),
                    'from ' || round(distances_mm[1], 3) || ' to ' || round(distances_mm[-1], 3)
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
    from judged
),

decided as (
    select
        *,
        len(reasons) = 0 and has_unique_positions as is_volume,
        -- Slices that merely occur twice are no volumes: then something has to differ. Where all
        -- positions occur equally often, it has to differ in the same way at each.
        len(reasons) = 0 and not has_unique_positions
        and if(fewest = most, has_common_conditions, len(differences) > 0) as is_volume_stack
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
    -- Along which of several orientations, would be chance.
    if(has_single_orientation, drift_mm, null) as drift_mm,
    if(has_single_orientation, tilt_degrees, null) as tilt_degrees,
    [
        column_count * spacing[2], row_count * spacing[1], highest - lowest + slice_spacing_mm
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
                'each position occurs ' || most || ' times'
                || if(
                    has_common_conditions, '',
                    ', not everywhere with the same ' || coalesce(nullif(array_to_string(
                        list_filter(differences, lambda what: what not in ('time', 'trigger time')), ', '
                    ), ''), 'conditions')
                ),
                slice_count - position_count || ' repeated positions'
            )
        )], cast([] as varchar[])
    ), '; '), '') as why_not
from decided;
