-- One row per series: its type of MR sequence, with confidence and reason, by the rules of `sequence_rules`.
--
-- A rule names DICOM attributes of one instance, that with the smallest instance_key, and facts of the
-- series, which `sequence_facts` shows. Rules are tried in their order; the first whose conditions all
-- hold gives the type. Where none holds, or there are none for the modality, the type is null. Rules
-- that need what the import mode left out may hold: where one of them comes first, the type is null
-- and `not_read` says so. Rules are applied when the view is asked: a changed rule changes only series
-- for which it holds or held.
--
-- Confidence: high, the header states it; medium, several attributes of the acquisition imply it; low,
-- only words of a free text, or times that other sequences may have too.
--
-- grain:   series_key
-- depends: instances, normal_elements, frame_values, sequence_facts, sequence_rules, unread
-- example: select sequence_type, confidence, count(*) as n from sequence_types group by all order by n desc
-- column:  series_key | VARCHAR | key to `series`
-- column:  sequence_type | VARCHAR | such as T1w, bold or dwi; null if no rule holds
-- column:  confidence | VARCHAR | high, medium or low; null without a type
-- column:  why | VARCHAR | the rule and the conditions that matched, without values of the patient; the reason if there is no type
-- column:  rule | VARCHAR | the rule that holds, of `sequence_rules`
-- column:  instance_id | BIGINT | the instance that was judged
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store; null if nothing
create or replace view sequence_types as
with chosen as (
    select
        series_key,
        arg_min(instance_id, instance_key) as instance_id
    from instances
    where series_key is not null
    group by series_key
),

judged as (
    select
        instances.* replace (
            if(frames.instance_id is null, instances.EchoTime, frames.EchoTime) as EchoTime,
            if(frames.instance_id is null, instances.RepetitionTime, frames.RepetitionTime) as RepetitionTime,
            if(frames.instance_id is null, instances.InversionTime, frames.InversionTime) as InversionTime,
            if(frames.instance_id is null, instances.ScanningSequence, frames.ScanningSequence) as ScanningSequence,
            if(frames.instance_id is null, instances.SequenceVariant, frames.SequenceVariant) as SequenceVariant,
            if(frames.instance_id is null, instances.ScanOptions, frames.ScanOptions) as ScanOptions,
            if(frames.instance_id is null, instances.SequenceName, frames.SequenceName) as SequenceName,
            if(frames.instance_id is null, instances.MRAcquisitionType, frames.MRAcquisitionType) as MRAcquisitionType
        ),
        unread.not_read,
        unread.is_without_elements
    from instances
    join chosen on instances.instance_id = chosen.instance_id
    left join frame_values as frames on instances.instance_id = frames.instance_id
    left join unread on instances.instance_id = unread.instance_id
    where instances.Modality in (select sequence_rules.rule_modality from sequence_rules)
),

-- Attributes that `instances` has are known in every mode, and quicker than elements.
core as (
    select
        instance_id,
        unnest([
            struct_pack(attribute := 'ScanningSequence', said := ScanningSequence),
            struct_pack(attribute := 'SequenceVariant', said := SequenceVariant),
            struct_pack(attribute := 'ScanOptions', said := ScanOptions),
            struct_pack(attribute := 'ImageType', said := ImageType),
            struct_pack(attribute := 'SeriesDescription', said := [SeriesDescription]),
            struct_pack(attribute := 'ProtocolName', said := [ProtocolName]),
            struct_pack(attribute := 'SequenceName', said := [SequenceName]),
            struct_pack(attribute := 'MRAcquisitionType', said := [MRAcquisitionType]),
            struct_pack(attribute := 'Manufacturer', said := [Manufacturer]),
            struct_pack(attribute := 'EchoTime', said := [cast(EchoTime as varchar)]),
            struct_pack(attribute := 'RepetitionTime', said := [cast(RepetitionTime as varchar)]),
            struct_pack(attribute := 'InversionTime', said := [cast(InversionTime as varchar)]),
            struct_pack(attribute := 'SOPClassUID', said := [SOPClassUID]),
            struct_pack(attribute := 'SamplesPerPixel', said := [cast(SamplesPerPixel as varchar)])
        ], recursive := true)
    from judged
),

facts as (
    select
        sequence_facts.instance_id,
        unnest([
            struct_pack(attribute := 'description', said := [description]),
            struct_pack(attribute := 'sequence', said := [sequence]),
            struct_pack(attribute := 'sequence_file', said := [sequence_file]),
            struct_pack(attribute := 'echo_planar', said := [echo_planar]),
            struct_pack(attribute := 'spin_echo', said := [spin_echo]),
            struct_pack(attribute := 'inversion', said := [inversion]),
            struct_pack(attribute := 'image_part', said := [image_part]),
            struct_pack(attribute := 'acquisition_contrast', said := [acquisition_contrast]),
            struct_pack(attribute := 'is_derived', said := [is_derived]),
            struct_pack(attribute := 'is_asl', said := [is_asl]),
            struct_pack(attribute := 'asl_contrast', said := [asl_contrast]),
            struct_pack(attribute := 'contrast_agent', said := [contrast_agent]),
            struct_pack(attribute := 'phase_contrast', said := [phase_contrast]),
            struct_pack(attribute := 'time_of_flight', said := [time_of_flight]),
            struct_pack(attribute := 'echo_time_ms', said := [cast(echo_time_ms as varchar)]),
            struct_pack(attribute := 'repetition_time_ms', said := [cast(repetition_time_ms as varchar)]),
            struct_pack(attribute := 'inversion_time_ms', said := [cast(inversion_time_ms as varchar)]),
            struct_pack(attribute := 'flip_angle_deg', said := [cast(flip_angle_deg as varchar)]),
            struct_pack(attribute := 'echo_count', said := [cast(echo_count as varchar)]),
            struct_pack(attribute := 'inversion_time_count', said := [cast(inversion_time_count as varchar)]),
            struct_pack(attribute := 'plane_count', said := [cast(plane_count as varchar)]),
            struct_pack(attribute := 'position_count', said := [cast(position_count as varchar)]),
            struct_pack(attribute := 'volume_count', said := [cast(volume_count as varchar)]),
            struct_pack(attribute := 'b_value_max', said := [cast(b_value_max as varchar)]),
            struct_pack(attribute := 'phase_encoding_direction', said := [phase_encoding_direction])
        ], recursive := true)
    from sequence_facts
),

-- The variable, not the view: a constant, so that of the sorted table only its tags are read.
other as (
    select
        elements.instance_id,
        asked.attribute,
        list(
            coalesce(
                elements.text, cast(elements."integer" as varchar), cast(elements."real" as varchar)
            ) order by elements."index"
        ) as said
    from normal_elements as elements
    join judged on elements.instance_id = judged.instance_id
    join (
        select distinct
            attribute,
            tag
        from sequence_rules
    ) as asked on elements.tag = asked.tag
    where
        elements.path = '' and elements.vm > 0
        and asked.attribute not in (select core.attribute from core)
        and list_contains(
            list_transform(
                list_filter(
                    stated_rules(),
                    lambda rule: rule['tag'] is not null and not list_contains([
                        'ScanningSequence', 'SequenceVariant', 'ScanOptions', 'ImageType',
                        'SeriesDescription', 'ProtocolName', 'SequenceName', 'MRAcquisitionType',
                        'Manufacturer', 'EchoTime', 'RepetitionTime', 'InversionTime', 'SOPClassUID',
                        'SamplesPerPixel'
                    ], rule['attribute'])
                ),
                lambda rule: rule['tag']
            ), elements.tag
        )
    group by elements.instance_id, asked.attribute
),

stated_values as (
    select instance_id, attribute, said from core
    union all
    select instance_id, attribute, said from facts
    union all
    select instance_id, attribute, said from other
),

-- What rules ask is the same of many series: each condition is tested once for each distinct answer.
answers as (
    select
        judged.Modality as about,
        asked.attribute,
        coalesce(list_filter(stated_values.said, lambda value: value is not null), []) as said,
        -- Odd groups are private. What is missing of these facts stands in private elements; those of
        -- the first list are known in every mode.
        coalesce(
            judged.not_read is not null
            and case
                when judged.is_without_elements
                    then asked.attribute not in (
                        'description', 'sequence', 'is_derived', 'echo_count', 'inversion_time_count', 'plane_count'
                    ) and asked.attribute not in (select core.attribute from core)
                when asked.tag is null
                    then asked.attribute in (
                        'sequence_file', 'echo_planar', 'is_asl', 'b_value_max', 'phase_encoding_direction'
                    )
                else instr('13579BDF', asked.tag[4]) > 0
            end,
            false
        ) as is_unread,
        list(judged.instance_id) as instance_ids
    from judged
    join (
        select distinct
            rule_modality,
            attribute,
            tag
        from sequence_rules
    ) as asked on judged.Modality = asked.rule_modality
    left join stated_values
        on
            judged.instance_id = stated_values.instance_id
            and asked.attribute = stated_values.attribute
    group by all
),

numbered as (
    select
        row_number() over () as answer,
        answers.*,
        lower(array_to_string(answers.said, '\')) as joined
    from answers
),

tested as (
    select
        numbered.answer,
        numbered.is_unread and numbered.said = [] as is_unread,
        sequence_rules.rule,
        sequence_rules.condition,
        sequence_rules.attribute,
        sequence_rules.test,
        case
            when sequence_rules.test in ('contains', 'word') then list_filter(
                flatten(sequence_rules.alternatives),
                lambda wanted: contains(
                    if(sequence_rules.test = 'word', ' ' || numbered.joined || ' ', numbered.joined),
                    if(sequence_rules.test = 'word', ' ' || lower(wanted) || ' ', lower(wanted))
                )
            )[1:1]
            when sequence_rules.test in ('contains not', 'word not') then list_filter(
                flatten(sequence_rules.alternatives),
                lambda wanted: contains(
                    if(sequence_rules.test = 'word not', ' ' || numbered.joined || ' ', numbered.joined),
                    if(sequence_rules.test = 'word not', ' ' || lower(wanted) || ' ', lower(wanted))
                )
            )[1:1]
            when sequence_rules.test = 'is' then list_filter(
                sequence_rules.alternatives, lambda wanted: wanted = numbered.said
            )[1]
            else list_filter(
                sequence_rules.alternatives, lambda wanted: list_has_all(numbered.said, wanted)
            )[1]
        end as matched,
        sequence_rules.alternatives,
        numbered.said
    from numbered
    join sequence_rules
        on
            numbered.about = sequence_rules.rule_modality
            and numbered.attribute = sequence_rules.attribute
),

conditions as (
    select
        answer,
        rule,
        condition,
        is_unread,
        case
            when test in ('is', 'has') then matched is not null
            when test = 'has not' then len(said) > 0 and matched is null
            when test in ('contains', 'word') then len(matched) > 0
            when test = 'contains not' then len(said) > 0 and len(matched) = 0
            when test = 'word not' then len(matched) = 0
            when test = 'above' then coalesce(try_cast(said[1] as double) > try_cast(alternatives[1][1] as double), false)
            else coalesce(try_cast(said[1] as double) < try_cast(alternatives[1][1] as double), false)
        end as holds,
        -- Of the header only what the rule names itself.
        attribute || ' ' || test || ' ' || coalesce(
            nullif(array_to_string(
                case when test in ('is', 'has', 'contains', 'word') then matched else flatten(alternatives) end, '\'
            ), ''), 'empty'
        ) as reason
    from tested
),

-- A rule may hold if none of what was read speaks against it.
holding as (
    select
        unnest(numbered.instance_ids) as instance_id,
        conditions.rule,
        conditions.condition,
        conditions.holds,
        conditions.reason
    from conditions
    join numbered on conditions.answer = numbered.answer
    where conditions.holds or conditions.is_unread
),

rules as (
    select
        rule,
        any_value("position") as rule_position,
        any_value(sequence_type) as sequence_type,
        any_value(confidence) as confidence,
        any_value(source) as source,
        count(*) as condition_count
    from sequence_rules
    group by rule
),

-- Counted first, and words put together for one rule of each series only.
fitting as (
    select
        holding.instance_id,
        holding.rule,
        bool_and(holding.holds) as is_sure
    from holding
    join rules on holding.rule = rules.rule
    group by holding.instance_id, holding.rule
    having count(*) = any_value(rules.condition_count)
),

decided as (
    select
        fitting.instance_id,
        arg_min(fitting.rule, rules.rule_position) as rule,
        arg_min(fitting.is_sure, rules.rule_position) as is_sure
    from fitting
    join rules on fitting.rule = rules.rule
    group by fitting.instance_id
),

reasons as (
    select
        holding.instance_id,
        string_agg(holding.reason, ', ' order by holding.condition) as reason
    from holding
    join decided
        on
            holding.instance_id = decided.instance_id
            and holding.rule = decided.rule
    group by holding.instance_id
)

select
    chosen.series_key,
    if(decided.is_sure, rules.sequence_type, null) as sequence_type,
    if(decided.is_sure, rules.confidence, null) as confidence,
    case
        when decided.is_sure then decided.rule || ' (' || rules.source || '): ' || reasons.reason
        when decided.instance_id is not null then judged.not_read
        when judged.instance_id is null then 'no rule is about its modality'
        else 'no rule holds'
    end as why,
    if(decided.is_sure, decided.rule, null) as rule,
    chosen.instance_id,
    if(decided.is_sure, null, if(decided.instance_id is null, null, judged.not_read)) as not_read
from chosen
left join decided on chosen.instance_id = decided.instance_id
left join rules on decided.rule = rules.rule
left join reasons on chosen.instance_id = reasons.instance_id
left join judged on chosen.instance_id = judged.instance_id;
