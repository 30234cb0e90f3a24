-- One row per series with diffusion weighting.
--
-- grain:   series_key
-- depends: diffusion_frames
-- column:  series_key | VARCHAR | the series
-- column:  b_values | DOUBLE[] | distinct b-values, s/mm², ascending
-- column:  diffusion_direction_count | BIGINT | distinct gradient directions with a b-value over 0, equal to three decimals; 0 if none is stated
-- column:  weighted_frame_count | BIGINT | frames with a b-value over 0; an instance of one frame is one
-- column:  unweighted_frame_count | BIGINT | frames with a b-value of 0
create or replace view diffusion_series as
select
    series_key,
    list_sort(list(distinct b_value)) as b_values,
    -- Adding 0 makes 0 of -0, which would be a direction of its own.
    count(distinct list_transform(
        coalesce(diffusion_gradient_direction, gradient_axes_direction),
        lambda part: round(part, 3) + 0
    )) filter (where b_value > 0) as diffusion_direction_count,
    count(*) filter (where b_value > 0) as weighted_frame_count,
    count(*) filter (where b_value = 0) as unweighted_frame_count
from diffusion_frames
where b_value is not null
group by series_key
having max(b_value) > 0;
