-- One row per value in a distinct vendor payload; `vendor_elements` joins them to instances.
--
-- Stored sorted by name, index and payload, so that asking for a name reads only its rows.
--
-- grain:   payload, name, index
-- table:   vendor_values
-- column:  batch | VARCHAR | ingest batch that read the row: the upper bits of its id
-- column:  payload | BIGINT | key to `vendor_payloads`
-- column:  name | VARCHAR | CSA element, path in the protocol or name of a setting, as written; '' on a row that describes damage
-- column:  index | INTEGER | position of this value in its element, from 0
-- column:  vr | VARCHAR | Value Representation that a CSA header states; null in protocols
-- column:  text | VARCHAR | the value as written, padding and quotes removed; null if there is none
-- column:  integer | BIGINT | a value written as a whole number, decimal or hexadecimal
-- column:  real | DOUBLE | any number
-- column:  warning | VARCHAR | what is damaged or left out
create or replace view vendor_values as
select
    printf('%06d', payload >> 40) as batch,
    payload,
    name,
    "index",
    vr,
    text,
    "integer",
    "real",
    warning
from read_parquet(
    getvariable('stored').vendor_values, hive_partitioning = false
);
