-- The values in the items of a sequence: `from sequence_items('RequestAttributesSequence')`.
--
-- One row per value: `sequence_path` is where the sequence lies ('' at top level), `item` counts
-- from 0, `inner_path` is where in the item the value lies ('' directly in it). Sequences without
-- a keyword go by their tag. Of a sequence inside one of its own kind the inner items are items of
-- their own: a value belongs to the innermost. `timestamp` is in UTC where the value has an offset,
-- as in `elements`.
--
-- example: from sequence_items('RequestAttributesSequence') limit 5
-- depends: normal_elements
create or replace macro sequence_items(sequence_name) as table
select
    instance_id,
    rtrim(regexp_extract(path, '^((?:.*\.)?)' || sequence_name || '\[\d+\]', 1), '.') as sequence_path,
    cast(
        regexp_extract(path, '^(?:.*\.)?' || sequence_name || '\[(\d+)\]', 1) as bigint
    ) as item,
    regexp_extract(path, '^(?:.*\.)?' || sequence_name || '\[\d+\]\.?(.*)$', 1) as inner_path,
    tag, keyword, vr, creator, vm, "index", text, "integer", "real", "date", "time", "timestamp",
    bytes, length, sha256, warning
from normal_elements
where contains('.' || path, '.' || sequence_name || '[');
