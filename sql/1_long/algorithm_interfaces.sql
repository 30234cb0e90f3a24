-- One row per combination of inputs and outputs of algorithms; rows are never changed or removed.
--
-- An interface is what it takes and gives: the same two sets of sockets are one interface, whichever
-- algorithms have it.
--
-- grain:   interface_id
-- table:   algorithm_interfaces
-- column:  batch | VARCHAR | commit that added the row, or the first of those compacted together
-- column:  interface_id | VARCHAR | identity: digest of both sets
-- column:  inputs | VARCHAR[] | slugs of the sockets that are given, sorted
-- column:  outputs | VARCHAR[] | slugs of the sockets that come out, sorted
-- column:  added_at | TIMESTAMP | when it was added, UTC
create or replace view algorithm_interfaces as
select
    batch,
    interface_id,
    inputs,
    outputs,
    added_at
from read_parquet(
    getvariable('stored').algorithm_interfaces, hive_partitioning = true,
    hive_types = {'batch': varchar}
);
