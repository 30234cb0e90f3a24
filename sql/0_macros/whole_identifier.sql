-- An identifier from its values: the whole text, null if it says nothing but backslashes.
--
-- PatientID and UIDs have one value, and no backslash (PS3.5 6.2). Where a file has `DOMAIN\1`, its first
-- value is that of every patient of the domain (docs/decisions/0027-the-whole-text-identifies.md).
--
-- example: select whole_identifier(['DOMAIN', '1']) as PatientID
create or replace macro whole_identifier(texts) as
    case when list_aggregate(texts, 'string_agg', '') <> ''
        then list_aggregate(texts, 'string_agg', '\')
    end;
