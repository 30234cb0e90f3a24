-- One row per MR series: its path in a BIDS data set, without extension and unique.
--
-- Subject and session are PatientID, and date and time of the study, without what BIDS does not
-- allow; those that would then be the same, whatever their case, get six digits of a digest.
-- Series of one acquisition, which have one time of acquisition, share a run: echo numbers their
-- echo times, part tells phase, real and imaginary part from the magnitude. Where several
-- acquisitions would have one path, they are counted as runs, in the order of time and
-- SeriesNumber. Other labels: task comes from the description; ce stands where a contrast
-- agent is named; rec-norm where ImageType has NORM; inv is the least InversionTime in ms; dir is FWD if the
-- phase was encoded towards higher rows or columns of the image, REV if against it, else what
-- ProtocolName ends with. Magnitudes of field maps are magnitude1 and magnitude2 beside a phase
-- difference, magnitude beside a map in Hz. Only labels that BIDS knows of a suffix are used, in its order.
--
-- grain:   series_key
-- depends: sequence_types, sequence_facts, series, studies, phase_encoding, instances
-- column:  series_key | VARCHAR | key to `series`
-- column:  sequence_type | VARCHAR | as in `sequence_types`
-- column:  subject | VARCHAR | BIDS label of the subject
-- column:  session | VARCHAR | BIDS label of the session
-- column:  data_type | VARCHAR | anat, func, fmap, dwi or perf
-- column:  suffix | VARCHAR | such as T1w or bold
-- column:  task | VARCHAR | label of the task, of func only
-- column:  run | BIGINT | number of the run; null for an acquisition that has its path alone
-- column:  echo | BIGINT | number of the echo; null unless series of one acquisition have several echo times
-- column:  part | VARCHAR | phase, real or imag, and mag of a series beside these; null of a magnitude alone
-- column:  labels | VARCHAR[] | entities that BIDS allows for the suffix, besides acq and run
-- column:  acquired_at | TIMESTAMP | start of the acquisition, in the clock of the device; null without a date or a time
-- column:  path | VARCHAR | sub-…/ses-…/anat/sub-…_ses-…_…_T1w; null if the series has none
-- column:  why_not | VARCHAR | why there is no path
create or replace view bids_paths as
with times as (
    select
        series_key,
        first_time(AcquisitionDate + AcquisitionTime) as acquired_at,
        min(EchoTime) as least_echo_time,
        min(InversionTime) filter (where InversionTime > 0) as least_inversion_time
    from instances
    where Modality = 'MR' and series_key is not null
    group by series_key
),

described as (
    select
        sequence_types.series_key,
        sequence_types.sequence_type,
        sequence_types.not_read,
        phase_encoding.not_read as phase_not_read,
        series.study_key,
        series.patient_key,
        series.series_at,
        times.acquired_at,
        series.SeriesNumber,
        series.image_count = 0 as is_without_images,
        -- Of a series with several: that of its first instance depends on UIDs.
        coalesce(times.least_echo_time, series.EchoTime) as EchoTime,
        regexp_replace(coalesce(series.PatientID, ''), '[^A-Za-z0-9]', '', 'g') as subject,
        coalesce(strftime(studies.StudyDate, '%Y%m%d'), '')
        || coalesce(strftime(studies.StudyDate + studies.StudyTime, '%H%M'), '') as session,
        lower(coalesce(series.SeriesDescription, '')) as description,
        list_contains(series.ImageType, 'NORM') as is_normalized,
        coalesce(sequence_facts.contrast_agent = 'YES', false) as has_agent,
        case
            when series.ImageType[3] in ('P', 'PHASE', 'PHASE MAP') then 'phase'
            when series.ImageType[3] in ('R', 'REAL') then 'real'
            when series.ImageType[3] in ('I', 'IMAGINARY') then 'imag'
            when sequence_facts.image_part = 'PHASE' then 'phase'
            when sequence_facts.image_part = 'REAL' then 'real'
            when sequence_facts.image_part = 'IMAGINARY' then 'imag'
        end as component,
        -- Labels are numbers without a sign.
        try_cast(round(coalesce(
            times.least_inversion_time, if(series.InversionTime >= 0, series.InversionTime, null)
        )) as bigint) as inversion_time,
        phase_encoding.phase_encoding_direction as phase,
        upper(regexp_extract(
            series.ProtocolName, '_(ap|pa|lr|rl|fwd|rev)$', 1, 'i'
        )) as named_direction
    from sequence_types
    join series on sequence_types.series_key = series.series_key
    left join times on sequence_types.series_key = times.series_key
    left join studies on series.study_key = studies.study_key
    left join sequence_facts on sequence_types.series_key = sequence_facts.series_key
    left join phase_encoding on sequence_types.instance_id = phase_encoding.instance_id
    where series.Modality = 'MR'
),

kinds as (
    select
        known.sequence_type,
        known.data_type,
        known.suffix
    from (values
        ('T1w', 'anat', 'T1w'),
        ('T2w', 'anat', 'T2w'),
        ('PDw', 'anat', 'PDw'),
        ('PDT2', 'anat', 'PDT2'),
        ('FLAIR', 'anat', 'FLAIR'),
        ('T2starw', 'anat', 'T2starw'),
        ('TOF', 'anat', 'angio'),
        ('UNIT1', 'anat', 'UNIT1'),
        ('MP2RAGE', 'anat', 'MP2RAGE'),
        ('IRT1', 'anat', 'IRT1'),
        ('T1map', 'anat', 'T1map'),
        ('T2map', 'anat', 'T2map'),
        ('T2starmap', 'anat', 'T2starmap'),
        ('bold', 'func', 'bold'),
        ('sbref', 'func', 'sbref'),
        ('epi', 'fmap', 'epi'),
        ('fieldmap', 'fmap', 'fieldmap'),
        ('phasediff', 'fmap', 'phasediff'),
        ('magnitude', 'fmap', 'magnitude'),
        ('asl', 'perf', 'asl'),
        ('m0scan', 'perf', 'm0scan'),
        ('dwi', 'dwi', 'dwi'),
        ('dwi_sbref', 'dwi', 'sbref')
    ) as known (sequence_type, data_type, suffix)
),

-- Which labels BIDS 1.11 knows of a suffix; acq and run go with every one.
known_labels as (
    select
        data_type,
        suffix,
        case
            when suffix in ('T1w', 'T2w', 'PDw', 'PDT2', 'FLAIR', 'T2starw', 'angio')
                then ['ce', 'rec', 'echo', 'part']
            when suffix = 'MP2RAGE' then ['ce', 'rec', 'echo', 'flip', 'inv', 'part']
            when suffix = 'IRT1' then ['ce', 'rec', 'inv', 'part']
            when data_type = 'anat' then ['ce', 'rec']
            when data_type = 'func' then ['task', 'ce', 'rec', 'dir', 'echo', 'part']
            when suffix = 'epi' then ['ce', 'rec', 'dir', 'part']
            when data_type = 'dwi' then ['rec', 'dir', 'part']
            when data_type = 'perf' then ['rec', 'dir', 'echo', 'part']
            else []
        end as labels
    from kinds
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

placed as (
    select
        described.series_key,
        described.sequence_type,
        coalesce(described.is_without_images, false) as is_without_images,
        -- Without its direction a path would be another one.
        coalesce(
            described.not_read,
            if(list_contains(known_labels.labels, 'dir'), described.phase_not_read, null)
        ) as not_read,
        described.series_at,
        described.acquired_at,
        described.SeriesNumber,
        subjects.subject,
        sessions.session,
        kinds.data_type,
        kinds.suffix as plain_suffix,
        described.EchoTime,
        bool_or(kinds.suffix = 'fieldmap') over studies_of as has_field_map,
        min(if(kinds.suffix = 'magnitude', described.EchoTime, null)) over studies_of as first_echo_time,
        known_labels.labels,
        list_contains(known_labels.labels, 'inv') and described.inversion_time is null as lacks_inversion,
        case
            when not list_contains(known_labels.labels, 'task') then null
            when contains(described.description, 'rsf') then 'rest'
            else coalesce(nullif(array_to_string(list_transform(
                regexp_extract_all(described.description, '[a-z0-9]+'),
                lambda part: upper(part[:1]) || part[2:]
            ), ''), ''), 'unknown')
        end as task,
        case
            when kinds.data_type = 'fmap' and contains(described.description, 'spinechofieldmap') then 'rest'
            when kinds.data_type = 'fmap' and contains(described.description, 'se_tfmri') then 'task'
        end as acq,
        list_contains(known_labels.labels, 'ce') and described.has_agent as has_ce,
        list_contains(known_labels.labels, 'rec') and described.is_normalized as has_rec,
        case
            when not list_contains(known_labels.labels, 'dir') then null
            when ends_with(described.phase, '-') then 'REV'
            when described.phase is not null then 'FWD'
            else nullif(described.named_direction, '')
        end as dir,
        if(list_contains(known_labels.labels, 'inv'), described.inversion_time, null) as inv,
        if(list_contains(known_labels.labels, 'echo'), described.EchoTime, null) as echo_time,
        if(list_contains(known_labels.labels, 'part'), described.component, null) as component
    from described
    left join kinds
        on
            described.sequence_type = kinds.sequence_type
            and not coalesce(described.is_without_images, false)
    left join known_labels
        on kinds.data_type = known_labels.data_type and kinds.suffix = known_labels.suffix
    left join subjects on described.patient_key = subjects.patient_key
    left join sessions
        on
            described.patient_key = sessions.patient_key
            and described.study_key = sessions.study_key
    window studies_of as (partition by described.patient_key, described.study_key)
),

labeled as (
    select
        *,
        case
            when coalesce(plain_suffix, '') <> 'magnitude' then plain_suffix
            when has_field_map then 'magnitude'
            when EchoTime > first_echo_time then 'magnitude2'
            else 'magnitude1'
        end as suffix
    from placed
),

named as (
    select
        *,
        'sub-' || subject || '/ses-' || session || '/' || data_type || '/' as folder,
        'sub-' || subject || '_ses-' || session
        || coalesce('_task-' || task, '')
        || coalesce('_acq-' || acq, '')
        || if(coalesce(has_ce, false), '_ce-contrast', '')
        || if(coalesce(has_rec, false), '_rec-norm', '')
        || coalesce('_dir-' || dir, '') as name,
        -- Without a time of its own a series is an acquisition by itself.
        coalesce(cast(acquired_at as varchar), 'series ' || series_key) as acquisition
    from labeled
    where not_read is null and not coalesce(lacks_inversion, false) and data_type is not null
),

-- What is still the same within an acquisition is a run of its own.
told_apart as (
    select
        *,
        row_number() over (
            partition by lower(folder || name), suffix, inv, acquisition, echo_time, component
            order by SeriesNumber, series_key
        ) as "copy"
    from named
),

grouped as (
    select
        *,
        min(SeriesNumber) over acquisitions as first_number,
        count(distinct echo_time) over acquisitions as echo_count,
        count(component) over acquisitions as component_count
    from told_apart
    window acquisitions as (partition by lower(folder || name), suffix, inv, acquisition, "copy")
),

counted as (
    select
        *,
        dense_rank() over (
            partition by lower(folder || name), suffix, inv
            order by coalesce(acquired_at, series_at), first_number, acquisition, "copy"
        ) as place,
        if(echo_count > 1, dense_rank() over (
            partition by lower(folder || name), suffix, inv, acquisition, "copy"
            order by echo_time
        ), null) as echo,
        coalesce(component, if(component_count > 0, 'mag', null)) as part
    from grouped
),

numbered as (
    select
        *,
        if(
            max(place) over (partition by lower(folder || name), suffix, inv) > 1, place, null
        ) as run
    from counted
)

select
    labeled.series_key,
    labeled.sequence_type,
    labeled.subject,
    labeled.session,
    labeled.data_type,
    labeled.suffix,
    labeled.task,
    numbered.run,
    numbered.echo,
    numbered.part,
    labeled.labels,
    labeled.acquired_at,
    numbered.folder || numbered.name
    || coalesce('_run-' || numbered.run, '')
    || coalesce('_echo-' || numbered.echo, '')
    || coalesce('_inv-' || numbered.inv, '')
    || coalesce('_part-' || numbered.part, '')
    || '_' || numbered.suffix as path,
    case
        when labeled.not_read is not null then labeled.not_read
        when labeled.is_without_images then 'it has no images'
        when labeled.sequence_type is null then 'no rule tells what kind of sequence it is'
        when labeled.data_type is null then 'BIDS has no place for ' || labeled.sequence_type
        when labeled.lacks_inversion then 'BIDS tells ' || labeled.suffix || ' by its InversionTime, which is not stated'
    end as why_not
from labeled
left join numbered on labeled.series_key = numbered.series_key;
