-- One row per MR series: the attributes that the rules of `sequence_types` use.
--
-- Attributes are those of the instance with the smallest instance_key: at top level, else in the
-- functional groups of its first frame. Counts and b-values are those of the whole series.
--
-- grain:   series_key
-- depends: instances, elements, normal_elements, vendor_elements, phase_encoding, unread
-- column:  series_key | VARCHAR | key to `series`
-- column:  instance_id | BIGINT | the instance that was examined
-- column:  description | VARCHAR | words of SeriesDescription and ProtocolName: lower case, without accents, single spaces between and around them
-- column:  sequence | VARCHAR | names of the pulse sequence, lower case: SequenceName, PulseSequenceName, GE's internal name
-- column:  sequence_file | VARCHAR | sequence name in private elements, in lower case: file name in the Siemens protocol, technique of Philips
-- column:  echo_planar | VARCHAR | YES or NO; null if it is not stated
-- column:  spin_echo | VARCHAR | YES or NO; null if it is not stated
-- column:  inversion | VARCHAR | YES if the magnetization is inverted first, NO otherwise; null if it is not stated
-- column:  image_part | VARCHAR | MAGNITUDE, PHASE, REAL, IMAGINARY, or MIXED if instances differ; null if it is not stated
-- column:  acquisition_contrast | VARCHAR | Acquisition Contrast (0008,9209), such as T1, DIFFUSION or PERFUSION
-- column:  is_derived | VARCHAR | YES if the first value of ImageType is DERIVED in all instances, NO otherwise; null without ImageType
-- column:  is_asl | VARCHAR | YES if the header states arterial spin labeling: ImageType, ASL elements of the standard, GE or Philips, or the Siemens protocol
-- column:  asl_contrast | VARCHAR | Arterial Spin Labeling Contrast (0018,9250)
-- column:  contrast_agent | VARCHAR | YES if a contrast agent is named; null if not
-- column:  phase_contrast | VARCHAR | Phase Contrast (0018,9014), YES or NO
-- column:  time_of_flight | VARCHAR | Time of Flight Contrast (0018,9015), YES or NO
-- column:  echo_time_ms | DOUBLE | ms, of that instance
-- column:  repetition_time_ms | DOUBLE | ms, of that instance
-- column:  inversion_time_ms | DOUBLE | ms, of that instance; null for 0
-- column:  flip_angle_deg | DOUBLE | degrees, of that instance
-- column:  echo_count | BIGINT | distinct echo times of instances, to 0.1 ms; null if they state none
-- column:  inversion_time_count | BIGINT | distinct inversion times of instances; null if they state none
-- column:  plane_count | BIGINT | distinct orientations of instances, to one decimal of the cosines; null if they state none
-- column:  position_count | BIGINT | distinct positions of slices; 1 for a mosaic; null if none is stated
-- column:  volume_count | BIGINT | images at each position: how often the volume was taken, by time, echo, part or weighting; null if no position is stated
-- column:  b_value_max | DOUBLE | s/mm², the largest b-value in standard or private elements of the series; null if none. `diffusion_frames` has corrected values of each image
-- column:  phase_encoding_direction | VARCHAR | in the stored image, as in `phase_encoding`
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store; null if nothing
create or replace view sequence_facts as
with counted as (
    select
        series_key,
        arg_min(instance_id, instance_key) as instance_id,
        count(pixel_offset) as image_count,
        count(distinct round(EchoTime, 1)) as echo_count,
        count(distinct round(InversionTime)) filter (where InversionTime > 0) as inversion_time_count,
        count(distinct list_transform(
            ImageOrientationPatient, lambda cosine: try_cast(round(cosine * 10) as integer)
        )) as plane_count,
        count(distinct ImagePositionPatient) as position_count,
        bool_and(ImageType[1] = 'DERIVED') as is_derived,
        list_contains(any_value(ImageType), 'MOSAIC') or list_contains(any_value(ImageType), 'VFRAME') as is_mosaic,
        count(*) filter (where list_has_any(ImageType, ['P', 'PHASE', 'PHASE MAP', 'PHASE_MAP'])) as phase_images,
        count(*) filter (where list_has_any(ImageType, ['R', 'REAL'])) as real_images,
        count(*) filter (where list_has_any(ImageType, ['I', 'IMAGINARY'])) as imaginary_images,
        count(*) filter (where list_has_any(ImageType, ['M', 'MAGNITUDE', 'M_FFE', 'M_SE', 'M_IR'])) as magnitude_images,
        count(*) as instance_count
    from instances
    where series_key is not null and Modality = 'MR'
    group by series_key
),

judged as (
    select instances.*
    from instances
    join counted on instances.instance_id = counted.instance_id
),

-- Few scans with few tags each: a long list of tags is no filter of the scan, and reads all.
found as materialized (
    select instance_id, tag, path, text, coalesce("real", "integer") as number
    from normal_elements
    where
        tag in (
            '00089208', '00089209', '00189005', '00189008', '00189009', '00189014', '00189015',
            '00189018', '00189079', '00189082', '00189240', '00189241', '00189250', '00189257'
        )
        and "index" = 0
        and vm > 0
        and (path = '' or path between 'MRImageFrameTypeSequence[' and 'SharedFunctionalGroupsSequence]')
    union all
    select instance_id, tag, path, text, coalesce("real", "integer")
    from normal_elements
    where
        tag in ('00180010', '00180080', '00181314', '00189087', '00209057')
        and "index" = 0
        and vm > 0
        and path between 'ContrastBolusAgentSequence[' and 'SharedFunctionalGroupsSequence]'
    union all
    select instance_id, tag, path, null, coalesce("real", "integer")
    from elements
    where
        tag in ('0019100C', '20011003', '00431039', '00651009')
        and "index" = 0
        and path = ''
        and creator is null
),

-- What the standard says beyond `instances`: at top level or in the functional groups of the first frame.
stated as (
    select
        found.instance_id,
        found.tag,
        arg_min(found.text, found.path) as text,
        arg_min(found.number, found.path) as number
    from found
    join judged on found.instance_id = judged.instance_id
    where
        case
            -- Of what `instances` has at top level only what stands in groups is read.
            when found.tag in ('00180010', '00180080', '00181314') then regexp_full_match(
                found.path,
                '(PerFrameFunctionalGroupsSequence\[0\]|SharedFunctionalGroupsSequence\[0\])\.[A-Za-z]+\[0\]'
            )
            when found.tag in ('0019100C', '00189087', '00209057', '00431039', '00651009', '20011003') then false
            else found.path = '' or regexp_full_match(
                found.path,
                '((PerFrameFunctionalGroupsSequence\[0\]|SharedFunctionalGroupsSequence\[0\])\.)?[A-Za-z]+\[0\]'
            )
        end
    group by found.instance_id, found.tag
),

wide as (
    select
        instance_id,
        any_value(text) filter (where tag = '00089208') as complex_component,
        any_value(text) filter (where tag = '00089209') as acquisition_contrast,
        any_value(text) filter (where tag = '00180010') as agent,
        any_value(number) filter (where tag = '00180080') as repetition_time,
        any_value(number) filter (where tag = '00181314') as flip_angle,
        any_value(text) filter (where tag = '00189005') as pulse_sequence,
        any_value(text) filter (where tag = '00189008') as echo_pulse,
        any_value(text) filter (where tag = '00189009') as inversion,
        any_value(text) filter (where tag = '00189014') as phase_contrast,
        any_value(text) filter (where tag = '00189015') as time_of_flight,
        any_value(text) filter (where tag = '00189018') as echo_planar,
        any_value(number) filter (where tag = '00189079') as inversion_time,
        any_value(number) filter (where tag = '00189082') as echo_time,
        any_value(number) filter (where tag = '00189240') as rf_echo_train,
        any_value(number) filter (where tag = '00189241') as gradient_echo_train,
        any_value(text) filter (where tag = '00189250') as asl_contrast,
        bool_or(tag = '00189257') as has_asl_context
    from stated
    group by instance_id
),

stacks as (
    select
        found.instance_id,
        max(cast(found.number as bigint)) as slices
    from found
    join judged on found.instance_id = judged.instance_id
    where
        found.tag = '00209057'
        and regexp_full_match(
            found.path, 'PerFrameFunctionalGroupsSequence\[\d+\]\.FrameContentSequence\[0\]'
        )
    group by found.instance_id
),

-- One scan per creator, each with a range of tags: of the sorted table only these are read.
private_values as materialized (
    select
        instance_id,
        case tag[7:8] when '20' then 'technique' when '13' then 'factor' else 'b_value' end as fact,
        text,
        coalesce("real", "integer") as number
    from normal_elements
    where
        path = '' and creator = 'Philips Imaging DD 001' and tag between '20011000' and '2001FFFF'
        and tag[7:8] in ('03', '13', '20') and "index" = 0
    union all
    select
        instance_id, case tag[7:8] when '39' then 'b_value' when '2F' then 'part' else 'label' end, text,
        "integer" % 1e9
    from normal_elements
    where
        path = '' and creator = 'GEMS_PARM_01' and tag between '00431000' and '0043FFFF'
        and tag[7:8] in ('2F', '39', 'A3', 'A4') and "index" = 0
    union all
    select instance_id, 'label', text, null
    from normal_elements
    where
        path = '' and creator = 'Philips MR Imaging DD 005' and tag between '20051000' and '2005FFFF'
        and tag[7:8] = '29' and "index" = 0 and text in ('LABEL', 'CONTROL')
    union all
    select instance_id, 'b_value', null, coalesce("real", "integer")
    from elements
    where
        path = '' and creator = 'SIEMENS MR HEADER' and tag between '00191000' and '0019FFFF'
        and tag[7:8] = '0C' and "index" = 0
    union all
    select instance_id, 'b_value', null, "real"
    from elements
    where
        path = '' and creator = 'Image Private Header' and tag between '00651000' and '0065FFFF'
        and tag[7:8] = '09' and "index" = 0
    union all
    select
        instance_id,
        case name when 'B_value' then 'b_value' when 'sAsl.ulMode' then 'asl mode' else 'file' end,
        lower(regexp_extract(text, '[^\\/]*$')),
        coalesce("real", "integer")
    from vendor_elements
    where
        name in ('tSequenceFileName', 'sAsl.ulMode', 'B_value')
        and "index" = 0
        and (name <> 'B_value' or source_path = '')
),

private as (
    select
        parts.instance_id,
        min(parts.text) filter (where parts.fact = 'technique') as technique,
        max(parts.number) filter (where parts.fact = 'factor') as epi_factor,
        bool_or(parts.text > ' ') filter (where parts.fact = 'label') as is_asl,
        min(parts.text) filter (where parts.fact = 'file') as sequence_file,
        max(parts.number) filter (where parts.fact = 'asl mode') as asl_mode
    from private_values as parts
    join judged on parts.instance_id = judged.instance_id
    where parts.fact <> 'b_value'
    group by parts.instance_id
),

-- GE puts the parts of complex images into one series, and says in this element alone what each is.
parts as (
    select
        instances.series_key,
        if(
            min(private_values.number) = max(private_values.number),
            ge_image_part(min(private_values.number)), 'MIXED'
        ) as image_part
    from private_values
    join instances on private_values.instance_id = instances.instance_id
    where private_values.fact = 'part' and private_values.number between 0 and 3
    group by instances.series_key
),

-- Only the largest: what each image has costs seconds, and `diffusion_frames` says it.
b_values as (
    select
        instance_id,
        number as b_value,
        null as maker
    from private_values
    where fact = 'b_value'
    union all
    select instance_id, number, null
    from found
    where tag = '00189087' and path >= 'MRDiffusionSequence[' and contains(path, 'MRDiffusionSequence[0]')
    -- Of which an anonymizer dropped the creator: in the usual block, by its maker.
    union all
    select
        instance_id,
        number % 1e9,
        case tag when '0019100C' then 'Siemens' when '20011003' then 'Philips' when '00431039' then 'GE' else 'UIH' end
    from found
    where tag in ('0019100C', '20011003', '00431039', '00651009')
),

weighted as (
    select
        instances.series_key,
        max(b_values.b_value) filter (
            where b_values.b_value between 0 and 10000
            and (b_values.maker is null or b_values.maker = manufacturer_name(instances.Manufacturer))
        ) as stated_max,
        max(instances.DiffusionBValue) filter (where instances.DiffusionBValue > 0 and instances.DiffusionBValue <= 10000)
            as standard_max,
        list_max(list_filter(
            list(try_cast(regexp_extract(
                instances.ImageComments, '^\s*b=([0-9.]+)\([0-9.+-]+,[0-9.+-]+,[0-9.+-]+\)\s*$', 1
            ) as double)) filter (
                where instances.ImageComments like '%b=%(%' and manufacturer_name(instances.Manufacturer) = 'Canon'
            ),
            lambda b_value: b_value <= 10000
        )) as comment_max,
        greatest(stated_max, standard_max, comment_max) as b_value_max
    from instances
    left join b_values on instances.instance_id = b_values.instance_id
    where instances.series_key in (select counted.series_key from counted)
    group by instances.series_key
),

gathered as (
    select
        counted.*,
        judged.ImageType,
        ' ' || nullif(trim(regexp_replace(
            lower(strip_accents(concat_ws(' ', judged.SeriesDescription, judged.ProtocolName))),
            '[^\pL\pN+*]+', ' ', 'g'
        )), '') || ' ' as description,
        nullif(lower(concat_ws(
            ' ', judged.SequenceName, coalesce(judged.pulse_sequence_name, wide.pulse_sequence)
        )), '') as sequence,
        coalesce(private.sequence_file, lower(private.technique)) as sequence_file,
        judged.ScanningSequence,
        case
            when list_contains(judged.ScanningSequence, 'EP') then 'YES'
            when wide.echo_planar in ('YES', 'NO') then wide.echo_planar
            when private.epi_factor > 1 or list_contains(judged.ScanOptions, 'EPI_GEMS') then 'YES'
            when private.epi_factor is not null then 'NO'
            when wide.gradient_echo_train > 8 then 'YES'
            -- Philips calls echo-planar sequences SE or GR: the factor is in a private element.
            when
                manufacturer_name(judged.Manufacturer) = 'Philips'
                and not list_has_any(judged.ScanningSequence, ['IR', 'RM'])
                and not coalesce(list_has_any(judged.SequenceVariant, ['MP', 'SS', 'SP']), false)
                then null
            when judged.ScanningSequence <> ['RM'] then 'NO'
        end as echo_planar,
        case
            -- Some Siemens software calls gradient-echo EPI SE too.
            when contains(sequence, 'epfid') then 'NO'
            when list_contains(judged.ScanningSequence, 'SE') then 'YES'
            when list_contains(judged.ScanningSequence, 'GR') then 'NO'
            when wide.echo_pulse in ('SPIN', 'BOTH') then 'YES'
            when wide.echo_pulse = 'GRADIENT' then 'NO'
            -- Without a refocusing pulse all echoes are gradient echoes.
            when wide.rf_echo_train = 0 and wide.gradient_echo_train > 0 then 'NO'
            when contains(sequence, 'fl3d') or contains(sequence, 'tfl3d')
                or contains(sequence, 'feepi') or contains(sequence, 'ffe') or contains(sequence, 'tfe') then 'NO'
            when contains(sequence, 'epse') or contains(sequence, 'ep_b') or contains(sequence, 'se2d')
                or contains(sequence, 'spc') or contains(sequence, 'tse') or contains(sequence, 'fse') or contains(sequence, 'dwise') then 'YES'
        end as spin_echo,
        case
            when wide.inversion in ('YES', 'NO') then wide.inversion
            when list_contains(judged.ScanningSequence, 'IR') then 'YES'
            when coalesce(judged.InversionTime, wide.inversion_time) > 0 then 'YES'
            when len(judged.ScanningSequence) > 0 and judged.ScanningSequence <> ['RM'] then 'NO'
        end as inversion,
        coalesce(wide.complex_component, parts.image_part) as complex_component,
        nullif(wide.acquisition_contrast, 'UNKNOWN') as acquisition_contrast,
        list_contains(judged.ImageType, 'ASL')
        or wide.has_asl_context or wide.asl_contrast is not null
        or coalesce(private.is_asl, false)
        or coalesce(private.asl_mode > 1, false) as is_arterial,
        wide.asl_contrast,
        coalesce(wide.agent, judged.ContrastBolusAgent) as agent,
        wide.phase_contrast,
        wide.time_of_flight,
        coalesce(judged.EchoTime, wide.echo_time) as echo_time_ms,
        coalesce(judged.RepetitionTime, wide.repetition_time) as repetition_time_ms,
        nullif(coalesce(nullif(judged.InversionTime, 0), wide.inversion_time), 0) as inversion_time_ms,
        coalesce(judged.FlipAngle, wide.flip_angle) as flip_angle_deg,
        coalesce(nullif(judged.NumberOfFrames, 0), 1) as frames,
        stacks.slices
    from counted
    join judged on counted.instance_id = judged.instance_id
    left join wide on counted.instance_id = wide.instance_id
    left join private on counted.instance_id = private.instance_id
    left join stacks on counted.instance_id = stacks.instance_id
    left join parts on counted.series_key = parts.series_key
)

select
    gathered.series_key,
    gathered.instance_id,
    gathered.description,
    gathered.sequence,
    gathered.sequence_file,
    gathered.echo_planar,
    gathered.spin_echo,
    gathered.inversion,
    case
        when list_contains(gathered.ImageType, 'MIXED') then 'MIXED'
        when gathered.complex_component in ('MAGNITUDE', 'PHASE', 'REAL', 'IMAGINARY', 'MIXED')
            then gathered.complex_component
        when gathered.phase_images = gathered.instance_count then 'PHASE'
        when gathered.real_images = gathered.instance_count then 'REAL'
        when gathered.imaginary_images = gathered.instance_count then 'IMAGINARY'
        when gathered.phase_images + gathered.real_images + gathered.imaginary_images > 0 then 'MIXED'
        when gathered.magnitude_images > 0 then 'MAGNITUDE'
    end as image_part,
    gathered.acquisition_contrast,
    case when gathered.is_derived then 'YES' when not gathered.is_derived then 'NO' end as is_derived,
    if(gathered.is_arterial, 'YES', null) as is_asl,
    gathered.asl_contrast,
    if(gathered.agent > ' ' and upper(gathered.agent) not in ('NO', 'NONE', 'N', 'NEIN', 'OHNE', 'NON'), 'YES', null)
        as contrast_agent,
    gathered.phase_contrast,
    gathered.time_of_flight,
    gathered.echo_time_ms,
    gathered.repetition_time_ms,
    gathered.inversion_time_ms,
    gathered.flip_angle_deg,
    nullif(gathered.echo_count, 0) as echo_count,
    nullif(gathered.inversion_time_count, 0) as inversion_time_count,
    nullif(gathered.plane_count, 0) as plane_count,
    case
        when gathered.frames > 1 then gathered.slices
        when gathered.is_mosaic then 1
        else nullif(gathered.position_count, 0)
    end as position_count,
    case
        when gathered.frames > 1
            then try_cast(cast(gathered.frames as hugeint) * gathered.image_count // gathered.slices as bigint)
        when gathered.is_mosaic then gathered.image_count
        else gathered.image_count // nullif(gathered.position_count, 0)
    end as volume_count,
    weighted.b_value_max,
    phase_encoding.phase_encoding_direction,
    unread.not_read
from gathered
left join weighted on gathered.series_key = weighted.series_key
left join phase_encoding on gathered.instance_id = phase_encoding.instance_id
left join unread on gathered.instance_id = unread.instance_id;
