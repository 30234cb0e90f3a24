-- One row per series with diffusion weighting, or whose import mode leaves it unknown.
--
-- Private elements are stored in mode full only: of a series that was read in another mode, and does
-- not state all elsewhere, nothing is said but that.
--
-- grain:   series_key
-- depends: diffusion_frames
-- column:  series_key | VARCHAR | the series
-- column:  b_values | DOUBLE[] | distinct b-values, s/mm², ascending
-- column:  diffusion_direction_count | BIGINT | distinct gradient directions with a b-value over 0, compared to three decimals; 0 if none is stated
-- column:  weighted_frame_count | BIGINT | frames with a b-value over 0; an instance of one frame is one
-- column:  unweighted_frame_count | BIGINT | frames with a b-value of 0
-- column:  inferred_frame_count | BIGINT | unweighted frames without a stated b-value: images without one in a series with weighted images
-- column:  without_creator | BOOLEAN | b-values or directions come from private elements without a creator
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store; null if nothing
create or replace view diffusion_series as
with counted as (
    select
        series_key,
        list_sort(list(distinct b_value) filter (where b_value is not null)) as b_values,
        -- Adding 0 makes 0 of -0, which would be a direction of its own.
        count(distinct list_transform(
            coalesce(diffusion_gradient_direction, gradient_axes_direction),
            lambda part: round(part, 3) + 0
        )) filter (where b_value > 0) as diffusion_direction_count,
        count(*) filter (where b_value > 0) as weighted_frame_count,
        count(*) filter (where b_value = 0) as unweighted_frame_count,
        count(*) filter (where b_value_source = 'inferred') as inferred_frame_count,
        bool_or(without_creator) as without_creator,
        min(not_read) as not_read
    from diffusion_frames
    group by series_key
    having max(b_value) > 0 or min(not_read) is not null
)

select
    series_key,
    if(not_read is null, b_values, null) as b_values,
    if(not_read is null, diffusion_direction_count, null) as diffusion_direction_count,
    if(not_read is null, weighted_frame_count, null) as weighted_frame_count,
    if(not_read is null, unweighted_frame_count, null) as unweighted_frame_count,
    if(not_read is null, inferred_frame_count, null) as inferred_frame_count,
    if(not_read is null, without_creator, null) as without_creator,
    not_read
from counted;
