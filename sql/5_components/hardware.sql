-- One row per kind of machine for jobs, with its price.
--
-- The table `sql/rules/hardware.csv`: list prices of one cloud, for what jobs would cost there. This machine is not asked.
--
-- grain:   instance
-- column:  instance | VARCHAR | name of the kind of machine
-- column:  gpu_type | VARCHAR | kind of its GPU; empty for none
-- column:  gpu_count | BIGINT | number of GPUs
-- column:  memory_gb | BIGINT | memory, GiB
-- column:  cpu_count | BIGINT | processors
-- column:  usd_cents_per_hour | DOUBLE | price, US cents for an hour, without tax
create or replace view hardware as
select
    cells[1] as instance,
    cells[2] as gpu_type,
    cast(cells[3] as bigint) as gpu_count,
    cast(cells[4] as bigint) as memory_gb,
    cast(cells[5] as bigint) as cpu_count,
    cast(cells[6] as double) as usd_cents_per_hour
from (
    select string_split(unnest(string_split(hardware_rules(), chr(10))), chr(9)) as cells
);
