-- The PN value as stored in the file, from the JSON of its row.
--
-- `person_name_group` gives one component group (alphabetic, ideographic, phonetic), null if it is
-- missing or empty; `person_name_text` gives the whole: Family^Given^Middle^Prefix^Suffix=…=….
--
-- example: select person_name_text(text) as name from elements where vr = 'PN' limit 5
create or replace macro person_name_components(name) as
    cast(cast(nullif(name, '') as json) as map(varchar, map(varchar, varchar)));
create or replace macro person_name_group(name, component_group) as
    nullif(
        array_to_string(map_values(person_name_components(name)[component_group]), '^'), ''
    );
create or replace macro person_name_text(name) as
    nullif(array_to_string(
        list_transform(
            map_values(person_name_components(name)),
            lambda components: coalesce(array_to_string(map_values(components), '^'), '')
        ), '='
    ), '');
