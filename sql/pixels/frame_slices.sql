-- What tells the frames of the series $1, with ids from $2 to $3, apart that lie at one position.
select
    instance_id,
    slice_key as frame_number,
    * exclude (
        whole, instance_id, stack, slice_key, series_key, position, position_why_not, along_row,
        along_column, spacing, row_count, column_count, sample_count, is_single
    )
from frame_slices
where series_key = $1 and instance_id between $2 and $3
