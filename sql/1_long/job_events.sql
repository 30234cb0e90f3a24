-- One row per change of the state of a job, in order; rows are never changed.
--
-- `jobs` has the newest of each, `job_times` how long each state took.
--
-- grain:   job_id, event
-- table:   job_events
-- column:  batch | VARCHAR | commit that added the row, or the first of those compacted together
-- column:  job_id | VARCHAR | key to `job_specs`
-- column:  event | BIGINT | number of the event, from 0
-- column:  what | VARCHAR | name of the event, as in `job_transitions`
-- column:  attempt | BIGINT | number of the attempt, from 0
-- column:  status | BIGINT | state from then on, as in `job_statuses`
-- column:  happened_at | TIMESTAMP | when, UTC
-- column:  happened_by | VARCHAR | who did it, as stated
-- column:  runner | VARCHAR | runner that executed it: python, podman, docker, bwrap or external; null for other events
-- column:  error_message | VARCHAR | what went wrong, up to 1024 characters; empty if nothing did
-- column:  detailed_error_message | VARCHAR | JSON: title of a socket → what is wrong with it; null without any
-- column:  stdout | VARCHAR | the last 500 lines that it printed; null before it was executed
-- column:  stderr | VARCHAR | the last 500 lines of its standard error; null before it was executed
-- column:  exit_code | BIGINT | of the algorithm; null if it did not end by itself
-- column:  exec_seconds | DOUBLE | execution with loading of the model and of data, seconds; null before
-- column:  invoke_seconds | DOUBLE | the invocation alone, seconds; null before
-- column:  utilization_seconds | DOUBLE | how long the machine was taken for it: preparation, execution and reading of outputs, seconds; null before
-- column:  output_slugs | VARCHAR[] | sockets with outputs; null before the job has ended
-- column:  output_values | VARCHAR[] | key to `socket_values` of each; null before
-- column:  metric_names | VARCHAR[] | name of each measurement while it ran; null without any
-- column:  metric_seconds | DOUBLE[] | when it was measured, seconds from the start
-- column:  metric_values | DOUBLE[] | what was measured: bytes, or percent of one processor
create or replace view job_events as
select
    batch,
    job_id,
    event,
    what,
    attempt,
    status,
    happened_at,
    happened_by,
    runner,
    error_message,
    detailed_error_message,
    stdout,
    stderr,
    exit_code,
    exec_seconds,
    invoke_seconds,
    utilization_seconds,
    output_slugs,
    output_values,
    metric_names,
    metric_seconds,
    metric_values
from read_parquet(
    getvariable('stored').job_events, hive_partitioning = true,
    hive_types = {'batch': varchar}
);
