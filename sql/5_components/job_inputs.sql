-- One row per input of a job: a value, or a series of the archive.
--
-- grain:   job_id, slug, prefix
-- depends: job_specs
-- column:  job_id | VARCHAR | key to `jobs`
-- column:  slug | VARCHAR | socket
-- column:  value_id | VARCHAR | key to `socket_values`; null for a series of the archive, and for outputs that an evaluation waits for
-- column:  series_key | VARCHAR | key to `series`; null for a value
-- column:  prefix | VARCHAR | folder below /input, of an evaluation `JOB/output/` or `ground_truth/JOB/`; empty for none
create or replace view job_inputs as
select
    job_id,
    unnest(input_slugs) as slug,
    unnest(input_values) as value_id,
    unnest(input_series) as series_key,
    unnest(input_prefixes) as prefix
from job_specs;
