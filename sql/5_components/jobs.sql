-- One row per job: its specification and current state.
--
-- An algorithm, or a method of evaluation, on one case.
--
-- grain:   job_id
-- depends: job_specs, job_events, job_statuses, hardware, algorithm_versions
-- example: select algorithm, label, count(*) from jobs group by all
-- column:  job_id | VARCHAR | identity, a UUID
-- column:  kind | VARCHAR | algorithm or evaluation
-- column:  algorithm | VARCHAR | key to `algorithms`
-- column:  algorithm_version | BIGINT | version of the algorithm
-- column:  image_id | VARCHAR | key to `artifacts`; null without an image
-- column:  model_id | VARCHAR | key to `artifacts`; null without weights
-- column:  interface_id | VARCHAR | key to `algorithm_interfaces`
-- column:  series_key | VARCHAR | key to `series`: what the outputs are about; null if they are about none
-- column:  item | VARCHAR | item of a set that the inputs are; null for others
-- column:  asked_for | VARCHAR | the run of a cohort, or the set, that asked for it; null for a job alone
-- column:  status | BIGINT | state, as in `job_statuses`
-- column:  label | VARCHAR | the same in words
-- column:  is_final | BOOLEAN | nothing follows, unless somebody asks for another attempt
-- column:  is_active | BOOLEAN | whether a job in this state counts against the limit of active jobs
-- column:  is_warning | BOOLEAN | it succeeded, and wrote to its standard error
-- column:  attempt | BIGINT | number of the attempt, from 0
-- column:  event_count | BIGINT | events so far
-- column:  runner | VARCHAR | runner that executed it last; null before
-- column:  error_message | VARCHAR | what went wrong in this attempt; empty if nothing did
-- column:  detailed_error_message | VARCHAR | JSON: title of a socket → what is wrong with it; null without any
-- column:  stdout | VARCHAR | the last 500 lines that it printed; null before it was executed
-- column:  stderr | VARCHAR | the last 500 lines of its standard error; null before it was executed
-- column:  exit_code | BIGINT | of the algorithm; null if it did not end by itself
-- column:  exec_seconds | DOUBLE | execution with loading of the model and of data, seconds; null before
-- column:  invoke_seconds | DOUBLE | the invocation alone, seconds; null before
-- column:  utilization_seconds | DOUBLE | how long the machine was taken for the newest attempt, seconds; null before
-- column:  compute_cost_euro_millicents | BIGINT | cost of all attempts that were measured on `instance`, 1000th of a euro cent, rounded up; null before the job has ended
-- column:  instance | VARCHAR | cheapest machine of `hardware` that meets the request; null if none does
-- column:  time_limit_s | BIGINT | how long it may execute, seconds
-- column:  requires_gpu_type | VARCHAR | GPU that it asks for; empty for none
-- column:  requires_memory_gb | BIGINT | memory that it asks for, GiB
-- column:  use_warm_pool | BOOLEAN | several cases may share one process of the algorithm
-- column:  created_at | TIMESTAMP | when it was asked for, UTC
-- column:  created_by | VARCHAR | who requested it, as stated
-- column:  changed_at | TIMESTAMP | when its state last changed, UTC
create or replace view jobs as
with
newest as (
    select
        *,
        count(*) over (partition by job_id) as event_count,
        -- Of all attempts, as each takes a machine; an interrupted one was not measured.
        sum(utilization_seconds) over (partition by job_id) as all_utilization_seconds
    from job_events
    qualify row_number() over (partition by job_id order by event desc) = 1
),
attempts as (
    -- Of the newest attempt: a state that follows execution keeps what was measured.
    select
        job_events.job_id,
        max_by(job_events.runner, job_events.event)
            filter (where job_events.runner is not null) as runner,
        max_by(job_events.stdout, job_events.event)
            filter (where job_events.stdout is not null) as stdout,
        max_by(job_events.stderr, job_events.event)
            filter (where job_events.stderr is not null) as stderr,
        max_by(job_events.exit_code, job_events.event)
            filter (where job_events.exit_code is not null) as exit_code,
        max_by(job_events.exec_seconds, job_events.event)
            filter (where job_events.exec_seconds is not null) as exec_seconds,
        max_by(job_events.invoke_seconds, job_events.event)
            filter (where job_events.invoke_seconds is not null) as invoke_seconds,
        max_by(job_events.utilization_seconds, job_events.event)
            filter (where job_events.utilization_seconds is not null) as utilization_seconds
    from job_events
    inner join newest
        on job_events.job_id = newest.job_id and job_events.attempt = newest.attempt
    group by job_events.job_id
),
machines as (
    select
        asked.requires_gpu_type,
        asked.requires_memory_gb,
        min_by(hardware.instance, hardware.usd_cents_per_hour) as instance,
        min(hardware.usd_cents_per_hour) as usd_cents_per_hour
    from (select distinct requires_gpu_type, requires_memory_gb from job_specs) as asked
    inner join hardware
        on
            asked.requires_gpu_type = hardware.gpu_type
            and asked.requires_memory_gb <= hardware.memory_gb
            and hardware.gpu_count <= 1
    group by asked.requires_gpu_type, asked.requires_memory_gb
)
select
    job_specs.job_id,
    job_specs.kind,
    job_specs.algorithm,
    job_specs.algorithm_version,
    job_specs.image_id,
    job_specs.model_id,
    job_specs.interface_id,
    job_specs.series_key,
    job_specs.item,
    job_specs.asked_for,
    newest.status,
    job_statuses.label,
    job_statuses.is_final,
    job_statuses.is_active,
    coalesce(newest.status = 4 and attempts.stderr <> '', false) as is_warning,
    newest.attempt,
    newest.event_count,
    attempts.runner,
    newest.error_message,
    newest.detailed_error_message,
    attempts.stdout,
    attempts.stderr,
    attempts.exit_code,
    attempts.exec_seconds,
    attempts.invoke_seconds,
    attempts.utilization_seconds,
    if(
        job_statuses.is_final, job_cost(newest.all_utilization_seconds, machines.usd_cents_per_hour), null
    ) as compute_cost_euro_millicents,
    machines.instance,
    job_specs.time_limit_s,
    job_specs.requires_gpu_type,
    job_specs.requires_memory_gb,
    coalesce(algorithm_versions.api_method in ('invoke', 'python'), false) as use_warm_pool,
    job_specs.created_at,
    job_specs.created_by,
    newest.happened_at as changed_at
from job_specs
inner join newest on job_specs.job_id = newest.job_id
inner join job_statuses on newest.status = job_statuses.code
inner join attempts on job_specs.job_id = attempts.job_id
left join machines
    on
        job_specs.requires_gpu_type = machines.requires_gpu_type
        and job_specs.requires_memory_gb = machines.requires_memory_gb
left join algorithm_versions
    on
        job_specs.algorithm = algorithm_versions.algorithm
        and job_specs.algorithm_version = algorithm_versions."version";
