-- One row per instance, one typed column per name: `from attributes(['Modality', 'Rows'])`.
--
-- The type of a column comes from the DICOM dictionary: what may have several values is a list. A
-- tag of eight hex digits that the dictionary does not have gives its first value as text. An
-- instance without the element has null. A date-time is in the clock of the dates and times beside
-- it, null where that is unknown (see `local_timestamp`). The statement is put together before it runs: one
-- LEFT JOIN per name, which is the fastest way through the long table (docs/architecture.md).
--
-- example: from attributes(['Modality', 'EchoTime', 'PixelSpacing']) limit 5
-- depends: normal_elements, instances, utc_offsets, attribute_tag
create or replace macro attributes(names) as table
select *
from query(
    'select instances.instance_id'
    || list_aggregate(
        list_transform(names, lambda name: ', "' || name || '"."' || name || '"'),
        'string_agg', ''
    )
    || ' from instances'
    || list_aggregate(
        list_transform(
            -- Each name is looked up once: what a lambda names is written in as often as it is used.
            list_transform(
                names,
                lambda name: {'name': name, 'tag': attribute_tag(name), 'fields': keyword_fields(name)}
            ),
            lambda asked: ' left join (select instance_id, '
            || if(
                attribute_is_list(asked['fields'][2], asked['fields'][3]),
                'list(' || attribute_value(asked['fields'][2])
                || ' order by "index") filter (where vm > 0)',
                'any_value(' || attribute_value(asked['fields'][2])
                || ') filter (where "index" = 0)'
            )
            || ' as "' || asked['name'] || '" from normal_elements'
            || if(asked['fields'][2] = 'DT', ' left join utc_offsets using (instance_id)', '')
            || ' where path = '''' and tag = '''
            || asked['tag']
            || ''' group by instance_id) as "' || asked['name'] || '" using (instance_id)'
        ),
        'string_agg', ''
    )
);
