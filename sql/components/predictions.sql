-- Each case of an algorithm with what its job found, and what somebody said about the same series by the same sockets.
with
truths as (
    select
        series_key,
        slug,
        value_id
    from values_about
    -- A value about one instance is not one of its series.
    where added_by = $2 and about = 'series' and series_key is not null
    qualify
        row_number() over (
            partition by series_key, slug
            order by added_at desc, use_id asc
        ) = 1
),
found as (
    select
        job_outputs.job_id,
        list(job_outputs.slug order by job_outputs.slug) as output_slugs,
        list(job_outputs.value_id order by job_outputs.slug) as output_values,
        list(job_outputs."value" order by job_outputs.slug) as output_texts,
        list(truths.slug order by job_outputs.slug) filter (where truths.slug is not null) as truth_slugs,
        list(truths.value_id order by job_outputs.slug) filter (where truths.slug is not null) as truth_values
    from job_outputs
    left join truths on job_outputs.series_key = truths.series_key and job_outputs.slug = truths.slug
    group by job_outputs.job_id
)
select
    jobs.job_id,
    jobs.status,
    jobs.algorithm_version,
    jobs.series_key,
    jobs.image_id,
    jobs.exec_seconds,
    jobs.invoke_seconds,
    job_specs.input_slugs,
    job_specs.input_values,
    job_specs.input_series,
    found.* exclude (job_id)
from job_cases
inner join jobs on job_cases.job_id = jobs.job_id
inner join job_specs on jobs.job_id = job_specs.job_id
left join found on jobs.job_id = found.job_id
where job_cases.algorithm = $1
order by jobs.job_id
