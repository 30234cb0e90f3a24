-- JSON: algorithm → the columns of `outputs(algorithm)`, as SQL.
select cast(json_group_object(algorithm, columns) as varchar) as output_columns
from (
    select
        algorithms.algorithm,
        concat(
            ', nullif(concat_ws(''; '', any_value(job_cases.why_not)',
            string_agg(
                concat(
                    ', max(if(job_outputs.slug = ''', sockets.slug,
                    ''' and try_cast(job_outputs.value as bigint) is null, ''',
                    sockets.slug, ' is beyond 64 bits'', null))'
                ), '' order by sockets.slug
            ) filter (where sockets.kind = 'INT' and sockets.super_kind = 'Value'),
            '), '''') as why_not',
            string_agg(
                concat(
                    ', max(if(job_outputs.slug = ''', sockets.slug, ''', ',
                    case
                        when sockets.super_kind <> 'Value' then 'job_outputs.value_id'
                        when sockets.kind = 'INT' then 'try_cast(job_outputs.value as bigint)'
                        when sockets.kind = 'FLT' then 'try_cast(job_outputs.value as double)'
                        when sockets.kind = 'BOOL' then 'try_cast(job_outputs.value as boolean)'
                        when sockets.kind in ('STR', 'CHOI') then 'json_extract_string(job_outputs.value, ''$'')'
                        else 'job_outputs.value'
                    end,
                    ', null)) as "', replace(sockets.slug, '-', '_'), '"'
                ), '' order by sockets.slug
            )
        ) as columns
    from algorithms
    inner join (
        select
            newest.algorithm,
            list_distinct(flatten(list(algorithm_interfaces.outputs))) as slugs
        from (
            select * from algorithm_versions
            qualify row_number() over (partition by algorithm order by "version" desc) = 1
        ) as newest
        inner join algorithm_interfaces
            on list_contains(newest.interfaces, algorithm_interfaces.interface_id)
        group by newest.algorithm
    ) as given on algorithms.algorithm = given.algorithm
    inner join sockets on list_contains(given.slugs, sockets.slug)
    group by algorithms.algorithm
)
