-- One row per change of a set of values: a value added or removed.
--
-- `value_sets` has what is in them now.
--
-- grain:   entry
-- table:   value_set_entries
-- column:  batch | VARCHAR | commit that added the row, or the first of those compacted together
-- column:  entry | BIGINT | number of the change, in order
-- column:  set_name | VARCHAR | the set: an archive, a reader study
-- column:  item | VARCHAR | item of the set: an archive item, a display set
-- column:  slug | VARCHAR | socket; an item has one value of each
-- column:  value_id | VARCHAR | key to `socket_values`; null if the value was taken out
-- column:  changed_at | TIMESTAMP | when, UTC
-- column:  changed_by | VARCHAR | who did it, as stated
create or replace view value_set_entries as
select
    batch,
    entry,
    set_name,
    item,
    slug,
    value_id,
    changed_at,
    changed_by
from read_parquet(
    getvariable('stored').value_set_entries, hive_partitioning = true,
    hive_types = {'batch': varchar}
);
