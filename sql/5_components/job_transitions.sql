-- One row per event and state in which it is allowed; any other is refused.
--
-- The table `sql/rules/job_transitions.csv`.
--
-- grain:   event, from_status
-- column:  event | VARCHAR | name of the event
-- column:  from_status | BIGINT | previous state, as in `job_statuses`; -1 for a new job
-- column:  to_status | BIGINT | state after
-- column:  attempt_step | BIGINT | by how much the number of the attempt grows
-- column:  meaning | VARCHAR | when it happens
create or replace view job_transitions as
select
    cells[1] as event,
    coalesce(try_cast(cells[2] as bigint), -1) as from_status,
    cast(cells[3] as bigint) as to_status,
    cast(cells[4] as bigint) as attempt_step,
    cells[5] as meaning
from (
    select string_split(unnest(string_split(job_transition_rules(), chr(10))), chr(9)) as cells
);
