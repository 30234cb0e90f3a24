-- The newest state of each artifact whose id begins as $1 does.
select
    artifact_id,
    kind,
    parent,
    import_status,
    message,
    sha256,
    file_sha256,
    size_in_storage,
    size_in_registry,
    is_removed,
    is_marked,
    api_method,
    config,
    event
from artifact_events
where starts_with(artifact_id, $1)
qualify row_number() over (partition by artifact_id order by event desc) = 1
