-- One row per case of an algorithm: `from outputs('lung')`, with a typed column per output.
--
-- A value in the table is a column of its type (text, BIGINT, DOUBLE, BOOLEAN, else JSON text), named like its
-- socket with underscores; other outputs are the id of their value. A case without outputs has nulls, and
-- `why_not` says why, as it does for a whole number beyond 64 bits. The statement is put together before it runs, of the
-- variable `output_columns` (sql/components/output_columns.sql).
--
-- example: select * from outputs('mean-value') limit 5
-- depends: job_cases, job_outputs
create or replace macro outputs(algorithm_name) as table
    select *
    from query(
        if(
            json_extract_string(getvariable('output_columns'), concat('$."', algorithm_name, '"')) is null,
            error(concat('there is no algorithm ', algorithm_name, '; the view algorithms has them all')),
            concat(
                'select job_cases.series_key, job_cases.item, job_cases.job_id, job_cases.algorithm_version, job_cases.label as status',
                json_extract_string(getvariable('output_columns'), concat('$."', algorithm_name, '"')),
                ' from job_cases left join job_outputs on job_cases.job_id = job_outputs.job_id and job_cases.status = 4',
                ' where job_cases.algorithm = ''', replace(algorithm_name, '''', ''), ''' group by all'
            )
        )
    );
