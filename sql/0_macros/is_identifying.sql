-- Whether a value may identify a person, so that no example of it is shown.
--
-- It is the one definition: what it is true for is what a de-identified export changes, see
-- `warehouse/deidentify`. `is_identifying` knows the attributes of PS3.15 Table E.1-1 (Basic Application Level
-- Confidentiality Profile), whatever their action: `is_confidential`, made of
-- `rules/deidentification.csv`. It withholds besides: the whole group of the
-- patient, names, ages, dates and times, addresses, free text, comments, descriptions and IDs, UIDs
-- but those of classes and syntaxes, private elements and elements that no dictionary knows.
-- `is_identifying_path` knows the sequences of that table, whose items are not shown either, nor
-- those of private sequences.
--
-- example: select is_identifying('00100010', 'PatientName', 'PN') as is_hidden
create or replace macro is_identifying(tag, keyword, vr) as
    keyword is null
    or vr in ('AE', 'AS', 'DA', 'DT', 'LT', 'PN', 'ST', 'TM', 'UC', 'UN', 'UR', 'UT')
    or instr('13579BDF', tag[4]) > 0
    or tag[:4] = '0010'
    or tag[:2] in ('50', '60')
    -- All UIDs but those of the standard: the table names most that tell an object, not all.
    or (
        vr = 'UI' and not regexp_matches(
            keyword, 'SOPClass|TransferSyntax'
            || '|^(ContextUID|MappingResourceUID|CodingSchemeUID|ImplementationClassUID)$'
        )
    )
    -- What somebody typed or numbered, whatever the table says.
    or (
        vr in ('LO', 'SH') and regexp_matches(
            keyword, 'Comment|Notes|Contact|OrderNumber|Owner|UserGroup|Itinerary|Welder'
            || '|(Creator|Description|DescriptionTrial|IDs?)$'
        )
    )
    -- Names of files and file sets are what somebody typed.
    or tag in ('00041130', '00041141', '00041500')
    or is_confidential(tag);
create or replace macro is_identifying_path(path) as
    regexp_matches(path, '(^|\.)[0-9A-F]{8}\[')
    or list_has_any(string_split(regexp_replace(path, '\[\d+\]', '', 'g'), '.'), confidential_sequences());
