-- The values of a private element in any block: `from private('GEMS_ACQU_01', '0x9c')`.
--
-- The element is the last byte of its tag, as a number (156) or as text ('0x9c'; DuckDB has no
-- hexadecimal numbers). One row per value of a top-level element; `tag` shows the block that its
-- creator reserved in this instance. `timestamp` is in UTC where the value has an offset, as in
-- `elements`.
--
-- example: from private('GEMS_ACQU_01', '0x9c') limit 5
-- depends: normal_elements
create or replace macro private(private_creator, element) as table
select
    instance_id, tag, vr, vm, "index", text, "integer", "real", "date", "time", "timestamp",
    bytes, length, sha256, warning
from normal_elements
where
    path = '' and creator = private_creator
    -- As every private element; row groups without such rows are not read.
    and keyword is null
    and tag[7:8] = printf('%02X', cast(element as integer));
