-- One row per reference of an object to an instance, with its series and purpose.
--
-- Every Referenced SOP Instance UID of segmentations, structured reports, key objects, presentation states,
-- radiotherapy objects and images, with the sequence that it stands in. `purpose` is the innermost sequence
-- and, where it states one, the code of the purpose. An instance that is named often for one purpose has
-- one row with the count. Series that are named without their instances have a row without an instance.
-- Studies, patients, visits and procedure steps are no instances, and what stands in private sequences means
-- what its maker says: both are left out.
--
-- grain:   instance_id, purpose, purpose_code, referenced_instance_uid, referenced_series_uid
-- depends: instances, normal_elements, unread
-- example: select distinct ct.series_key from series as ct join object_references as refs on ct.SeriesInstanceUID = refs.referenced_series_uid where refs.Modality = 'SEG' limit 5
-- column:  instance_id | BIGINT | key to `instances`: the referencing object
-- column:  purpose | VARCHAR | sequence that holds the reference, such as SourceImageSequence or ReferencedSOPSequence; null if elements were not read
-- column:  purpose_code | VARCHAR | scheme and value of the Purpose of Reference Code Sequence (0040,A170); null if none is stated
-- column:  purpose_meaning | VARCHAR | its meaning; of several the first in order
-- column:  referenced_instance_uid | VARCHAR | Referenced SOP Instance UID (0008,1155); null where a series is named without its instances
-- column:  referenced_series_uid | VARCHAR | its series: as stated by the reference, otherwise that of the stored instance; null if neither is known
-- column:  series_key | VARCHAR | key to `series` of the referencing object
-- column:  Modality | VARCHAR | Modality (0008,0060) of the object that refers
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018) of the object that refers
-- column:  referenced_instance_id | BIGINT | key to `instances`: the referenced instance; null if the warehouse does not have it
-- column:  is_dangling | BOOLEAN | the warehouse has no such instance, or, of a series alone, no such series
-- column:  reference_count | BIGINT | how often the object references it for that purpose
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view object_references as
with named as (
    select
        instance_id,
        path,
        text as uid
    from normal_elements
    where
        tag = '00081155' and "index" = 0 and vm > 0
        and not regexp_matches(
            path,
            '(ReferencedStudySequence|ReferencedPatientSequence|ReferencedVisitSequence|ProcedureStepSequence|'
            || 'ReferencedStudyComponentSequence)\[\d+\]$|(^|\.)[0-9A-F]{8}\['
        )
),

purposes as (
    select
        instance_id,
        regexp_replace(path, '\.PurposeOfReferenceCodeSequence\[0\]$', '') as path,
        any_value(text) filter (where tag = '00080102') || ':'
        || any_value(text) filter (where tag = '00080100') as purpose_code,
        any_value(text) filter (where tag = '00080104') as purpose_meaning
    from normal_elements
    where
        tag in ('00080100', '00080102', '00080104') and "index" = 0
        and ends_with(path, '.PurposeOfReferenceCodeSequence[0]')
    group by instance_id, path
),

-- A series that is named, and the place of the item that names it.
series_named as (
    select
        instance_id,
        path,
        text as series_uid
    from normal_elements
    where
        tag = '0020000E' and "index" = 0 and vm > 0
        and not regexp_matches(path, '(^|\.)[0-9A-F]{8}\[')
        and regexp_matches(path, '(ReferencedSeriesSequence|RTReferencedSeriesSequence)\[\d+\]$')
),

placed as (
    select
        named.instance_id,
        named.uid,
        regexp_extract(named.path, '(\w+)\[\d+\]$', 1) as purpose,
        purposes.purpose_code,
        purposes.purpose_meaning,
        series_named.series_uid
    from named
    left join purposes on named.instance_id = purposes.instance_id and named.path = purposes.path
    left join series_named
        on
            named.instance_id = series_named.instance_id
            and regexp_extract(named.path, '^(.*)\.\w+\[\d+\]$', 1) = series_named.path
),

-- Of the same object, for the same instance: any item that says the series.
known_series as (
    select
        instance_id,
        uid,
        min(series_uid) as series_uid
    from placed
    where series_uid is not null
    group by instance_id, uid
),

stored as (
    select
        SOPInstanceUID,
        min(instance_id) as instance_id,
        min(SeriesInstanceUID) as series_uid
    from instances
    where SOPInstanceUID is not null
    group by SOPInstanceUID
),

counted as (
    select
        placed.instance_id,
        placed.purpose,
        placed.purpose_code,
        min(placed.purpose_meaning) as purpose_meaning,
        placed.uid,
        coalesce(placed.series_uid, known_series.series_uid, stored.series_uid) as series_uid,
        any_value(stored.instance_id) as referenced_instance_id,
        any_value(stored.instance_id) is null as is_dangling,
        count(*) as reference_count
    from placed
    left join known_series on placed.instance_id = known_series.instance_id and placed.uid = known_series.uid
    left join stored on placed.uid = stored.SOPInstanceUID
    group by all
    union all
    select
        series_named.instance_id,
        regexp_extract(series_named.path, '(\w+)\[\d+\]$', 1) as purpose,
        null as purpose_code,
        null as purpose_meaning,
        null as uid,
        series_named.series_uid,
        null as referenced_instance_id,
        series_named.series_uid not in (
            select instances.SeriesInstanceUID from instances where instances.SeriesInstanceUID is not null
        ) as is_dangling,
        count(*) as reference_count
    from series_named
    where
        not exists (
            select 1
            from placed
            where placed.instance_id = series_named.instance_id and placed.series_uid = series_named.series_uid
        )
    group by all
)

select
    instances.instance_id,
    counted.purpose,
    counted.purpose_code,
    counted.purpose_meaning,
    counted.uid as referenced_instance_uid,
    counted.series_uid as referenced_series_uid,
    instances.series_key,
    instances.Modality,
    instances.SOPInstanceUID,
    counted.referenced_instance_id,
    counted.is_dangling,
    counted.reference_count,
    unread.not_read
from instances
left join unread on instances.instance_id = unread.instance_id and unread.is_without_elements
left join counted on instances.instance_id = counted.instance_id
where counted.purpose is not null or unread.not_read is not null;
