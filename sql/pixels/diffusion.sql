-- How the frames of the series $1, with ids from $2 to $3, are weighted.
select
    instance_id,
    frame_number,
    b_value,
    list_transform(
        coalesce(diffusion_gradient_direction, gradient_axes_direction),
        lambda cosine: round(cosine, 6) + 0  -- no minus before zero
    ) as direction
from diffusion_frames
where series_key = $1 and instance_id between $2 and $3
