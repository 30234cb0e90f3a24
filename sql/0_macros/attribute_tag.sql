-- Map a keyword or tag to the tag of its rows, and to the column of its values.
--
-- They read `keyword_dictionary()`, which the catalog makes of the DICOM dictionary: one text with a
-- line of keyword or tag, tag, VR and VM, with tabs between, for each (a list of them takes longer to
-- make and to search). It is a constant before a query runs, so that asking for an attribute reads
-- only the row groups of its tag. A name that is neither is an error, not no rows.
--
-- example: select attribute_tag('EchoTime') as tag
create or replace macro keyword_fields(name) as
    string_split(
        nullif(
            regexp_extract(
                keyword_dictionary(),
                '(?m)^' || regexp_escape(name) || '\t(.*)$', 1
            ), ''
        ), chr(9)
    );
create or replace macro attribute_tag(name) as
    case
        when keyword_fields(name) is not null then keyword_fields(name)[1]
        when regexp_full_match(name, '[0-9A-Fa-f]{8}') then upper(name)
        else error('neither a DICOM keyword nor a tag of eight hex digits: ' || name)
    end;
create or replace macro attribute_may_be_timestamp(name) as
    coalesce(contains(keyword_fields(name)[2], 'DT'), true);
create or replace macro attribute_value(vr) as
    case
        when vr = 'PN' then 'person_name_text(text)'
        when vr in ('IS', 'US', 'SS', 'UL', 'SL', 'SV', 'UV', 'SQ', 'US or SS') then '"integer"'
        when vr in ('DS', 'FL', 'FD') then '"real"'
        when vr = 'DA' then '"date"'
        when vr = 'TM' then '"time"'
        when vr = 'DT' then 'local_timestamp(text, "timestamp", utc_offset_minutes)'
        when vr in ('OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'UN') or vr like '% OW' then 'bytes'
        when vr is null then 'coalesce(text, cast("integer" as varchar), cast("real" as varchar))'
        else 'text'
    end;
create or replace macro attribute_is_list(vr, vm) as
    coalesce(vm != '1' and attribute_value(vr) != 'bytes', false);
