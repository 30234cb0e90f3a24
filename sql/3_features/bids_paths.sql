-- Where each MR series would lie in a BIDS data set: path without extension, never the same twice.
--
-- Subject and session are PatientID, and date and time of the study, without what BIDS does not
-- allow; those that would then be the same, whatever their case, get six digits of a digest. Where
-- several series would have one path, they are counted as runs, in the order of time and
-- SeriesNumber. Labels: ce says that a contrast agent is named, rec
-- that ImageType has NORM; task comes from the description; dir is
-- FWD if the phase was encoded towards higher rows or columns of the image, REV if against it, else
-- what ProtocolName ends with.
--
-- grain:   series_key
-- depends: sequence_types, sequence_facts, series, studies, phase_encoding
-- column:  series_key | VARCHAR | key to `series`
-- column:  sequence_type | VARCHAR | as in `sequence_types`
-- column:  subject | VARCHAR | label of the subject
-- column:  session | VARCHAR | label of the session
-- column:  data_type | VARCHAR | anat, func, fmap, dwi or perf
-- column:  suffix | VARCHAR | such as T1w or bold
-- column:  run | BIGINT | number of the run; null for a series that has its path alone
-- column:  path | VARCHAR | sub-…/ses-…/anat/sub-…_ses-…_…_T1w; null if the series has none
-- column:  why_not | VARCHAR | why there is no path
create or replace view bids_paths as
with described as (
    select
        sequence_types.series_key,
        sequence_types.sequence_type,
        sequence_types.not_read,
        phase_encoding.not_read as phase_not_read,
        series.study_key,
        series.patient_key,
        series.series_at,
        series.SeriesNumber,
        regexp_replace(coalesce(series.PatientID, ''), '[^A-Za-z0-9]', '', 'g') as subject,
        coalesce(strftime(studies.StudyDate, '%Y%m%d'), '')
        || coalesce(strftime(studies.StudyDate + studies.StudyTime, '%H%M'), '') as session,
        lower(coalesce(series.SeriesDescription, '')) as description,
        list_contains(series.ImageType, 'NORM') as is_normalized,
        coalesce(sequence_facts.contrast_agent = 'YES', false) as has_agent,
        try_cast(round(series.InversionTime) as bigint) as inversion_time,
        phase_encoding.phase_encoding_direction as phase,
        upper(regexp_extract(
            series.ProtocolName, '_(ap|pa|lr|rl|fwd|rev)$', 1, 'i'
        )) as named_direction
    from sequence_types
    join series on sequence_types.series_key = series.series_key
    left join studies on series.study_key = studies.study_key
    left join sequence_facts on sequence_types.series_key = sequence_facts.series_key
    left join phase_encoding on sequence_types.instance_id = phase_encoding.instance_id
    where series.Modality = 'MR'
),

kinds as (
    select
        known.sequence_type,
        known.data_type,
        known.suffix,
        known.labels
    from (values
        ('T1w', 'anat', 'T1w', ['ce', 'rec']),
        ('T2w', 'anat', 'T2w', ['ce', 'rec']),
        ('PDw', 'anat', 'PDw', ['ce', 'rec']),
        ('PDT2', 'anat', 'PDT2', ['ce', 'rec']),
        ('FLAIR', 'anat', 'FLAIR', ['ce', 'rec']),
        ('T2starw', 'anat', 'T2starw', ['ce', 'rec']),
        ('TOF', 'anat', 'angio', ['ce', 'rec']),
        ('UNIT1', 'anat', 'UNIT1', ['rec']),
        ('MP2RAGE', 'anat', 'MP2RAGE', ['rec', 'inv']),
        ('IRT1', 'anat', 'IRT1', ['rec', 'inv']),
        ('T1map', 'anat', 'T1map', []),
        ('T2map', 'anat', 'T2map', []),
        ('T2starmap', 'anat', 'T2starmap', []),
        ('bold', 'func', 'bold', ['task', 'rec', 'dir']),
        ('sbref', 'func', 'sbref', ['task', 'rec', 'dir']),
        ('epi', 'fmap', 'epi', ['acq', 'dir']),
        ('fieldmap', 'fmap', 'fieldmap', []),
        ('phasediff', 'fmap', 'phasediff', []),
        ('magnitude', 'fmap', 'magnitude1', []),
        ('asl', 'perf', 'asl', ['rec', 'dir']),
        ('m0scan', 'perf', 'm0scan', ['rec', 'dir']),
        ('dwi', 'dwi', 'dwi', ['rec', 'dir']),
        ('dwi_sbref', 'dwi', 'sbref', ['rec', 'dir'])
    ) as known (sequence_type, data_type, suffix, labels)
),

-- Different patients, and different studies of one, keep different labels.
subjects as (
    select
        patient_key,
        any_value(subject) || if(
            any_value(subject) = ''
            or count(*) over (partition by lower(any_value(subject))) > 1,
            'x' || md5(patient_key)[:6], ''
        ) as subject
    from described
    where patient_key is not null
    group by patient_key
),

sessions as (
    select
        patient_key,
        study_key,
        any_value(session) || if(
            any_value(session) = ''
            or count(*) over (partition by patient_key, any_value(session)) > 1,
            'x' || md5(study_key)[:6], ''
        ) as session
    from described
    where study_key is not null
    group by patient_key, study_key
),

labelled as (
    select
        described.series_key,
        described.sequence_type,
        -- Without its direction a path would be another one.
        coalesce(
            described.not_read,
            if(list_contains(kinds.labels, 'dir'), described.phase_not_read, null)
        ) as not_read,
        described.series_at,
        described.SeriesNumber,
        subjects.subject,
        sessions.session,
        kinds.data_type,
        kinds.suffix,
        case
            when not list_contains(kinds.labels, 'task') then ''
            when contains(described.description, 'rsf') then '_task-rest'
            else '_task-' || coalesce(nullif(array_to_string(list_transform(
                regexp_extract_all(described.description, '[a-z0-9]+'),
                lambda part: upper(part[:1]) || part[2:]
            ), ''), ''), 'unknown')
        end as task,
        case
            when not list_contains(kinds.labels, 'acq') then ''
            when contains(described.description, 'spinechofieldmap') then '_acq-rest'
            when contains(described.description, 'se_tfmri') then '_acq-task'
            else ''
        end as acq,
        if(list_contains(kinds.labels, 'ce') and described.has_agent, '_ce-agent', '') as ce,
        if(list_contains(kinds.labels, 'rec') and described.is_normalized, '_rec-norm', '') as rec,
        case
            when not list_contains(kinds.labels, 'inv') then ''
            else coalesce('_inv-' || described.inversion_time, '')
        end as inv,
        case
            when not list_contains(kinds.labels, 'dir') then ''
            when ends_with(described.phase, '-') then '_dir-REV'
            when described.phase is not null then '_dir-FWD'
            else coalesce('_dir-' || nullif(described.named_direction, ''), '')
        end as dir
    from described
    left join kinds on described.sequence_type = kinds.sequence_type
    left join subjects on described.patient_key = subjects.patient_key
    left join sessions
        on
            described.patient_key = sessions.patient_key
            and described.study_key = sessions.study_key
),

-- The order of labels is that of BIDS: anat has no direction, fmap no task, so that one order does.
counted as (
    select
        *,
        'sub-' || subject || '/ses-' || session || '/' || data_type || '/' as folder,
        'sub-' || subject || '_ses-' || session || task || acq || ce || rec || inv || dir as name,
        count(*) over paths as series_in_path,
        row_number() over (paths order by series_at, SeriesNumber, series_key) as place
    from labelled
    window paths as (partition by subject, session, data_type, suffix, task, acq, ce, rec, inv, dir)
)

select
    series_key,
    sequence_type,
    subject,
    session,
    data_type,
    suffix,
    if(data_type is not null and series_in_path > 1, place, null) as run,
    if(not_read is not null, null, folder || name || if(series_in_path > 1, '_run-' || place, '') || '_' || suffix) as path,
    case
        when not_read is not null then not_read
        when sequence_type is null then 'no rule tells what kind of sequence it is'
        when data_type is null then 'BIDS has no place for ' || sequence_type
    end as why_not
from counted;
