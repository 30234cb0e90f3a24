-- One row per value, author and entity that it is about.
--
-- The same statement made again adds no row, so an import may be repeated.
--
-- grain:   use_id
-- table:   value_uses
-- column:  batch | VARCHAR | commit that added the row, or the first of those compacted together
-- column:  use_id | VARCHAR | identity: digest of all columns below but the time and the name of the file
-- column:  value_id | VARCHAR | key to `socket_values`
-- column:  about | VARCHAR | series, instance, study or patient; null if it is about none
-- column:  about_key | VARCHAR | key of that entity: series_key, instance_key, study_key or patient_key
-- column:  added_by | VARCHAR | who added it, as stated: a reader, an account
-- column:  tool | VARCHAR | program that made it; as was stated
-- column:  tool_version | VARCHAR | version of that program
-- column:  file_name | VARCHAR | name that its file had, without folders; null for values without one
-- column:  added_at | TIMESTAMP | when the value was added first, UTC
create or replace view value_uses as
select
    batch,
    use_id,
    value_id,
    about,
    about_key,
    added_by,
    tool,
    tool_version,
    file_name,
    added_at
from read_parquet(
    getvariable('stored').value_uses, hive_partitioning = true, hive_types = {'batch': varchar}
);
