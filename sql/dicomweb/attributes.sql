-- The elements of the instances $1, each as a member of the DICOM JSON model (PS3.18 F.2).
--
-- A row per element of a data set or item: `member` is its JSON, null for a sequence, whose items are
-- put in by whoever asked. File meta information and group lengths are no part of the model. A value
-- that is not kept in the row is referred to: the character 1 stands for the address of its instance.
-- The bytes of words are little endian, as no transfer syntax says otherwise.
-- With $4, only these elements of the top level, and with $5 the items of these sequences.
with chosen as (
    select
        instance_id,
        path,
        tag,
        -- As in paths: of the curves, which share a keyword, the first has it.
        if(tag like '50__2600' and tag[3:4] <> '00', tag, coalesce(keyword, tag)) as name,
        vr,
        vm,
        "index",
        text,
        "integer",
        "real",
        length,
        sha256,
        case
            when
                bytes is null
                or vr not in ('OW', 'OF', 'OL', 'OD', 'OV')
                or instance_id not in (
                    select instance_id from instances
                    where TransferSyntaxUID = '1.2.840.10008.1.2.2'
                )
                then bytes
            when vr = 'OW' then unhex(regexp_replace(hex(bytes), '(..)(..)', '\2\1', 'g'))
            when vr in ('OF', 'OL')
                then unhex(regexp_replace(hex(bytes), '(..)(..)(..)(..)', '\4\3\2\1', 'g'))
            else unhex(regexp_replace(
                hex(bytes), '(..)(..)(..)(..)(..)(..)(..)(..)', '\8\7\6\5\4\3\2\1', 'g'
            ))
        end as bytes
    from elements
    semi join (select unnest($1) as instance_id) as wanted using (instance_id)
    where
        instance_id between $2 and $3
        and tag not like '0002%'
        and tag not like '%0000'
        and (
            len($4) = 0
            or (path = '' and list_contains($4, tag))
            or (path <> '' and list_contains($5, split_part(path, '[', 1)))
        )
),

written as (
    select
        *,
        vr = 'SQ' and length is null as is_sequence,
        vm > 0 and length is not null and (text is null or vr in ('OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'UN')) as is_binary,
        case
            when vr = 'SQ' and length is null then null
            when not isfinite("real") then 'null'
            when vr = 'PN' then coalesce('{' || nullif(concat_ws(
                ',',
                '"Alphabetic":' || to_json(person_name_group(text, 'alphabetic')),
                '"Ideographic":' || to_json(person_name_group(text, 'ideographic')),
                '"Phonetic":' || to_json(person_name_group(text, 'phonetic'))
            ), '') || '}', 'null')
            when vr = 'UV' and text <> '' then text
            when vr in ('IS', 'US', 'SS', 'UL', 'SL', 'SV') and "integer" is not null
                then cast("integer" as varchar)
            when vr in ('DS', 'FL', 'FD') and "real" is not null
                then cast(to_json("real") as varchar)
            else coalesce(cast(to_json(nullif(text, '')) as varchar), 'null')
        end as "value"
    from chosen
),

gathered as (
    select
        instance_id,
        path,
        tag,
        name,
        vr,
        is_sequence,
        is_binary,
        if(is_sequence, "integer", 0) as item_count,
        bytes,
        "value" as "values",
        vm
    from written
    where vm <= 1
    union all
    select
        instance_id,
        path,
        tag,
        any_value(name) as name,
        any_value(vr) as vr,
        false as is_sequence,
        bool_or(is_binary and "index" = 0) as is_binary,
        0 as item_count,
        any_value(bytes) as bytes,
        string_agg("value", ',' order by "index") as "values",
        any_value(vm) as vm
    from written
    where vm > 1
    group by instance_id, path, tag
)

select
    instance_id,
    path,
    tag,
    name,
    is_sequence,
    coalesce(item_count, 0) as item_count,
    if(is_sequence, null, '"' || tag || '":{"vr":"' || vr || '"' || case
        when vm = 0 then ''
        when is_binary and bytes is not null then ',"InlineBinary":"' || to_base64(bytes) || '"'
        when is_binary
            then ',"BulkDataURI":"' || chr(1) || '/bulkdata/'
                || url_encode(if(path = '', tag, path || '.' || tag)) || '"'
        else ',"Value":[' || "values" || ']'
    end || '}') as member
from gathered
