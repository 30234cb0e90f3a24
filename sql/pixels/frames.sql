-- The frames of the multi-frame images of the series $1, with what places and scales each.
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
where series_key = $1
order by instance_id, frame_number
