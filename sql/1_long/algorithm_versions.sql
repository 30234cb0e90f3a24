-- One row per version of an algorithm or of a method of evaluation.
--
-- `algorithms` has the newest of each.
--
-- grain:   algorithm, version
-- table:   algorithm_versions
-- column:  batch | VARCHAR | commit that added the row, or the first of those compacted together
-- column:  algorithm | VARCHAR | name
-- column:  version | BIGINT | from 1
-- column:  kind | VARCHAR | algorithm or evaluation
-- column:  description | VARCHAR | what it does
-- column:  image_id | VARCHAR | key to `artifacts`; null for a Python function and external execution
-- column:  model_id | VARCHAR | key to `artifacts`: weights; null without any
-- column:  function | VARCHAR | module:name of a Python function; null for others
-- column:  code_sha256 | VARCHAR | digest of the source of the module of that function; null for others
-- column:  api_method | VARCHAR | exec, invoke, python or external
-- column:  interfaces | VARCHAR[] | keys to `algorithm_interfaces`
-- column:  time_limit_s | BIGINT | how long a job may execute, seconds
-- column:  requires_gpu_type | VARCHAR | GPU that it asks for; empty for none
-- column:  requires_memory_gb | BIGINT | memory that it asks for, GiB
-- column:  added_at | TIMESTAMP | when the version was made, UTC
-- column:  added_by | VARCHAR | who created it, as stated
create or replace view algorithm_versions as
select
    batch,
    algorithm,
    "version",
    kind,
    description,
    image_id,
    model_id,
    "function",
    code_sha256,
    api_method,
    interfaces,
    time_limit_s,
    requires_gpu_type,
    requires_memory_gb,
    added_at,
    added_by
from read_parquet(
    getvariable('stored').algorithm_versions, hive_partitioning = true,
    hive_types = {'batch': varchar}
);
