-- The images of the series $1 with all that is needed to read and to place their pixels.
--
-- In the order of acquisition, as the scanner counted; the key decides where it did not.
select
    instances.instance_id,
    instances.instance_key,
    instances.SOPInstanceUID,
    instances.SOPClassUID,
    instances.path,
    files.size_bytes,
    epoch_us(files.modified_at) as modified_us,
    instances.TransferSyntaxUID,
    instances.pixel_offset,
    instances.pixel_length,
    instances.is_encapsulated,
    instances."Rows",
    instances."Columns",
    instances.NumberOfFrames,
    instances.SamplesPerPixel,
    instances.PhotometricInterpretation,
    instances.PlanarConfiguration,
    instances.BitsAllocated,
    instances.BitsStored,
    instances.PixelRepresentation,
    instances.ImageType,
    instances.InstanceNumber,
    epoch_us(
        instances.AcquisitionDate + coalesce(instances.AcquisitionTime, time '00:00:00')
    ) as acquired_us,
    instances.TemporalPositionIdentifier,
    instances.EchoTime,
    instances.DiffusionBValue,
    instances.ImagePositionPatient,
    instances.ImageOrientationPatient,
    instances.PixelSpacing,
    instances.SpacingBetweenSlices,
    instances.RescaleSlope,
    instances.RescaleIntercept,
    instances.WindowCenter,
    instances.WindowWidth
from instances
inner join files using (instance_id)
where instances.series_key = $1 and instances.pixel_offset is not null
order by
    instances.InstanceNumber nulls last,
    acquired_us nulls last,
    instances.instance_key
