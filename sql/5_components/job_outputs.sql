-- One row per output of a job, of the newest attempt with outputs.
--
-- grain:   job_id, slug
-- depends: job_events, job_specs, socket_values
-- column:  job_id | VARCHAR | key to `jobs`
-- column:  algorithm | VARCHAR | key to `algorithms`
-- column:  series_key | VARCHAR | key to `series`: what it is about; null if it is about none
-- column:  slug | VARCHAR | socket
-- column:  value_id | VARCHAR | key to `socket_values` and `annotations`
-- column:  form | VARCHAR | value, file, image or series
-- column:  value | VARCHAR | the JSON text of a value that lies in the table
-- column:  attempt | BIGINT | number of the attempt, from 0
create or replace view job_outputs as
with
newest as (
    select * from job_events
    where output_slugs is not null
    qualify row_number() over (partition by job_id order by event desc) = 1
),
pairs as (
    select
        job_id,
        attempt,
        unnest(output_slugs) as slug,
        unnest(output_values) as value_id
    from newest
)
select
    pairs.job_id,
    job_specs.algorithm,
    job_specs.series_key,
    pairs.slug,
    pairs.value_id,
    socket_values.form,
    socket_values."value",
    pairs.attempt
from pairs
inner join job_specs on pairs.job_id = job_specs.job_id
inner join socket_values on pairs.value_id = socket_values.value_id;
