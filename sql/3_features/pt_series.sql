-- One row per PET series: tracer, corrections and reconstruction.
--
-- An attribute is that of the instance with the smallest instance_key that has one; where instances
-- differ by their nature, the least and the most are given, or all values. Of images of several
-- frames only what they say at top level is taken: their functional groups are in `frames`. In mode
-- minimal attributes that `instances` does not have are null; `not_read` says so.
-- Of several radiopharmaceuticals the first is taken.
--
-- All times are in one clock, that of the dates and times of the series, as written. The scan began
-- at the earlier of the time of the series and of its first acquisition, because a series that was
-- processed later may have a later one (QIBA's pseudo-code for SUV takes them so).
--
-- grain:   series_key
-- depends: series, instances, normal_elements, utc_offsets, unread_series, frame_values
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
-- column:  Units | VARCHAR | Units (0054,1001), of pixel values: BQML is Bq/ml, GML g/ml (SUV by weight), CNTS counts
-- column:  DecayCorrection | VARCHAR | Decay Correction (0054,1102): START, ADMIN or NONE
-- column:  RandomsCorrectionMethod | VARCHAR | Randoms Correction Method (0054,1100)
-- column:  AttenuationCorrectionMethod | VARCHAR | Attenuation Correction Method (0054,1101)
-- column:  ScatterCorrectionMethod | VARCHAR | Scatter Correction Method (0054,1105)
-- column:  ReconstructionMethod | VARCHAR | Reconstruction Method (0054,1103)
-- column:  NumberOfSlices | BIGINT | Number of Slices (0054,0081)
-- column:  NumberOfTimeSlices | BIGINT | Number of Time Slices (0054,0101), of dynamic series
-- column:  Radiopharmaceutical | VARCHAR | Radiopharmaceutical (0018,0031), free text
-- column:  radiopharmaceutical_meaning | VARCHAR | code meaning of the radiopharmaceutical
-- column:  radionuclide_meaning | VARCHAR | code meaning of the radionuclide, such as ^18^Fluorine
-- column:  RadionuclideTotalDose | DOUBLE | Radionuclide Total Dose (0018,1074), Bq
-- column:  RadionuclideHalfLife | DOUBLE | Radionuclide Half Life (0018,1075), s
-- column:  RadiopharmaceuticalStartTime | TIME | Radiopharmaceutical Start Time (0018,1072)
-- column:  RadiopharmaceuticalStartDateTime | TIMESTAMP | Radiopharmaceutical Start DateTime (0018,1078), in the clock of the series; null if it has an offset from UTC and the series no TimezoneOffsetFromUTC
-- column:  injected_at | TIMESTAMP | RadiopharmaceuticalStartDateTime; otherwise RadiopharmaceuticalStartTime on its date or, without one, on the day of the scan, or on the day before if it is later than the scan and all acquisitions; null if neither has minutes
-- column:  scan_started_at | TIMESTAMP | earlier of series_at, if SeriesTime is stated, the first AcquisitionDate and AcquisitionTime, and the first FrameAcquisitionDateTime (0018,9074) of frames
-- column:  uptake_time_s | DOUBLE | s from injected_at to scan_started_at; null if several injections are stated, or a time without a day of a radionuclide that can be imaged days later
-- column:  uptake_why_not | VARCHAR | why uptake_time_s is null
-- column:  SeriesType | VARCHAR[] | Series Type (0054,1000): STATIC, DYNAMIC, GATED or WHOLE BODY, then IMAGE or REPROJECTION
-- column:  CorrectedImage | VARCHAR[] | Corrected Image (0028,0051): ATTN, DECY, SCAT, RAN, …
-- column:  PatientWeight | DOUBLE | Patient's Weight (0010,1030), kg
-- column:  has_suv_attributes | BOOLEAN | all that SUV by body weight needs is stated: one injection, Units BQML, decay and attenuation corrected, dose, half-life and start of the tracer in the clock of the series, weight, time of the scan
-- column:  functional_groups | VARCHAR[] | attributes that an instance states in functional groups: columns of these names are read from there; in order; null without functional groups
-- column:  frames_differ | VARCHAR[] | attributes whose values differ between frames of an instance: columns of these names have the first value; null without functional groups
-- column:  frame_types | VARCHAR[] | different values of Frame Type (0008,9007), each with backslashes between its parts, in order; null without functional groups
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
-- column:  instance_count | BIGINT | instances; copies of a file count once
-- column:  image_count | BIGINT | instances with pixel data
-- column:  frame_count | BIGINT | frames of these images: NumberOfFrames, or 1 if it is missing
create or replace view pt_series as
with said as (
    select
        instances.series_key,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00541001') as Units,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00541102') as DecayCorrection,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00541100') as RandomsCorrectionMethod,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00541101') as AttenuationCorrectionMethod,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00541105') as ScatterCorrectionMethod,
        arg_min(elements.text, (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00541103') as ReconstructionMethod,
        arg_min(elements."integer", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00540081') as NumberOfSlices,
        arg_min(elements."integer", (instances.instance_key, statement_order(elements.path)))
            filter (where elements.tag = '00540101') as NumberOfTimeSlices
    from normal_elements as elements
    join instances on elements.instance_id = instances.instance_id
    where
        instances.Modality = 'PT'
        and is_stated_at(elements.path)
        and elements."index" = 0
        and elements.tag in (
            '00540081', '00540101', '00541001', '00541100', '00541101', '00541102', '00541103',
            '00541105'
        )
    group by instances.series_key
),

inside as (
    select
        instances.series_key,
        arg_min(elements.text, instances.instance_key) filter (
            where elements.tag = '00180031'
            and elements.path = 'RadiopharmaceuticalInformationSequence[0]'
        ) as Radiopharmaceutical,
        arg_min(elements.text, instances.instance_key) filter (
            where elements.tag = '00080104'
            and elements.path = 'RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalCodeSequence[0]'
        ) as radiopharmaceutical_meaning,
        arg_min(elements.text, instances.instance_key) filter (
            where elements.tag = '00080104'
            and elements.path = 'RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence[0]'
        ) as radionuclide_meaning,
        arg_min(elements."real", instances.instance_key) filter (
            where elements.tag = '00181074'
            and elements.path = 'RadiopharmaceuticalInformationSequence[0]'
        ) as RadionuclideTotalDose,
        arg_min(elements."real", instances.instance_key) filter (
            where elements.tag = '00181075'
            and elements.path = 'RadiopharmaceuticalInformationSequence[0]'
        ) as RadionuclideHalfLife,
        arg_min(elements."time", instances.instance_key) filter (
            where elements.tag = '00181072'
            and elements.path = 'RadiopharmaceuticalInformationSequence[0]'
        ) as RadiopharmaceuticalStartTime,
        arg_min(
            local_timestamp(elements.text, elements."timestamp", utc_offsets.utc_offset_minutes),
            instances.instance_key
        ) filter (
            where elements.tag = '00181078'
            and elements.path = 'RadiopharmaceuticalInformationSequence[0]'
        ) as RadiopharmaceuticalStartDateTime,
        -- What a shorter value leaves out is unknown, not zero (PS3.5 6.2, DT and TM).
        arg_min(
            local_timestamp(elements.text, elements."timestamp", utc_offsets.utc_offset_minutes),
            instances.instance_key
        ) filter (
            where elements.tag = '00181078'
            and elements.path = 'RadiopharmaceuticalInformationSequence[0]'
            and regexp_matches(elements.text, '^\d{12}')
        ) as exact_start,
        arg_min(
            local_timestamp(elements.text, elements."timestamp", utc_offsets.utc_offset_minutes),
            instances.instance_key
        ) filter (
            where elements.tag = '00181078'
            and elements.path = 'RadiopharmaceuticalInformationSequence[0]'
            and regexp_matches(elements.text, '^\d{10}')
        ) as start_to_hour,
        cast(arg_min(
            local_timestamp(elements.text, elements."timestamp", utc_offsets.utc_offset_minutes),
            instances.instance_key
        ) filter (
            where elements.tag = '00181078'
            and elements.path = 'RadiopharmaceuticalInformationSequence[0]'
            and regexp_matches(elements.text, '^\d{8}')
        ) as date) as start_date,
        arg_min(elements."time", instances.instance_key) filter (
            where elements.tag = '00181072'
            and elements.path = 'RadiopharmaceuticalInformationSequence[0]'
            and regexp_matches(elements.text, '^\d{2}:?\d{2}')
        ) as exact_start_time,
        coalesce(bool_or(
            has_utc_offset(elements.text) and utc_offsets.utc_offset_minutes is null
        ) filter (where elements.tag = '00181078'), false) as is_clock_unknown,
        -- Number of items of the sequence.
        max(elements."integer") filter (where elements.tag = '00540016') as injection_count
    from normal_elements as elements
    join instances on elements.instance_id = instances.instance_id
    left join utc_offsets on elements.instance_id = utc_offsets.instance_id
    where
        instances.Modality = 'PT'
        and elements.path in (
            '', 'RadiopharmaceuticalInformationSequence[0]',
            'RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence[0]',
            'RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalCodeSequence[0]'
        )
        and elements."index" = 0
        and elements.tag in (
            '00080104', '00180031', '00181072', '00181074', '00181075', '00181078', '00540016'
        )
        and (elements.path <> '') <> (elements.tag = '00540016')
    group by instances.series_key
),

lists as (
    select
        instances.series_key,
        arg_min(gathered.SeriesType, instances.instance_key) as SeriesType,
        arg_min(gathered.CorrectedImage, instances.instance_key) as CorrectedImage
    from (
        select
            instance_id,
            list(text order by "index") filter (where tag = '00541000') as SeriesType,
            list(text order by "index") filter (where tag = '00280051') as CorrectedImage
        from normal_elements
        where path = '' and vm > 0 and tag in ('00541000', '00280051')
        group by instance_id
    ) as gathered
    join instances on gathered.instance_id = instances.instance_id
    where instances.Modality = 'PT'
    group by instances.series_key
),

ranges as (
    select
        instances.series_key,
        arg_min(PatientWeight, instance_key) as PatientWeight,
        nullif(list_sort(list_distinct(flatten(list(frames.frame_types)))), []) as frame_types,
        least(
            arg_min(SeriesDate + SeriesTime, instance_key), first_time(AcquisitionDate + AcquisitionTime),
            min(frames.first_frame_at)
        ) as scan_started_at,
        coalesce(max(AcquisitionDate + AcquisitionTime), scan_started_at) as last_acquired_at
    from instances
    left join frame_values as frames on instances.instance_id = frames.instance_id
    where Modality = 'PT'
    group by instances.series_key
),

uptakes as (
    select
        ranges.series_key,
        ranges.scan_started_at,
        inside.is_clock_unknown,
        inside.injection_count,
        inside.RadionuclideHalfLife,
        inside.RadiopharmaceuticalStartTime is not null
        or inside.RadiopharmaceuticalStartDateTime is not null as is_stated,
        cast(ranges.scan_started_at as date) + inside.exact_start_time as on_day_of_scan,
        coalesce(
            inside.exact_start,
            inside.start_date + inside.exact_start_time,
            -- A time without a day is of the 24 hours before the scan, or during it.
            on_day_of_scan - to_days(if(
                on_day_of_scan > greatest(ranges.scan_started_at, ranges.last_acquired_at), 1, 0
            ))
        ) as injected_at,
        coalesce(inside.exact_start, inside.start_date + inside.exact_start_time) is null as is_without_day,
        -- Both are stated and name another minute, or hour if one has no minutes: one of them is wrong.
        coalesce(
            abs(epoch(inside.start_date + inside.exact_start_time - inside.exact_start)) >= 60,
            hour(inside.start_to_hour) <> hour(inside.RadiopharmaceuticalStartTime), false
        ) as is_contradicted
    from ranges
    left join inside on ranges.series_key = inside.series_key
),

judged as (
    select
        series_key,
        injected_at,
        scan_started_at,
        case
            when injection_count > 1 then 'several injections are stated'
            when injected_at is null and is_clock_unknown
                then 'RadiopharmaceuticalStartDateTime has an offset from UTC, and the series no TimezoneOffsetFromUTC'
            when scan_started_at is null then 'no date and time of series or acquisition'
            when injected_at is null and is_stated
                then 'the start of the radiopharmaceutical is stated without minutes'
            when injected_at is null then 'no start of the radiopharmaceutical is stated'
            when is_contradicted
                then 'RadiopharmaceuticalStartTime and RadiopharmaceuticalStartDateTime differ'
            when injected_at > scan_started_at
                then 'the radiopharmaceutical starts after the scan'
            -- One of 89Zr, 124I or 64Cu may be imaged days after the injection: as in pt_suv, within 10 half-lives.
            when is_without_day
                and epoch(scan_started_at - injected_at) + 86400 <= 10 * RadionuclideHalfLife
                then 'RadiopharmaceuticalStartTime states no day, and the half-life allows an earlier one'
        end as why_not
    from uptakes
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
    said.Units,
    said.DecayCorrection,
    said.RandomsCorrectionMethod,
    said.AttenuationCorrectionMethod,
    said.ScatterCorrectionMethod,
    said.ReconstructionMethod,
    said.NumberOfSlices,
    said.NumberOfTimeSlices,
    inside.Radiopharmaceutical,
    inside.radiopharmaceutical_meaning,
    inside.radionuclide_meaning,
    inside.RadionuclideTotalDose,
    inside.RadionuclideHalfLife,
    inside.RadiopharmaceuticalStartTime,
    inside.RadiopharmaceuticalStartDateTime,
    judged.injected_at,
    judged.scan_started_at,
    if(
        unread_series.elements_not_read is null and judged.why_not is null, epoch(judged.scan_started_at - judged.injected_at), null
    ) as uptake_time_s,
    coalesce(unread_series.elements_not_read, judged.why_not) as uptake_why_not,
    lists.SeriesType,
    lists.CorrectedImage,
    ranges.PatientWeight,
    if(unread_series.elements_not_read is not null, null, coalesce(
        said.Units = 'BQML'
        and said.DecayCorrection in ('START', 'ADMIN')
        and list_has_all(lists.CorrectedImage, ['ATTN', 'DECY'])
        and inside.RadionuclideTotalDose > 0
        and inside.RadionuclideHalfLife > 0
        and judged.why_not is null
        and ranges.PatientWeight > 0,
        false
    )) as has_suv_attributes,
    series.functional_groups,
    series.frames_differ,
    ranges.frame_types,
    unread_series.elements_not_read as not_read,
    series.instance_count,
    series.image_count,
    series.frame_count
from series
left join said on series.series_key = said.series_key
left join inside on series.series_key = inside.series_key
left join lists on series.series_key = lists.series_key
left join judged on series.series_key = judged.series_key
left join ranges on series.series_key = ranges.series_key
left join unread_series on series.series_key = unread_series.series_key
where series.Modality = 'PT';
