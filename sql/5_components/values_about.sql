-- One row per value and use of it: the value, its author, and the entity that it is about.
--
-- This is what to join with `series`, `studies` or `patients`. A value about a series is about its study
-- and patient too; one about an instance, about its series as well.
--
-- grain:   use_id
-- depends: value_uses, socket_values, instances
-- example: select slug, Modality, count(*) from values_about join series using (series_key) group by all
-- column:  use_id | VARCHAR | key to `value_uses`
-- column:  value_id | VARCHAR | key to `socket_values` and `annotations`
-- column:  slug | VARCHAR | socket
-- column:  socket_version | BIGINT | version of the socket by which the value was checked
-- column:  form | VARCHAR | value, file, image or series
-- column:  value | VARCHAR | the JSON text of a value that lies in the table
-- column:  sha256 | VARCHAR | digest of the content
-- column:  about | VARCHAR | series, instance, study or patient; null if it is about none
-- column:  instance_key | VARCHAR | key to `instances`; null unless it is about one
-- column:  series_key | VARCHAR | key to `series`; null if it is about a study or a patient
-- column:  study_key | VARCHAR | key to `studies`
-- column:  patient_key | VARCHAR | key to `patients`
-- column:  is_there | BOOLEAN | whether the entity is still in the archive; null if it is about none
-- column:  frame_of_reference | VARCHAR | UID of the coordinate system that the series or instance states; null unless it is exactly one
-- column:  frame_count | BIGINT | how many it states; null for studies and patients
-- column:  added_by | VARCHAR | who added the value, as stated
-- column:  tool | VARCHAR | program that made it
-- column:  tool_version | VARCHAR | version of that program
-- column:  file_name | VARCHAR | name that its file had
-- column:  added_at | TIMESTAMP | when the value was added first, UTC
create or replace view values_about as
with
entities as (
    select
        'series' as about,
        series_key as about_key,
        series_key,
        arg_min(study_key, instance_key) as study_key,
        arg_min(patient_key, instance_key) as patient_key,
        min(FrameOfReferenceUID) as frame,
        count(distinct FrameOfReferenceUID) as frame_count
    from instances
    where series_key in (select about_key from value_uses where about = 'series')
    group by series_key
    union all by name
    select
        'study' as about,
        study_key as about_key,
        study_key,
        arg_min(patient_key, instance_key) as patient_key
    from instances
    where study_key in (select about_key from value_uses where about = 'study')
    group by study_key
    union all by name
    select distinct 'patient' as about, patient_key as about_key, patient_key
    from instances
    where patient_key in (select about_key from value_uses where about = 'patient')
    union all by name
    select
        'instance' as about, instance_key as about_key, instance_key, series_key, study_key,
        patient_key, FrameOfReferenceUID as frame,
        if(FrameOfReferenceUID is null, 0, 1) as frame_count
    from instances
    where instance_key in (select about_key from value_uses where about = 'instance')
)
select
    value_uses.use_id,
    value_uses.value_id,
    socket_values.slug,
    socket_values.socket_version,
    socket_values.form,
    socket_values."value",
    socket_values.sha256,
    value_uses.about,
    entities.instance_key,
    entities.series_key,
    entities.study_key,
    entities.patient_key,
    if(value_uses.about is null, null, entities.about_key is not null) as is_there,
    if(entities.frame_count = 1, entities.frame, null) as frame_of_reference,
    entities.frame_count,
    value_uses.added_by,
    value_uses.tool,
    value_uses.tool_version,
    value_uses.file_name,
    value_uses.added_at
from value_uses
inner join socket_values on value_uses.value_id = socket_values.value_id
left join entities
    on value_uses.about = entities.about and value_uses.about_key = entities.about_key;
