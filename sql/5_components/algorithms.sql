-- One row per algorithm, or method of evaluation: its newest version.
--
-- grain:   algorithm
-- depends: algorithm_versions, algorithm_interfaces, algorithm_matching
-- column:  algorithm | VARCHAR | name
-- column:  version | BIGINT | number of the version, from 1
-- column:  kind | VARCHAR | algorithm or evaluation
-- column:  description | VARCHAR | what it does
-- column:  api_method | VARCHAR | exec, invoke, python or external
-- column:  image_id | VARCHAR | key to `artifacts`; null without an image
-- column:  model_id | VARCHAR | key to `artifacts`; null without weights
-- column:  function | VARCHAR | module:name of a Python function; null for others
-- column:  interfaces | VARCHAR[] | inputs and outputs, as text
-- column:  matching | VARCHAR[] | which series of a study is the input of which socket, in order; null for jobs of one series
-- column:  time_limit_s | BIGINT | how long a job may execute, seconds
-- column:  requires_gpu_type | VARCHAR | GPU that it asks for; empty for none
-- column:  requires_memory_gb | BIGINT | memory that it asks for, GiB
-- column:  added_at | TIMESTAMP | when the version was made, UTC
-- column:  added_by | VARCHAR | who created it, as stated
create or replace view algorithms as
with
newest as (
    select * from algorithm_versions
    qualify row_number() over (partition by algorithm order by "version" desc) = 1
),
pairs as (
    select
        newest.algorithm,
        list(
            concat(
                array_to_string(algorithm_interfaces.inputs, ', '), ' -> ',
                array_to_string(algorithm_interfaces.outputs, ', ')
            )
            order by algorithm_interfaces.interface_id
        ) as interfaces
    from newest
    inner join algorithm_interfaces
        on list_contains(newest.interfaces, algorithm_interfaces.interface_id)
    group by newest.algorithm
),
conditions as (
    select
        algorithm,
        "version",
        list(concat(slug, ': ', condition) order by place) as matching
    from algorithm_matching
    group by algorithm, "version"
)
select
    newest.algorithm,
    newest."version",
    newest.kind,
    newest.description,
    newest.api_method,
    newest.image_id,
    newest.model_id,
    newest."function",
    pairs.interfaces,
    conditions.matching,
    newest.time_limit_s,
    newest.requires_gpu_type,
    newest.requires_memory_gb,
    newest.added_at,
    newest.added_by
from newest
left join pairs on newest.algorithm = pairs.algorithm
left join conditions
    on newest.algorithm = conditions.algorithm and newest."version" = conditions."version";
