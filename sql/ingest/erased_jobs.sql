-- Which jobs are about what is erased: by their series, their item, a value that went in or came out,
-- or a UID that they printed. A PatientID or name that is a UID counts if it is longer than a version or an
-- address, such as 192.168.100.200, which other jobs print.
--
-- reads:     erased_entities, gone_values
-- makes:     gone_jobs
-- variables: event_parts, spec_parts
create or replace temp table gone_jobs as
select job_id
from read_parquet(getvariable('spec_parts'), hive_partitioning = false)
where
    series_key in (select key from erased_entities where level = 'series')
    or item in (select key from erased_entities)
    or list_has_any(input_series, (select list(key) from erased_entities where level = 'series'))
    or list_has_any(input_values, (select list(value_id) from gone_values))
union
select job_id
from read_parquet(getvariable('event_parts'), hive_partitioning = false)
where
    list_has_any(output_values, (select list(value_id) from gone_values))
    or list_has_any(
        regexp_extract_all(
            concat_ws(' ', stdout, stderr, error_message, detailed_error_message), '[0-9]+(?:\.[0-9]+)+'
        ),
        (select list(key) from erased_entities where contains(key, '.') and (level not in ('name', 'patient') or length(key) > 15))
    )
