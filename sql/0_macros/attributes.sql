-- One row per instance, one typed column per name: `from attributes(['Modality', 'Rows'])`.
--
-- The type of a column comes from the DICOM dictionary: what may have several values is a list. A
-- tag of eight hex digits that the dictionary does not have gives its first value as text. An
-- instance without the element has null. The statement is put together before it runs: one
-- LEFT JOIN per name, which is the fastest way through the long table (docs/architecture.md).
--
-- example: from attributes(['Modality', 'EchoTime', 'PixelSpacing']) limit 5
-- depends: elements, instances, attribute_tag
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
            names,
            lambda name: ' left join (select instance_id, '
            || if(
                attribute_is_list(keyword_entry(name).vr, keyword_entry(name).vm),
                'list(' || attribute_value(keyword_entry(name).vr)
                || ' order by "index") filter (where vm > 0)',
                'any_value(' || attribute_value(keyword_entry(name).vr)
                || ') filter (where "index" = 0)'
            )
            || ' as "' || name || '" from elements where path = '''' and tag = '''
            || attribute_tag(name)
            || ''' group by instance_id) as "' || name || '" using (instance_id)'
        ),
        'string_agg', ''
    )
);
