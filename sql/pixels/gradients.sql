-- How the frames of the series $1, with ids from $2 to $3, are weighted, and in which direction.
select
    instance_id,
    frame_number,
    b_value,
    diffusion_gradient_direction,
    gradient_axes_direction is not null as is_unplaced,
    b_value_source = 'inferred' as is_inferred,
    without_creator,
    not_read
from diffusion_frames
where series_key = $1 and instance_id between $2 and $3
