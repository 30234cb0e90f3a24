-- One row per algorithm: its jobs by final state, and their durations.
--
-- grain:   algorithm
-- depends: jobs
-- column:  algorithm | VARCHAR | key to `algorithms`
-- column:  job_count | BIGINT | jobs
-- column:  succeeded | BIGINT | jobs that succeeded
-- column:  failed | BIGINT | jobs that failed
-- column:  mean_exec_seconds | DOUBLE | mean of the executions longer than 0 of jobs that succeeded, seconds; null without any
-- column:  mean_invoke_seconds | DOUBLE | the same of invocations, seconds
-- column:  compute_cost_euro_millicents | BIGINT | cost of all jobs that have ended, with all their attempts, 1000th of a euro cent
create or replace view algorithm_averages as
select
    algorithm,
    count(*) as job_count,
    count(*) filter (where status = 4) as succeeded,
    count(*) filter (where status = 3) as failed,
    avg(exec_seconds) filter (where status = 4 and exec_seconds > 0) as mean_exec_seconds,
    avg(invoke_seconds) filter (where status = 4 and invoke_seconds > 0) as mean_invoke_seconds,
    cast(sum(compute_cost_euro_millicents) as bigint) as compute_cost_euro_millicents
from jobs
group by algorithm;
