-- One row per input of a job: a value, or a series of the archive.
--
-- grain:   job_id, slug
-- depends: job_specs
-- column:  job_id | VARCHAR | key to `jobs`
-- column:  slug | VARCHAR | socket
-- column:  value_id | VARCHAR | key to `socket_values`; null for a series of the archive
-- column:  series_key | VARCHAR | key to `series`; null for a value
-- column:  prefix | VARCHAR | folder below /input; empty for none
create or replace view job_inputs as
select
    job_id,
    unnest(input_slugs) as slug,
    unnest(input_values) as value_id,
    unnest(input_series) as series_key,
    unnest(input_prefixes) as prefix
from job_specs;
