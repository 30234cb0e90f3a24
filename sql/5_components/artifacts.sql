-- One row per image or model of an algorithm, with the state of its import.
--
-- grain:   artifact_id
-- depends: artifact_events
-- column:  artifact_id | VARCHAR | identity, 32 hex digits
-- column:  kind | VARCHAR | image, model or ground truth
-- column:  parent | VARCHAR | algorithm that it belongs to
-- column:  import_status | BIGINT | 0 Initialized, 1 Queued, 2 Re-Queued, 3 Started, 4 Cancelled, 5 Failed, 6 Completed
-- column:  import_label | VARCHAR | the same in words
-- column:  message | VARCHAR | why the import failed; empty otherwise
-- column:  file_name | VARCHAR | name that the archive had, without folders
-- column:  sha256 | VARCHAR | of an image: the digest of its configuration, which is the image id; of a model: that of the archive; null if it could not be read
-- column:  file_sha256 | VARCHAR | digest of the archive, which is its file name in the store; null if it is not stored
-- column:  size_in_storage | BIGINT | bytes of the archive, 0 if it is not stored
-- column:  size_in_registry | BIGINT | bytes of the layers and the configuration of an image; 0 of others
-- column:  is_manifest_valid | BOOLEAN | an image that keeps the rules; null for models
-- column:  is_removed | BOOLEAN | its file was taken away
-- column:  is_executable | BOOLEAN | jobs can be run with it
-- column:  is_desired_version | BOOLEAN | the one of its parent that new jobs take
-- column:  api_method | VARCHAR | how an image is asked: exec or invoke; null for models
-- column:  added_at | TIMESTAMP | when it was added, UTC
-- column:  added_by | VARCHAR | who imported it, as stated
-- column:  changed_at | TIMESTAMP | when something last happened to it, UTC
create or replace view artifacts as
with
newest as (
    select
        *,
        min(happened_at) over (partition by artifact_id) as added_at,
        first_value(happened_by) over (partition by artifact_id order by event) as added_by
    from artifact_events
    qualify row_number() over (partition by artifact_id order by event desc) = 1
),
desired as (
    select kind, parent, max_by(artifact_id, happened_at) as artifact_id
    from artifact_events
    where is_marked
    group by kind, parent
)
select
    newest.artifact_id,
    newest.kind,
    newest.parent,
    newest.import_status,
    case newest.import_status
        when 0 then 'Initialized'
        when 1 then 'Queued'
        when 2 then 'Re-Queued'
        when 3 then 'Started'
        when 4 then 'Cancelled'
        when 5 then 'Failed'
        when 6 then 'Completed'
    end as import_label,
    newest.message,
    newest.file_name,
    newest.sha256,
    newest.file_sha256,
    newest.size_in_storage,
    newest.size_in_registry,
    newest.is_manifest_valid,
    newest.is_removed,
    newest.import_status = 6 and not newest.is_removed as is_executable,
    coalesce(desired.artifact_id = newest.artifact_id, false) and not newest.is_removed as is_desired_version,
    newest.api_method,
    newest.added_at,
    newest.added_by,
    newest.happened_at as changed_at
from newest
left join desired on newest.kind = desired.kind and newest.parent = desired.parent;
