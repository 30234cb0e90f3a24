-- What kind of sequence each series is, by the rules of `sequence_rules`.
--
-- A series is judged by one instance, that with the smallest instance_key, so that the answer does
-- not depend on the order of ingest. Rules are tried in their order; the first whose conditions all
-- hold gives the type. Where none holds, or there are none for the modality, the type is null. Rules
-- that need what the import mode left out may hold: where one of them comes first, the type is null
-- and `not_read` says so. Rules are applied when the view is asked: a changed rule changes only series for which it holds or held.
--
-- grain:   series_key
-- depends: instances, normal_elements, phase_encoding, sequence_rules, unread, frame_values
-- column:  series_key | VARCHAR | key to `series`
-- column:  sequence_type | VARCHAR | such as mprage, bold or dwi; null if no rule holds
-- column:  rule | VARCHAR | the rule that holds, of `sequence_rules`
-- column:  instance_id | BIGINT | the instance that was judged
-- column:  not_read | VARCHAR | what the import mode left out of what this row needs; null if nothing
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
    select instances.* replace (
        if(frames.instance_id is null, instances.EchoTime, frames.EchoTime) as EchoTime,
        if(frames.instance_id is null, instances.RepetitionTime, frames.RepetitionTime) as RepetitionTime,
        if(frames.instance_id is null, instances.InversionTime, frames.InversionTime) as InversionTime,
        if(frames.instance_id is null, instances.ScanningSequence, frames.ScanningSequence) as ScanningSequence,
        if(frames.instance_id is null, instances.SequenceVariant, frames.SequenceVariant) as SequenceVariant,
        if(frames.instance_id is null, instances.ScanOptions, frames.ScanOptions) as ScanOptions,
        if(frames.instance_id is null, instances.SequenceName, frames.SequenceName) as SequenceName,
        if(frames.instance_id is null, instances.MRAcquisitionType, frames.MRAcquisitionType) as MRAcquisitionType
    )
    from instances
    join chosen on instances.instance_id = chosen.instance_id
    left join frame_values as frames on instances.instance_id = frames.instance_id
    where instances.Modality in (select sequence_rules.rule_modality from sequence_rules)
),

-- Attributes that `instances` has are known in every mode, and quicker than elements.
core as (
    select
        instance_id,
        stated.attribute,
        stated.said
    from (
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
                struct_pack(attribute := 'InversionTime', said := [cast(InversionTime as varchar)])
            ]) as stated
        from judged
    )
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
                        'Manufacturer', 'EchoTime', 'RepetitionTime', 'InversionTime'
                    ], rule['attribute'])
                ),
                lambda rule: rule['tag']
            ), elements.tag
        )
    group by elements.instance_id, asked.attribute
),

stated_values as (
    select
        instance_id,
        attribute,
        list_filter(said, lambda value: value is not null) as said
    from (
        select instance_id, attribute, said from core
        union all
        select instance_id, attribute, said from other
        union all
        select
            phase_encoding.instance_id,
            'phase_encoding_direction' as attribute,
            [phase_encoding.phase_encoding_direction] as said
        from phase_encoding
        join judged on phase_encoding.instance_id = judged.instance_id
        where phase_encoding.phase_encoding_direction is not null
    )
),

tested as (
    select
        judged.series_key,
        sequence_rules.rule,
        sequence_rules."position",
        sequence_rules.sequence_type,
        sequence_rules.test,
        sequence_rules.alternatives,
        coalesce(stated_values.said, []) as said,
        -- Odd groups are private; what has no tag comes from vendor payloads.
        unread.instance_id is not null
        and coalesce(
            unread.is_without_elements or instr('13579BDF', sequence_rules.tag[4]) > 0, false
        )
        and stated_values.said is null
        and sequence_rules.attribute not in (select core.attribute from core) as is_unread
    from judged
    join sequence_rules on judged.Modality = sequence_rules.rule_modality
    left join stated_values
        on
            judged.instance_id = stated_values.instance_id
            and sequence_rules.attribute = stated_values.attribute
    left join unread on judged.instance_id = unread.instance_id
),

conditions as (
    select
        *,
        coalesce(case test
            when 'is' then list_contains(alternatives, said)
            when 'has' then list_contains(list_transform(
                alternatives, lambda wanted: list_has_all(said, wanted)
            ), true)
            when 'has not' then len(said) > 0 and not list_contains(list_transform(
                alternatives, lambda wanted: list_has_all(said, wanted)
            ), true)
            when 'contains' then list_contains(list_transform(
                flatten(alternatives),
                lambda wanted: contains(lower(array_to_string(said, '\')), lower(wanted))
            ), true)
            when 'contains not' then len(said) > 0 and not list_contains(list_transform(
                flatten(alternatives),
                lambda wanted: contains(lower(array_to_string(said, '\')), lower(wanted))
            ), true)
            when 'above' then try_cast(said[1] as double) > try_cast(alternatives[1][1] as double)
            when 'below' then try_cast(said[1] as double) < try_cast(alternatives[1][1] as double)
        end, false) as holds
    from tested
),

-- A rule may hold if none of what was read speaks against it.
holding as (
    select
        series_key,
        rule,
        any_value("position") as rule_position,
        any_value(sequence_type) as sequence_type,
        bool_or(is_unread and not holds) as may_hold
    from conditions
    group by series_key, rule
    having bool_and(holds or is_unread)
),

decided as (
    select
        series_key,
        arg_min(sequence_type, rule_position) as sequence_type,
        arg_min(rule, rule_position) as rule,
        arg_min(may_hold, rule_position) as is_open
    from holding
    group by series_key
)

select
    chosen.series_key,
    if(decided.is_open, null, decided.sequence_type) as sequence_type,
    if(decided.is_open, null, decided.rule) as rule,
    chosen.instance_id,
    if(decided.is_open, unread.not_read, null) as not_read
from chosen
left join decided on chosen.series_key = decided.series_key
left join unread on chosen.instance_id = unread.instance_id;
