-- One row per instance with pixel data.
--
-- grain:   instance_id
-- depends: instances
-- column:  instance_id | BIGINT | key of its rows in `elements`
-- column:  instance_key | VARCHAR | identity of the instance
-- column:  series_key | VARCHAR | key to `series`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  SOPClassUID | VARCHAR | SOP Class UID (0008,0016)
-- column:  InstanceNumber | BIGINT | Instance Number (0020,0013)
-- column:  InstanceCreationDate | DATE | Instance Creation Date (0008,0012)
-- column:  InstanceCreationTime | TIME | Instance Creation Time (0008,0013)
-- column:  ImageType | VARCHAR[] | Image Type (0008,0008)
-- column:  Modality | VARCHAR | Modality (0008,0060)
-- column:  Rows | BIGINT | Rows (0028,0010)
-- column:  Columns | BIGINT | Columns (0028,0011)
-- column:  NumberOfFrames | BIGINT | Number of Frames (0028,0008)
-- column:  SamplesPerPixel | BIGINT | Samples per Pixel (0028,0002)
-- column:  PhotometricInterpretation | VARCHAR | Photometric Interpretation (0028,0004)
-- column:  BitsAllocated | BIGINT | Bits Allocated (0028,0100)
-- column:  BitsStored | BIGINT | Bits Stored (0028,0101)
-- column:  PixelRepresentation | BIGINT | Pixel Representation (0028,0103)
-- column:  ImagePositionPatient | DOUBLE[] | Image Position (Patient) (0020,0032), mm, LPS
-- column:  ImageOrientationPatient | DOUBLE[] | Image Orientation (Patient) (0020,0037), direction cosines of a row, then of a column
-- column:  PixelSpacing | DOUBLE[] | Pixel Spacing (0028,0030), mm: between rows, between columns
-- column:  SliceThickness | DOUBLE | Slice Thickness (0018,0050), mm
-- column:  SliceLocation | DOUBLE | Slice Location (0020,1041), mm
-- column:  created_at | TIMESTAMP | InstanceCreationDate and InstanceCreationTime as written, in the clock of the device; midnight if the time is missing
-- column:  file_path | VARCHAR | file that holds the pixel data
-- column:  TransferSyntaxUID | VARCHAR | Transfer Syntax UID (0002,0010)
-- column:  pixel_offset | BIGINT | first byte of the pixel data in the file
-- column:  pixel_length | BIGINT | bytes of the pixel data, item headers included if encapsulated
-- column:  is_encapsulated | BOOLEAN | the pixel data are compressed fragments
create or replace view images as
select
    instance_id,
    instance_key,
    series_key,
    SOPInstanceUID,
    SOPClassUID,
    InstanceNumber,
    InstanceCreationDate,
    InstanceCreationTime,
    ImageType,
    Modality,
    Rows,
    Columns,
    NumberOfFrames,
    SamplesPerPixel,
    PhotometricInterpretation,
    BitsAllocated,
    BitsStored,
    PixelRepresentation,
    ImagePositionPatient,
    ImageOrientationPatient,
    PixelSpacing,
    SliceThickness,
    SliceLocation,
    InstanceCreationDate + coalesce(InstanceCreationTime, time '00:00:00') as created_at,
    file_path,
    TransferSyntaxUID,
    pixel_offset,
    pixel_length,
    is_encapsulated
from instances
where pixel_offset is not null;
