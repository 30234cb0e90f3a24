-- One row per instance that has an element at top level: `from attribute('SliceThickness')`.
--
-- The name is a keyword or a tag of eight hex digits. `text`, `integer`, `real`, `date`, `time`,
-- `timestamp` and `bytes` are the first value, `texts`, `integers` and `reals` all of them; null
-- where the VR has no such values. An empty element has a row with vm 0, a missing one has none.
-- A person's name is written as in the file. `timestamp` is in the clock of the dates and times of
-- its instance, null where that is unknown (see `local_timestamp`): also that of an element which is
-- a DT in the file and something else in the dictionary, if it has an offset of its own.
--
-- example: from attribute('SliceThickness') limit 5
-- depends: normal_elements, utc_offsets, attribute_tag, clocks, person_name
create or replace macro attribute(name) as table
select
    normal_elements.instance_id,
    any_value(vr) as vr,
    any_value(vm) as vm,
    any_value(if(vr = 'PN', person_name_text(text), text)) filter (where "index" = 0) as text,
    any_value("integer") filter (where "index" = 0) as "integer",
    any_value("real") filter (where "index" = 0) as "real",
    any_value("date") filter (where "index" = 0) as "date",
    any_value("time") filter (where "index" = 0) as "time",
    any_value(local_timestamp(text, "timestamp", utc_offset_minutes))
        filter (where "index" = 0) as "timestamp",
    any_value(bytes) filter (where "index" = 0) as bytes,
    if(
        count(text) > 0,
        list(if(vr = 'PN', person_name_text(text), text) order by "index"), null
    ) as texts,
    if(count("integer") > 0, list("integer" order by "index"), null) as integers,
    if(count("real") > 0, list("real" order by "index"), null) as reals,
    any_value(warning) as warning
from normal_elements
-- Offsets are not looked for where the dictionary has another VR: it takes as long as the rest.
left join (from utc_offsets where attribute_may_be_timestamp(name)) as utc_offsets
    on normal_elements.instance_id = utc_offsets.instance_id and normal_elements.vr = 'DT'
where path = '' and tag = attribute_tag(name)
group by normal_elements.instance_id;
