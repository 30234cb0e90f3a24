-- One row per CT series: acquisition and reconstruction.
--
-- An attribute is that of the instance with the smallest instance_key that has one; where instances
-- differ by their nature, the least and the most are given, or all values. Of images with functional
-- groups the value is that of the first frame that has one, as in `series`. In mode minimal attributes that `instances` does not have are null; `not_read` says so.
--
-- grain:   series_key
-- depends: series, instances, normal_elements, unread_series, frame_values
-- column:  series_key | VARCHAR | SeriesInstanceUID; if it is missing, `missing:` and instance_key
-- column:  study_key | VARCHAR | key to `studies`
-- column:  patient_key | VARCHAR | key to `patients`
-- column:  SeriesInstanceUID | VARCHAR | Series Instance UID (0020,000E)
-- column:  StudyInstanceUID | VARCHAR | Study Instance UID (0020,000D)
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  SeriesNumber | BIGINT | Series Number (0020,0011)
-- column:  series_at | TIMESTAMP | SeriesDate and the SeriesTime beside it as written, in the clock of the device; midnight if the time is missing, null without a date
-- column:  SeriesDescription | VARCHAR | Series Description (0008,103E)
-- column:  BodyPartExamined | VARCHAR | Body Part Examined (0018,0015)
-- column:  ProtocolName | VARCHAR | Protocol Name (0018,1030)
-- column:  Manufacturer | VARCHAR | Manufacturer (0008,0070)
-- column:  manufacturer_name | VARCHAR | normalized manufacturer name: Siemens, GE, Philips, Canon, UIH, …; Manufacturer as stated if it is none of the known ones
-- column:  ManufacturerModelName | VARCHAR | Manufacturer's Model Name (0008,1090)
-- column:  PatientPosition | VARCHAR | Patient Position (0018,5100)
-- column:  ImageType | VARCHAR[] | Image Type (0008,0008)
-- column:  Rows | BIGINT | Rows (0028,0010)
-- column:  Columns | BIGINT | Columns (0028,0011)
-- column:  PixelSpacing | DOUBLE[] | Pixel Spacing (0028,0030), mm: between rows, between columns
-- column:  SliceThickness | DOUBLE | Slice Thickness (0018,0050), mm
-- column:  SpacingBetweenSlices | DOUBLE | Spacing Between Slices (0018,0088), mm
-- column:  KVP | DOUBLE | KVP (0018,0060), kV
-- column:  ScanOptions | VARCHAR[] | Scan Options (0018,0022)
-- column:  ConvolutionKernel | VARCHAR[] | Convolution Kernel (0018,1210)
-- column:  ContrastBolusAgent | VARCHAR | Contrast/Bolus Agent (0018,0010)
-- column:  FilterType | VARCHAR | Filter Type (0018,1160)
-- column:  ReconstructionAlgorithm | VARCHAR | Reconstruction Algorithm (0018,9315), of enhanced images
-- column:  ExposureModulationType | VARCHAR | Exposure Modulation Type (0018,9323)
-- column:  DataCollectionDiameter | DOUBLE | Data Collection Diameter (0018,0090), mm
-- column:  ReconstructionDiameter | DOUBLE | Reconstruction Diameter (0018,1100), mm
-- column:  DistanceSourceToDetector | DOUBLE | Distance Source to Detector (0018,1110), mm
-- column:  DistanceSourceToPatient | DOUBLE | Distance Source to Patient (0018,1111), mm
-- column:  RevolutionTime | DOUBLE | Revolution Time (0018,9305), s
-- column:  SingleCollimationWidth | DOUBLE | Single Collimation Width (0018,9306), mm
-- column:  TotalCollimationWidth | DOUBLE | Total Collimation Width (0018,9307), mm
-- column:  TableSpeed | DOUBLE | Table Speed (0018,9309), mm/s
-- column:  TableFeedPerRotation | DOUBLE | Table Feed per Rotation (0018,9310), mm
-- column:  SpiralPitchFactor | DOUBLE | Spiral Pitch Factor (0018,9311), table feed per rotation by total collimation
-- column:  ContrastBolusRoute | VARCHAR | Contrast/Bolus Route (0018,1040)
-- column:  gantry_tilt_degrees | DOUBLE | GantryDetectorTilt (0018,1120)
-- column:  tube_voltages_kv | DOUBLE[] | different values of KVP, of instances, of frames and of tubes, ascending
-- column:  tube_current_min_ma | DOUBLE | least XRayTubeCurrent (0018,1151), of frames XRayTubeCurrentInmA (0018,9330); less than the most if the dose was modulated
-- column:  tube_current_max_ma | DOUBLE | most of these
-- column:  exposure_min_mas | DOUBLE | least Exposure (0018,1152), of frames ExposureInmAs (0018,9332)
-- column:  exposure_max_mas | DOUBLE | most of these
-- column:  is_localizer | BOOLEAN | an image is a localizer by its ImageType: a scout, not slices
-- column:  functional_groups | VARCHAR[] | attributes that an instance states in functional groups: columns of these names are read from there; in order; null without functional groups
-- column:  frames_differ | VARCHAR[] | attributes whose values differ between frames of an instance: columns of these names have the first value; null without functional groups
-- column:  frame_types | VARCHAR[] | different values of Frame Type (0008,9007), each with backslashes between its parts, in order; null without functional groups
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
-- column:  instance_count | BIGINT | instances; copies of a file count once
-- column:  image_count | BIGINT | instances with pixel data
-- column:  frame_count | BIGINT | frames of these images: NumberOfFrames, or 1 if it is missing
create or replace view ct_series as
with said as (
    select
        instances.series_key,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00181160') as FilterType,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00189315') as ReconstructionAlgorithm,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00189323') as ExposureModulationType,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00180090') as DataCollectionDiameter,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00181100') as ReconstructionDiameter,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00181110') as DistanceSourceToDetector,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00181111') as DistanceSourceToPatient,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00189305') as RevolutionTime,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00189306') as SingleCollimationWidth,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00189307') as TotalCollimationWidth,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00189309') as TableSpeed,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00189310') as TableFeedPerRotation,
        arg_min(elements."real", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00189311') as SpiralPitchFactor,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00181040') as ContrastBolusRoute
    from normal_elements as elements
    join instances on elements.instance_id = instances.instance_id
    where
        instances.Modality = 'CT'
        and is_stated_at(elements.path)
        and elements."index" = 0
        and elements.tag in (
            '00180090', '00181040', '00181100', '00181110', '00181111', '00181160', '00189305',
            '00189306', '00189307', '00189309', '00189310', '00189311', '00189315', '00189323'
        )
    group by instances.series_key
),

ranges as (
    select
        instances.series_key,
        arg_min(
            if(frames.instance_id is null, instances.GantryDetectorTilt, frames.GantryDetectorTilt), instance_key
        ) as gantry_tilt_degrees,
        different_values(
            list(distinct instances.KVP) filter (where frames.instance_id is null and instances.KVP is not null),
            list(frames.tube_voltages_kv) filter (where frames.tube_voltages_kv is not null)
        ) as tube_voltages_kv,
        min(if(frames.instance_id is null, XRayTubeCurrent, list_min(frames.tube_currents_ma))) as tube_current_min_ma,
        max(if(frames.instance_id is null, XRayTubeCurrent, list_max(frames.tube_currents_ma))) as tube_current_max_ma,
        min(if(frames.instance_id is null, Exposure, list_min(frames.exposures_mas))) as exposure_min_mas,
        max(if(frames.instance_id is null, Exposure, list_max(frames.exposures_mas))) as exposure_max_mas,
        coalesce(bool_or(list_contains(ImageType, 'LOCALIZER')), false) as is_localizer,
        nullif(list_sort(list_distinct(flatten(list(frames.frame_types)))), []) as frame_types
    from instances
    left join frame_values as frames on instances.instance_id = frames.instance_id
    where Modality = 'CT'
    group by instances.series_key
)

select
    series.series_key,
    series.study_key,
    series.patient_key,
    series.SeriesInstanceUID,
    series.StudyInstanceUID,
    series.PatientID,
    series.SeriesNumber,
    series.series_at,
    series.SeriesDescription,
    series.BodyPartExamined,
    series.ProtocolName,
    series.Manufacturer,
    series.manufacturer_name,
    series.ManufacturerModelName,
    series.PatientPosition,
    series.ImageType,
    series."Rows",
    series."Columns",
    series.PixelSpacing,
    series.SliceThickness,
    series.SpacingBetweenSlices,
    series.KVP,
    series.ScanOptions,
    series.ConvolutionKernel,
    series.ContrastBolusAgent,
    said.FilterType,
    said.ReconstructionAlgorithm,
    said.ExposureModulationType,
    said.DataCollectionDiameter,
    said.ReconstructionDiameter,
    said.DistanceSourceToDetector,
    said.DistanceSourceToPatient,
    said.RevolutionTime,
    said.SingleCollimationWidth,
    said.TotalCollimationWidth,
    said.TableSpeed,
    said.TableFeedPerRotation,
    said.SpiralPitchFactor,
    said.ContrastBolusRoute,
    ranges.gantry_tilt_degrees,
    ranges.tube_voltages_kv,
    ranges.tube_current_min_ma,
    ranges.tube_current_max_ma,
    ranges.exposure_min_mas,
    ranges.exposure_max_mas,
    ranges.is_localizer,
    series.functional_groups,
    series.frames_differ,
    ranges.frame_types,
    unread_series.elements_not_read as not_read,
    series.instance_count,
    series.image_count,
    series.frame_count
from series
left join said on series.series_key = said.series_key
left join ranges on series.series_key = ranges.series_key
left join unread_series on series.series_key = unread_series.series_key
where series.Modality = 'CT';
