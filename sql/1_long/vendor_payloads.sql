-- One row per vendor payload of an element of an instance.
--
-- Payloads repeat: a series header is the same in all instances of a series. Their values stand once
-- for all instances that were read together, in `vendor_values`; `vendor_elements` joins both and is
-- what to ask. A CSA series header has two payloads: itself, and the protocol inside of it. None
-- are stored in mode minimal.
--
-- grain:   instance_id, source_tag, source_path, payload
-- table:   vendor_payloads
-- column:  batch | VARCHAR | ingest batch that read the row: the upper bits of its id
-- column:  instance_id | BIGINT | key to `instances`
-- column:  source_tag | VARCHAR | element that carries the payload: group and element, eight upper-case hex digits
-- column:  source_path | VARCHAR | '' at top level; in a sequence its path
-- column:  creator | VARCHAR | private creator of that element; empty where none reserved (0029,1010) or (0029,1020), and their bytes begin as a CSA header
-- column:  payload | BIGINT | key to `vendor_values`; means nothing by itself
create or replace view vendor_payloads as
select
    printf('%06d', instance_id >> 24) as batch,
    instance_id,
    source_tag,
    source_path,
    creator,
    payload
from read_parquet(
    getvariable('stored').vendor_payloads, hive_partitioning = false
);
