-- One row per possible state of a job.
--
-- The table `sql/rules/job_states.csv`: the codes are those of Grand Challenge.
--
-- grain:   code
-- column:  code | BIGINT | number, as Grand Challenge has it
-- column:  label | VARCHAR | name for people
-- column:  is_final | BOOLEAN | nothing follows, unless somebody asks for another attempt
-- column:  is_active | BOOLEAN | whether a job in this state counts against the limit of active jobs
-- column:  is_ever_set | BOOLEAN | jobs come into this state; the others are known so that imported jobs can be shown
create or replace view job_statuses as
select
    cast(cells[1] as bigint) as code,
    cells[2] as label,
    cells[3] = 'true' as is_final,
    cells[4] = 'true' as is_active,
    cells[5] = 'true' as is_ever_set
from (
    select string_split(unnest(string_split(job_state_rules(), chr(10))), chr(9)) as cells
);
