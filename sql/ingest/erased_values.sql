-- Which values, and which statements of who said them about what, are about what is erased.
--
-- A statement about an erased entity goes; a value goes with its last statement, if it is an erased
-- series, or if its text names an erased UID or, as a whole text of six characters or more, the patient.
--
-- reads:     erased_entities
-- makes:     gone_uses, gone_values
-- variables: use_parts, value_parts
create or replace temp table gone_uses as
select stored.use_id, stored.value_id
from read_parquet(getvariable('use_parts'), hive_partitioning = false) as stored
semi join erased_entities on erased_entities.level = stored.about and erased_entities.key = stored.about_key;

create or replace temp table gone_values as
with still_used as (
    select value_id
    from read_parquet(getvariable('use_parts'), hive_partitioning = false)
    where use_id not in (select use_id from gone_uses)
),

stored as (
    select value_id, series_key, concat_ws(' ', "value", head) as said
    from read_parquet(getvariable('value_parts'), hive_partitioning = false)
)

select value_id
from stored
where
    series_key in (select key from erased_entities where level = 'series')
    or (
        value_id in (select value_id from gone_uses)
        and value_id not in (select value_id from still_used)
    )
    or list_has_any(
        regexp_extract_all(said, '[0-9]+(?:\.[0-9]+)+'),
        (select list(key) from erased_entities where contains(key, '.') and (level not in ('name', 'patient') or length(key) > 15))
    )
    or exists (
        select 1
        from erased_entities
        where
            level in ('patient', 'name')
            and length(key) >= 6
            and contains(stored.said, cast(to_json(key) as varchar))
    );
