-- What kind of sequence each series is, by the rules of `sequence_rules`.
--
-- A series is judged by one instance, that with the smallest instance_key, so that the answer does
-- not depend on the order of ingest. Rules are tried in their order; the first whose conditions all
-- hold gives the type. Where none holds, or there are none for the modality, the type is null. Rules
-- are applied when the view is asked: a changed rule changes only series for which it holds or held.
--
-- grain:   series_key
-- depends: instances, elements, phase_encoding, sequence_rules
-- column:  series_key | VARCHAR | key to `series`
-- column:  sequence_type | VARCHAR | such as mprage, bold or dwi; null if no rule holds
-- column:  rule | VARCHAR | the rule that holds, of `sequence_rules`
-- column:  instance_id | BIGINT | the instance that was judged
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
    select instances.*
    from instances
    join chosen on instances.instance_id = chosen.instance_id
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
    from elements
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
        coalesce(stated_values.said, []) as said
    from judged
    join sequence_rules on judged.Modality = sequence_rules.rule_modality
    left join stated_values
        on
            judged.instance_id = stated_values.instance_id
            and sequence_rules.attribute = stated_values.attribute
),

holding as (
    select
        series_key,
        rule,
        any_value("position") as rule_position,
        any_value(sequence_type) as sequence_type
    from tested
    group by series_key, rule
    having bool_and(coalesce(case test
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
    end, false))
),

decided as (
    select
        series_key,
        arg_min(sequence_type, rule_position) as sequence_type,
        arg_min(rule, rule_position) as rule
    from holding
    group by series_key
)

select
    chosen.series_key,
    decided.sequence_type,
    decided.rule,
    chosen.instance_id
from chosen
left join decided on chosen.series_key = decided.series_key;
