-- One row per SOP instance: core attributes as typed columns, and the location of its pixel data.
--
-- Stored; what the columns mean is defined by `instances_from_elements`, of which this is the
-- answer per batch. Of a multi-frame object this is its top level; what stands in its functional
-- groups is in `frame_values`, by frame in `frames`.
--
-- grain:   instance_id
-- example: select SOPInstanceUID, Modality, Rows, Columns from instances limit 5
-- table:   instances
-- stores:  instances_from_elements
-- column:  batch | VARCHAR | ingest batch that read the row: the upper bits of its id
-- column:  instance_id | BIGINT | key of its rows in `elements`; sequential inside a batch
-- column:  instance_key | VARCHAR | identity: SOPInstanceUID, otherwise MediaStorageSOPInstanceUID, otherwise a digest of the header
-- column:  series_key | VARCHAR | SeriesInstanceUID; if it is missing, `missing:` and instance_key; null for a DICOMDIR
-- column:  study_key | VARCHAR | StudyInstanceUID; if it is missing, `missing:` and SeriesInstanceUID or instance_key; null for a DICOMDIR
-- column:  patient_key | VARCHAR | PatientID; if it is missing, `missing:` and the UID of the study, series or instance; null for a DICOMDIR
-- column:  has_missing_uid | BOOLEAN | PatientID or the UID of study, series or instance is missing or empty
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  SOPClassUID | VARCHAR | SOP Class UID (0008,0016)
-- column:  MediaStorageSOPClassUID | VARCHAR | Media Storage SOP Class UID (0002,0002)
-- column:  MediaStorageSOPInstanceUID | VARCHAR | Media Storage SOP Instance UID (0002,0003)
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  IssuerOfPatientID | VARCHAR | Issuer of Patient ID (0010,0021)
-- column:  PatientName | VARCHAR | Patient's Name (0010,0010), as written: Family^Given^Middle^Prefix^Suffix
-- column:  PatientBirthDate | DATE | Patient's Birth Date (0010,0030)
-- column:  PatientSex | VARCHAR | Patient's Sex (0010,0040)
-- column:  PatientAge | VARCHAR | Patient's Age (0010,1010)
-- column:  PatientSize | DOUBLE | Patient's Size (0010,1020), m
-- column:  PatientWeight | DOUBLE | Patient's Weight (0010,1030), kg
-- column:  StudyInstanceUID | VARCHAR | Study Instance UID (0020,000D)
-- column:  StudyID | VARCHAR | Study ID (0020,0010)
-- column:  StudyDate | DATE | Study Date (0008,0020)
-- column:  StudyTime | TIME | Study Time (0008,0030)
-- column:  StudyDescription | VARCHAR | Study Description (0008,1030)
-- column:  AccessionNumber | VARCHAR | Accession Number (0008,0050)
-- column:  ReferringPhysicianName | VARCHAR | Referring Physician's Name (0008,0090), as written: Family^Given^Middle^Prefix^Suffix
-- column:  SeriesInstanceUID | VARCHAR | Series Instance UID (0020,000E)
-- column:  SeriesNumber | BIGINT | Series Number (0020,0011)
-- column:  SeriesDate | DATE | Series Date (0008,0021)
-- column:  SeriesTime | TIME | Series Time (0008,0031)
-- column:  SeriesDescription | VARCHAR | Series Description (0008,103E)
-- column:  Modality | VARCHAR | Modality (0008,0060)
-- column:  BodyPartExamined | VARCHAR | Body Part Examined (0018,0015)
-- column:  Laterality | VARCHAR | Laterality (0020,0060)
-- column:  PatientPosition | VARCHAR | Patient Position (0018,5100)
-- column:  ProtocolName | VARCHAR | Protocol Name (0018,1030)
-- column:  Manufacturer | VARCHAR | Manufacturer (0008,0070)
-- column:  ManufacturerModelName | VARCHAR | Manufacturer's Model Name (0008,1090)
-- column:  DeviceSerialNumber | VARCHAR | Device Serial Number (0018,1000)
-- column:  StationName | VARCHAR | Station Name (0008,1010)
-- column:  SoftwareVersions | VARCHAR[] | Software Versions (0018,1020)
-- column:  InstitutionName | VARCHAR | Institution Name (0008,0080)
-- column:  OperatorsName | VARCHAR[] | Operators' Name (0008,1070), as written: Family^Given^Middle^Prefix^Suffix of each
-- column:  FrameOfReferenceUID | VARCHAR | Frame of Reference UID (0020,0052)
-- column:  InstanceNumber | BIGINT | Instance Number (0020,0013)
-- column:  InstanceCreationDate | DATE | Instance Creation Date (0008,0012)
-- column:  InstanceCreationTime | TIME | Instance Creation Time (0008,0013)
-- column:  AcquisitionNumber | BIGINT | Acquisition Number (0020,0012)
-- column:  AcquisitionDate | DATE | Acquisition Date (0008,0022)
-- column:  AcquisitionTime | TIME | Acquisition Time (0008,0032)
-- column:  ContentDate | DATE | Content Date (0008,0023)
-- column:  ContentTime | TIME | Content Time (0008,0033)
-- column:  ImageType | VARCHAR[] | Image Type (0008,0008)
-- column:  ImageComments | VARCHAR | Image Comments (0020,4000)
-- column:  BurnedInAnnotation | VARCHAR | Burned In Annotation (0028,0301)
-- column:  ImagePositionPatient | DOUBLE[] | Image Position (Patient) (0020,0032), mm, LPS
-- column:  ImageOrientationPatient | DOUBLE[] | Image Orientation (Patient) (0020,0037), direction cosines of a row, then of a column
-- column:  SliceThickness | DOUBLE | Slice Thickness (0018,0050), mm
-- column:  SpacingBetweenSlices | DOUBLE | Spacing Between Slices (0018,0088), mm
-- column:  SliceLocation | DOUBLE | Slice Location (0020,1041), mm
-- column:  PixelSpacing | DOUBLE[] | Pixel Spacing (0028,0030), mm: between rows, between columns
-- column:  ImagerPixelSpacing | DOUBLE[] | Imager Pixel Spacing (0018,1164), mm at the detector: between rows, between columns
-- column:  GantryDetectorTilt | DOUBLE | Gantry/Detector Tilt (0018,1120), degrees
-- column:  TemporalPositionIdentifier | BIGINT | Temporal Position Identifier (0020,0100)
-- column:  Rows | BIGINT | Rows (0028,0010)
-- column:  Columns | BIGINT | Columns (0028,0011)
-- column:  NumberOfFrames | BIGINT | Number of Frames (0028,0008)
-- column:  SamplesPerPixel | BIGINT | Samples per Pixel (0028,0002)
-- column:  PhotometricInterpretation | VARCHAR | Photometric Interpretation (0028,0004)
-- column:  PlanarConfiguration | BIGINT | Planar Configuration (0028,0006)
-- column:  BitsAllocated | BIGINT | Bits Allocated (0028,0100)
-- column:  BitsStored | BIGINT | Bits Stored (0028,0101)
-- column:  HighBit | BIGINT | High Bit (0028,0102)
-- column:  PixelRepresentation | BIGINT | Pixel Representation (0028,0103)
-- column:  RescaleIntercept | DOUBLE | Rescale Intercept (0028,1052)
-- column:  RescaleSlope | DOUBLE | Rescale Slope (0028,1053)
-- column:  RescaleType | VARCHAR | Rescale Type (0028,1054)
-- column:  WindowCenter | DOUBLE[] | Window Center (0028,1050)
-- column:  WindowWidth | DOUBLE[] | Window Width (0028,1051)
-- column:  LossyImageCompression | VARCHAR | Lossy Image Compression (0028,2110)
-- column:  ScanningSequence | VARCHAR[] | Scanning Sequence (0018,0020)
-- column:  SequenceVariant | VARCHAR[] | Sequence Variant (0018,0021)
-- column:  ScanOptions | VARCHAR[] | Scan Options (0018,0022)
-- column:  MRAcquisitionType | VARCHAR | MR Acquisition Type (0018,0023)
-- column:  SequenceName | VARCHAR | Sequence Name (0018,0024)
-- column:  PulseSequenceName | VARCHAR | Pulse Sequence Name (0018,9005)
-- column:  MagneticFieldStrength | DOUBLE | Magnetic Field Strength (0018,0087), as stored: tesla, or gauss
-- column:  EchoTime | DOUBLE | Echo Time (0018,0081), ms
-- column:  InversionTime | DOUBLE | Inversion Time (0018,0082), ms
-- column:  RepetitionTime | DOUBLE | Repetition Time (0018,0080), ms
-- column:  EchoTrainLength | BIGINT | Echo Train Length (0018,0091)
-- column:  EchoNumbers | BIGINT[] | Echo Number(s) (0018,0086)
-- column:  FlipAngle | DOUBLE | Flip Angle (0018,1314), degrees
-- column:  NumberOfAverages | DOUBLE | Number of Averages (0018,0083)
-- column:  PixelBandwidth | DOUBLE | Pixel Bandwidth (0018,0095), Hz per pixel
-- column:  InPlanePhaseEncodingDirection | VARCHAR | In-plane Phase Encoding Direction (0018,1312)
-- column:  DiffusionBValue | DOUBLE | Diffusion b-value (0018,9087), s/mm²
-- column:  KVP | DOUBLE | KVP (0018,0060), kV
-- column:  XRayTubeCurrent | BIGINT | X-Ray Tube Current (0018,1151), mA
-- column:  Exposure | BIGINT | Exposure (0018,1152), mAs
-- column:  ConvolutionKernel | VARCHAR[] | Convolution Kernel (0018,1210)
-- column:  ContrastBolusAgent | VARCHAR | Contrast/Bolus Agent (0018,0010)
-- column:  family_name | VARCHAR | family name of the patient, alphabetic group
-- column:  given_name | VARCHAR | given name of the patient, alphabetic group
-- column:  middle_name | VARCHAR | middle name of the patient, alphabetic group
-- column:  name_prefix | VARCHAR | name prefix of the patient, alphabetic group
-- column:  name_suffix | VARCHAR | name suffix of the patient, alphabetic group
-- column:  ideographic_name | VARCHAR | ideographic group of PatientName, as written
-- column:  phonetic_name | VARCHAR | phonetic group of PatientName, as written
-- column:  patient_age_years | DOUBLE | PatientAge in years
-- column:  pulse_sequence_name | VARCHAR | PulseSequenceName, else the private one of GE (0019,xx9C) by GEMS_ACQU_01
-- column:  file_path | VARCHAR | file that holds the instance, as in `files`
-- column:  TransferSyntaxUID | VARCHAR | Transfer Syntax UID (0002,0010)
-- column:  pixel_offset | BIGINT | first byte of the pixel data in the file; null without pixel data
-- column:  pixel_length | BIGINT | bytes of the pixel data, item headers included if encapsulated
-- column:  is_encapsulated | BOOLEAN | the pixel data are compressed fragments
create or replace view instances as
select
    printf('%06d', instance_id >> 24) as batch,
    instance_id,
    instance_key,
    series_key,
    study_key,
    patient_key,
    has_missing_uid,
    SOPInstanceUID,
    SOPClassUID,
    MediaStorageSOPClassUID,
    MediaStorageSOPInstanceUID,
    PatientID,
    IssuerOfPatientID,
    PatientName,
    PatientBirthDate,
    PatientSex,
    PatientAge,
    PatientSize,
    PatientWeight,
    StudyInstanceUID,
    StudyID,
    StudyDate,
    cast(make_timestamp(StudyTime) as time) as StudyTime,
    StudyDescription,
    AccessionNumber,
    ReferringPhysicianName,
    SeriesInstanceUID,
    SeriesNumber,
    SeriesDate,
    cast(make_timestamp(SeriesTime) as time) as SeriesTime,
    SeriesDescription,
    Modality,
    BodyPartExamined,
    Laterality,
    PatientPosition,
    ProtocolName,
    Manufacturer,
    ManufacturerModelName,
    DeviceSerialNumber,
    StationName,
    SoftwareVersions,
    InstitutionName,
    OperatorsName,
    FrameOfReferenceUID,
    InstanceNumber,
    InstanceCreationDate,
    cast(make_timestamp(InstanceCreationTime) as time) as InstanceCreationTime,
    AcquisitionNumber,
    AcquisitionDate,
    cast(make_timestamp(AcquisitionTime) as time) as AcquisitionTime,
    ContentDate,
    cast(make_timestamp(ContentTime) as time) as ContentTime,
    ImageType,
    ImageComments,
    BurnedInAnnotation,
    ImagePositionPatient,
    ImageOrientationPatient,
    SliceThickness,
    SpacingBetweenSlices,
    SliceLocation,
    PixelSpacing,
    ImagerPixelSpacing,
    GantryDetectorTilt,
    TemporalPositionIdentifier,
    Rows,
    Columns,
    NumberOfFrames,
    SamplesPerPixel,
    PhotometricInterpretation,
    PlanarConfiguration,
    BitsAllocated,
    BitsStored,
    HighBit,
    PixelRepresentation,
    RescaleIntercept,
    RescaleSlope,
    RescaleType,
    WindowCenter,
    WindowWidth,
    LossyImageCompression,
    ScanningSequence,
    SequenceVariant,
    ScanOptions,
    MRAcquisitionType,
    SequenceName,
    PulseSequenceName,
    MagneticFieldStrength,
    EchoTime,
    InversionTime,
    RepetitionTime,
    EchoTrainLength,
    EchoNumbers,
    FlipAngle,
    NumberOfAverages,
    PixelBandwidth,
    InPlanePhaseEncodingDirection,
    DiffusionBValue,
    KVP,
    XRayTubeCurrent,
    Exposure,
    ConvolutionKernel,
    ContrastBolusAgent,
    family_name,
    given_name,
    middle_name,
    name_prefix,
    name_suffix,
    ideographic_name,
    phonetic_name,
    patient_age_years,
    pulse_sequence_name,
    path as file_path,
    TransferSyntaxUID,
    pixel_offset,
    pixel_length,
    is_encapsulated
from read_parquet(
    getvariable('stored').instances, hive_partitioning = false
);
