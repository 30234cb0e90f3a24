-- One row per instance: its core attributes from the top level of the data set, nothing derived.
--
-- An attribute with several values where one is expected gives its first; an identifier gives all of them,
-- as `DOMAIN\1` is nobody else's, and DOMAIN is (`whole_identifier`). Attributes of multi-frame objects inside
-- functional groups are in `frame_values`, not here. Which element becomes which column stands in
-- sql/rules/instance_attributes.csv; `make sql` writes the lines below from it, the ingest gathers
-- the same table without a scan per column (warehouse/store/attributes.py), and a test holds both equal.
--
-- grain:   instance_id
-- depends: elements
-- column:  instance_id | BIGINT | key of its rows in `elements`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  SOPClassUID | VARCHAR | SOP Class UID (0008,0016)
-- column:  MediaStorageSOPClassUID | VARCHAR | Media Storage SOP Class UID (0002,0002)
-- column:  MediaStorageSOPInstanceUID | VARCHAR | Media Storage SOP Instance UID (0002,0003)
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  IssuerOfPatientID | VARCHAR | Issuer of Patient ID (0010,0021)
-- column:  PatientName | VARCHAR | Patient's Name (0010,0010), JSON of components
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
-- column:  ReferringPhysicianName | VARCHAR | Referring Physician's Name (0008,0090), JSON of components
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
-- column:  OperatorsName | VARCHAR[] | Operators' Name (0008,1070), JSON of components of each
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
-- column:  patient_age_years | DOUBLE | PatientAge in years
-- column:  ge_sequence_name | VARCHAR | private name of the pulse sequence, (0019,xx9C) of creator GEMS_ACQU_01
create or replace view instance_attributes as
with core as (
    select instance_id, tag, "index", normal_text(vr, text) as text, "integer", "real", "date", "time"
    from elements
    where path = ''
        and vm > 0
        and tag in (
            '00020002', '00020003', '00080008', '00080012', '00080013', '00080016', '00080018', '00080020',
            '00080021', '00080022', '00080023', '00080030', '00080031', '00080032', '00080033', '00080050',
            '00080060', '00080070', '00080080', '00080090', '00081010', '00081030', '0008103E', '00081070',
            '00081090', '00100010', '00100020', '00100021', '00100030', '00100040', '00101010', '00101020',
            '00101030', '00180010', '00180015', '00180020', '00180021', '00180022', '00180023', '00180024',
            '00180050', '00180060', '00180080', '00180081', '00180082', '00180083', '00180086', '00180087',
            '00180088', '00180091', '00180095', '00181000', '00181020', '00181030', '00181120', '00181151',
            '00181152', '00181164', '00181210', '00181312', '00181314', '00185100', '00189005', '00189087',
            '0020000D', '0020000E', '00200010', '00200011', '00200012', '00200013', '00200032', '00200037',
            '00200052', '00200060', '00200100', '00201041', '00204000', '00280002', '00280004', '00280006',
            '00280008', '00280010', '00280011', '00280030', '00280100', '00280101', '00280102', '00280103',
            '00280301', '00281050', '00281051', '00281052', '00281053', '00281054', '00282110'
        )
),

single_values as (
    select
        instance_id,
        max(case when tag = '00080016' then text end) as SOPClassUID,
        max(case when tag = '00020002' then text end) as MediaStorageSOPClassUID,
        max(case when tag = '00100010' then text end) as PatientName,
        max(case when tag = '00100030' then "date" end) as PatientBirthDate,
        max(case when tag = '00100040' then text end) as PatientSex,
        max(case when tag = '00101010' then text end) as PatientAge,
        max(case when tag = '00101020' then "real" end) as PatientSize,
        max(case when tag = '00101030' then "real" end) as PatientWeight,
        max(case when tag = '00200010' then text end) as StudyID,
        max(case when tag = '00080020' then "date" end) as StudyDate,
        max(case when tag = '00080030' then "time" end) as StudyTime,
        max(case when tag = '00081030' then text end) as StudyDescription,
        max(case when tag = '00080090' then text end) as ReferringPhysicianName,
        max(case when tag = '00200011' then "integer" end) as SeriesNumber,
        max(case when tag = '00080021' then "date" end) as SeriesDate,
        max(case when tag = '00080031' then "time" end) as SeriesTime,
        max(case when tag = '0008103E' then text end) as SeriesDescription,
        max(case when tag = '00080060' then text end) as Modality,
        max(case when tag = '00180015' then text end) as BodyPartExamined,
        max(case when tag = '00200060' then text end) as Laterality,
        max(case when tag = '00185100' then text end) as PatientPosition,
        max(case when tag = '00181030' then text end) as ProtocolName,
        max(case when tag = '00080070' then text end) as Manufacturer,
        max(case when tag = '00081090' then text end) as ManufacturerModelName,
        max(case when tag = '00181000' then text end) as DeviceSerialNumber,
        max(case when tag = '00081010' then text end) as StationName,
        max(case when tag = '00080080' then text end) as InstitutionName,
        max(case when tag = '00200052' then text end) as FrameOfReferenceUID,
        max(case when tag = '00200013' then "integer" end) as InstanceNumber,
        max(case when tag = '00080012' then "date" end) as InstanceCreationDate,
        max(case when tag = '00080013' then "time" end) as InstanceCreationTime,
        max(case when tag = '00200012' then "integer" end) as AcquisitionNumber,
        max(case when tag = '00080022' then "date" end) as AcquisitionDate,
        max(case when tag = '00080032' then "time" end) as AcquisitionTime,
        max(case when tag = '00080023' then "date" end) as ContentDate,
        max(case when tag = '00080033' then "time" end) as ContentTime,
        max(case when tag = '00204000' then text end) as ImageComments,
        max(case when tag = '00280301' then text end) as BurnedInAnnotation,
        max(case when tag = '00180050' then "real" end) as SliceThickness,
        max(case when tag = '00180088' then "real" end) as SpacingBetweenSlices,
        max(case when tag = '00201041' then "real" end) as SliceLocation,
        max(case when tag = '00181120' then "real" end) as GantryDetectorTilt,
        max(case when tag = '00200100' then "integer" end) as TemporalPositionIdentifier,
        max(case when tag = '00280010' then "integer" end) as Rows,
        max(case when tag = '00280011' then "integer" end) as Columns,
        max(case when tag = '00280008' then "integer" end) as NumberOfFrames,
        max(case when tag = '00280002' then "integer" end) as SamplesPerPixel,
        max(case when tag = '00280004' then text end) as PhotometricInterpretation,
        max(case when tag = '00280006' then "integer" end) as PlanarConfiguration,
        max(case when tag = '00280100' then "integer" end) as BitsAllocated,
        max(case when tag = '00280101' then "integer" end) as BitsStored,
        max(case when tag = '00280102' then "integer" end) as HighBit,
        max(case when tag = '00280103' then "integer" end) as PixelRepresentation,
        max(case when tag = '00281052' then "real" end) as RescaleIntercept,
        max(case when tag = '00281053' then "real" end) as RescaleSlope,
        max(case when tag = '00281054' then text end) as RescaleType,
        max(case when tag = '00282110' then text end) as LossyImageCompression,
        max(case when tag = '00180023' then text end) as MRAcquisitionType,
        max(case when tag = '00180024' then text end) as SequenceName,
        max(case when tag = '00189005' then text end) as PulseSequenceName,
        max(case when tag = '00180087' then "real" end) as MagneticFieldStrength,
        max(case when tag = '00180081' then "real" end) as EchoTime,
        max(case when tag = '00180082' then "real" end) as InversionTime,
        max(case when tag = '00180080' then "real" end) as RepetitionTime,
        max(case when tag = '00180091' then "integer" end) as EchoTrainLength,
        max(case when tag = '00181314' then "real" end) as FlipAngle,
        max(case when tag = '00180083' then "real" end) as NumberOfAverages,
        max(case when tag = '00180095' then "real" end) as PixelBandwidth,
        max(case when tag = '00181312' then text end) as InPlanePhaseEncodingDirection,
        max(case when tag = '00189087' then "real" end) as DiffusionBValue,
        max(case when tag = '00180060' then "real" end) as KVP,
        max(case when tag = '00181151' then "integer" end) as XRayTubeCurrent,
        max(case when tag = '00181152' then "integer" end) as Exposure,
        max(case when tag = '00180010' then text end) as ContrastBolusAgent,
        max(case when tag = '00101010' then "real" end) as patient_age_years
    from core
    where "index" = 0
    group by instance_id
),

value_lists as (
    select
        instance_id,
        whole_identifier(list(text order by "index") filter (where tag = '00080018')) as SOPInstanceUID,
        whole_identifier(list(text order by "index") filter (where tag = '00020003')) as MediaStorageSOPInstanceUID,
        whole_identifier(list(text order by "index") filter (where tag = '00100020')) as PatientID,
        whole_identifier(list(text order by "index") filter (where tag = '00100021')) as IssuerOfPatientID,
        whole_identifier(list(text order by "index") filter (where tag = '0020000D')) as StudyInstanceUID,
        whole_identifier(list(text order by "index") filter (where tag = '00080050')) as AccessionNumber,
        whole_identifier(list(text order by "index") filter (where tag = '0020000E')) as SeriesInstanceUID,
        list(text order by "index") filter (where tag = '00181020') as SoftwareVersions,
        list(text order by "index") filter (where tag = '00081070') as OperatorsName,
        list(text order by "index") filter (where tag = '00080008') as ImageType,
        list("real" order by "index") filter (where tag = '00200032') as ImagePositionPatient,
        list("real" order by "index") filter (where tag = '00200037') as ImageOrientationPatient,
        list("real" order by "index") filter (where tag = '00280030') as PixelSpacing,
        list("real" order by "index") filter (where tag = '00181164') as ImagerPixelSpacing,
        list("real" order by "index") filter (where tag = '00281050') as WindowCenter,
        list("real" order by "index") filter (where tag = '00281051') as WindowWidth,
        list(text order by "index") filter (where tag = '00180020') as ScanningSequence,
        list(text order by "index") filter (where tag = '00180021') as SequenceVariant,
        list(text order by "index") filter (where tag = '00180022') as ScanOptions,
        list("integer" order by "index") filter (where tag = '00180086') as EchoNumbers,
        list(text order by "index") filter (where tag = '00181210') as ConvolutionKernel
    from core
    group by instance_id
),

private_values as (
    select
        instance_id,
        max(case when creator = 'GEMS_ACQU_01' and tag like '0019__9C' then normal_text(vr, text) end)
            as ge_sequence_name
    from elements
    where path = ''
        and vm > 0
        and "index" = 0
        and creator = 'GEMS_ACQU_01'
    group by instance_id
)

select
    single_values.instance_id,
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
    StudyTime,
    StudyDescription,
    AccessionNumber,
    ReferringPhysicianName,
    SeriesInstanceUID,
    SeriesNumber,
    SeriesDate,
    SeriesTime,
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
    InstanceCreationTime,
    AcquisitionNumber,
    AcquisitionDate,
    AcquisitionTime,
    ContentDate,
    ContentTime,
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
    patient_age_years,
    ge_sequence_name
from single_values
left join value_lists on single_values.instance_id = value_lists.instance_id
left join private_values on single_values.instance_id = private_values.instance_id;
