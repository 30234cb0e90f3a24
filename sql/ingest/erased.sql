-- The instances of one patient, study, series or instance, and the files that hold them.
--
-- A directory of files (DICOMDIR) that lists them goes too, whatever else it lists: it is an index, and
-- half of one says something false. Older versions may know instances that the newest does not, as of files that were removed: their
-- rows in `files` go too, unless their identity is now that of an instance of somebody else.
--
-- Leaves five tables: `listed_in`, directories; `erased`, a row per instance of the newest version; `erased_keys`, identities of
-- these and of older ones; `erased_entities`, what has no instance left; `touched`, as `resolve` makes it.
--
-- reads:     files
-- makes:     listed_in, erased, erased_keys, erased_entities, touched
-- variables: asked, asked_level, elements_files, instances_files, older_parts
create or replace temp table listed_in as
select distinct instance_id
from (
    select stored.instance_id, stored.path, string_agg(trim(stored.text), '\' order by stored."index") as whole
    from read_parquet(getvariable('elements_files'), hive_partitioning = false) as stored
    where
        stored.tag = case getvariable('asked_level')
            when 'patient' then '00100020'
            when 'study' then '0020000D'
            when 'series' then '0020000E'
            else '00041511'
        end
        and stored.instance_id in (
            select instance_id
            from read_parquet(getvariable('instances_files'), hive_partitioning = false)
            where patient_key is null
        )
    group by stored.instance_id, stored.path
)
where whole = getvariable('asked');

create or replace temp table erased as
select instance_id, instance_key, series_key, study_key, patient_key, PatientName
from read_parquet(getvariable('instances_files'), hive_partitioning = false)
where
    case getvariable('asked_level')
        when 'patient' then getvariable('asked') in (patient_key, PatientID)
        when 'study' then getvariable('asked') in (study_key, StudyInstanceUID)
        when 'series' then getvariable('asked') in (series_key, SeriesInstanceUID)
        else getvariable('asked') in (instance_key, SOPInstanceUID)
    end
    or instance_id in (select instance_id from listed_in);

create or replace temp table erased_keys as
select instance_key from erased
union
select getvariable('asked') as instance_key
where getvariable('asked_level') = 'instance'
union
select instance_key
from read_parquet(getvariable('older_parts'), hive_partitioning = false)
where
    case getvariable('asked_level')
        when 'patient' then getvariable('asked') in (patient_key, PatientID)
        when 'study' then getvariable('asked') in (study_key, StudyInstanceUID)
        when 'series' then getvariable('asked') in (series_key, SeriesInstanceUID)
        else false
    end
    and instance_key not in (
        select instance_key
        from read_parquet(getvariable('instances_files'), hive_partitioning = false)
        where instance_id not in (select instance_id from erased)
    );

create or replace temp table erased_entities as
with rest as (
    select series_key, study_key, patient_key, PatientName
    from read_parquet(getvariable('instances_files'), hive_partitioning = false)
    where instance_id not in (select instance_id from erased)
)

select 'instance' as level, instance_key as key from erased_keys
union
select 'series' as level, series_key as key
from erased
where series_key is not null and series_key not in (select series_key from rest where series_key is not null)
union
select 'study' as level, study_key as key
from erased
where study_key is not null and study_key not in (select study_key from rest where study_key is not null)
union
select 'patient' as level, patient_key as key
from erased
where patient_key is not null and patient_key not in (select patient_key from rest where patient_key is not null)
union
select 'name' as level, PatientName as key
from erased
where PatientName is not null and PatientName not in (select PatientName from rest where PatientName is not null)
union
select getvariable('asked_level') as level, getvariable('asked') as key;

create or replace temp table touched as
select path, instance_id, status, size_bytes, modified_at, cast(null as varchar) as becomes
from files
where
    instance_key in (select instance_key from erased_keys)
    or instance_id in (select instance_id from erased);
