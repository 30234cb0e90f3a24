-- The frames of the multi-frame images of the series $1, with ids from $2 to $3: what places and
-- scales each. Within the ids little is read of the long table.
select
    instance_id,
    frame_number,
    ImagePositionPatient,
    ImageOrientationPatient,
    PixelSpacing,
    StackID,
    DimensionIndexValues,
    ReferencedSegmentNumber[1] as segment,
    RescaleSlope,
    RescaleIntercept
from frames
where series_key = $1 and instance_id between $2 and $3
order by instance_id, frame_number
