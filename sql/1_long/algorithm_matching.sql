-- One row per socket of an algorithm with several series of a study: the condition that selects its series.
--
-- Of one version of an algorithm. The series of the first place is what the outputs are about.
--
-- grain:   algorithm, version, slug
-- table:   algorithm_matching
-- column:  batch | VARCHAR | commit that added the row, or the first of those compacted together
-- column:  algorithm | VARCHAR | key to `algorithm_versions`
-- column:  version | BIGINT | the same
-- column:  place | BIGINT | order of the sockets, from 0
-- column:  slug | VARCHAR | key to `sockets`
-- column:  condition | VARCHAR | SQL over `series` that is true of one series of a study
create or replace view algorithm_matching as
select
    batch,
    algorithm,
    "version",
    place,
    slug,
    condition
from read_parquet(
    getvariable('stored').algorithm_matching, hive_partitioning = true,
    hive_types = {'batch': varchar}
);
