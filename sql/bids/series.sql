-- The series of which a run has members, in the order of patient, study and time: where each lies in
-- a BIDS data set, or why it has no place there. `members` is the table of the run.
with counted as (
    select
        instances.series_key,
        count(*) as member_count,
        first_time(instances.AcquisitionDate + instances.AcquisitionTime) as acquired_at
    from instances
    semi join members on instances.instance_key = members.instance_key
    group by instances.series_key
)

select
    series.series_key,
    series.study_key,
    series.patient_key,
    bids_paths.subject,
    bids_paths.session,
    bids_paths.data_type,
    bids_paths.suffix,
    bids_paths.task,
    bids_paths.labels,
    bids_paths.path,
    -- `series_at` and `study_at` are midnight where the time is missing, which BIDS writes as n/a.
    coalesce(counted.acquired_at, if(cast(series.series_at as time) = series.SeriesTime, series.series_at, null)) as acquired_at,
    if(cast(studies.study_at as time) = studies.StudyTime, studies.study_at, null) as study_at,
    patients.PatientSex as sex,
    ages.age,
    case
        when series.Modality is null then 'Modality is not stated'
        when series.Modality = 'PT' then
            'BIDS asks for InjectedMass and SpecificRadioactivity of PET, which DICOM does not state'
        when series.Modality <> 'MR' then 'BIDS has no place for ' || series.Modality
        when counted.member_count < series.instance_count then
            'only ' || counted.member_count || ' of ' || series.instance_count || ' instances are members'
        when bids_paths.data_type = 'perf' and bids_paths.why_not is null then
            'BIDS asks for ArterialSpinLabelingType, PostLabelingDelay and aslcontext.tsv, which are not read'
        else bids_paths.why_not
    end as why_not
from counted
join series on counted.series_key = series.series_key
left join bids_paths on series.series_key = bids_paths.series_key
left join studies on series.study_key = studies.study_key
left join patients on series.patient_key = patients.patient_key
left join (
    select
        patient_key,
        arg_min(patient_age_years, StudyDate) as age
    from instances
    where patient_age_years is not null
    group by patient_key
) as ages on series.patient_key = ages.patient_key
order by bids_paths.subject, bids_paths.session, acquired_at, series.SeriesNumber, series.series_key
