-- One row per job: its specification, which never changes.
--
-- What became of it are `job_events`; `jobs` has both. The identity is a digest of algorithm, version and inputs, so
-- that work that is done is found again.
--
-- grain:   job_id
-- table:   job_specs
-- column:  batch | VARCHAR | commit that added the row, or the first of those compacted together
-- column:  job_id | VARCHAR | identity, a UUID
-- column:  kind | VARCHAR | algorithm or evaluation
-- column:  algorithm | VARCHAR | key to `algorithms`
-- column:  algorithm_version | BIGINT | version of the algorithm
-- column:  image_id | VARCHAR | key to `artifacts`; null for a Python function and external execution
-- column:  model_id | VARCHAR | key to `artifacts`; null without weights
-- column:  interface_id | VARCHAR | key to `algorithm_interfaces`
-- column:  input_slugs | VARCHAR[] | sockets that go in, sorted
-- column:  input_values | VARCHAR[] | key to `socket_values` of each; null for a series of the archive
-- column:  input_series | VARCHAR[] | key to `series` of each that is a series of the archive; else null
-- column:  input_prefixes | VARCHAR[] | folder of each below /input; empty if there is none
-- column:  series_key | VARCHAR | the series that the outputs are about; null if they are about none
-- column:  item | VARCHAR | item of a set that the inputs are; null for others
-- column:  asked_for | VARCHAR | the run of a cohort, or the set, that asked for it; null for a job alone
-- column:  time_limit_s | BIGINT | how long it may execute, seconds
-- column:  requires_gpu_type | VARCHAR | GPU that it asks for; empty for none
-- column:  requires_memory_gb | BIGINT | memory that it asks for, GiB
-- column:  signing_key | VARCHAR | key with which signed results of runners are verified, 64 hex digits
-- column:  created_at | TIMESTAMP | when it was asked for, UTC
-- column:  created_by | VARCHAR | who requested it, as stated
create or replace view job_specs as
select
    batch,
    job_id,
    kind,
    algorithm,
    algorithm_version,
    image_id,
    model_id,
    interface_id,
    input_slugs,
    input_values,
    input_series,
    input_prefixes,
    series_key,
    item,
    asked_for,
    time_limit_s,
    requires_gpu_type,
    requires_memory_gb,
    signing_key,
    created_at,
    created_by
from read_parquet(
    getvariable('stored').job_specs, hive_partitioning = true,
    hive_types = {'batch': varchar}
);
