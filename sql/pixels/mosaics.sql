-- How many slices the mosaics of the series $1, with ids from $2 to $3, hold, along which normal, how far apart.
select
    instance_id,
    tile_count,
    slice_normal,
    slice_spacing_mm
from mosaic_geometry
where series_key = $1 and instance_id between $2 and $3
