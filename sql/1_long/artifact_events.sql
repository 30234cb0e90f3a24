-- One row per event of an artifact: the archive of an image or model.
--
-- `artifacts` has the newest of each.
--
-- grain:   artifact_id, event
-- table:   artifact_events
-- column:  batch | VARCHAR | commit that added the row, or the first of those compacted together
-- column:  artifact_id | VARCHAR | identity, 32 hex digits
-- column:  event | BIGINT | number of the event, from 0
-- column:  kind | VARCHAR | image, model or ground truth
-- column:  parent | VARCHAR | algorithm that it belongs to
-- column:  import_status | BIGINT | 0 Initialized, 1 Queued, 2 Re-Queued, 3 Started, 4 Cancelled, 5 Failed, 6 Completed
-- column:  message | VARCHAR | why it failed; empty otherwise
-- column:  file_name | VARCHAR | name that the archive had, without folders
-- column:  sha256 | VARCHAR | of an image: the digest of its configuration, which is the image id; of a model: that of the archive; null if it could not be read
-- column:  file_sha256 | VARCHAR | digest of the archive, which is its file name in `values/`; null if it is not stored
-- column:  size_in_storage | BIGINT | bytes of the archive, 0 if it is not stored
-- column:  size_in_registry | BIGINT | bytes of the layers and the configuration of an image; 0 of others
-- column:  is_manifest_valid | BOOLEAN | an image that keeps the rules; null for models, and before it was read
-- column:  is_removed | BOOLEAN | its file was taken away
-- column:  is_marked | BOOLEAN | with this event it became the desired version of its parent
-- column:  api_method | VARCHAR | how an image is asked: exec or invoke; null for models
-- column:  config | VARCHAR | JSON of how an image is started: user, entrypoint, command, environment, folder; null for models
-- column:  happened_at | TIMESTAMP | when, UTC
-- column:  happened_by | VARCHAR | who did it, as stated
create or replace view artifact_events as
select
    batch,
    artifact_id,
    event,
    kind,
    parent,
    import_status,
    message,
    file_name,
    sha256,
    file_sha256,
    size_in_storage,
    size_in_registry,
    is_manifest_valid,
    is_removed,
    is_marked,
    api_method,
    config,
    happened_at,
    happened_by
from read_parquet(
    getvariable('stored').artifact_events, hive_partitioning = true,
    hive_types = {'batch': varchar}
);
