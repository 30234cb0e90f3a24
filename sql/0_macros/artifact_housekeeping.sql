-- Artifacts that may be deleted, and why: `from artifact_housekeeping()`.
--
-- Those of jobs that have not ended are not among them. Ages are those of Grand Challenge: images that never
-- succeeded go after three months, those of algorithms that were not used for a year as well.
--
-- depends: artifacts, jobs
-- example: from artifact_housekeeping(as_of := now()::timestamp)
create or replace macro artifact_housekeeping(as_of := cast(now() as timestamp)) as table
    with
    uses as (
        select
            artifact_id,
            count(*) filter (where not is_final) as unfinished,
            count(*) filter (where status = 4) as succeeded,
            max(changed_at) as used_at
        from (
            select unnest([image_id, model_id]) as artifact_id, is_final, status, changed_at from jobs
        )
        where artifact_id is not null
        group by artifact_id
    )
    select
        artifacts.artifact_id,
        artifacts.kind,
        artifacts.parent,
        artifacts.size_in_storage,
        case
            when artifacts.import_status in (4, 5) then 'the import failed'
            when
                artifacts.kind = 'image' and coalesce(uses.succeeded, 0) = 0
                and artifacts.added_at < as_of - interval 3 months
                then 'no job succeeded with it for three months'
            when
                greatest(artifacts.added_at, coalesce(uses.used_at, artifacts.added_at))
                < as_of - interval 1 year
                then 'it was not used for a year'
            when not artifacts.is_desired_version then 'another version is desired'
        end as reason
    from artifacts
    left join uses on artifacts.artifact_id = uses.artifact_id
    where not artifacts.is_removed and coalesce(uses.unfinished, 0) = 0 and reason is not null
    order by artifacts.artifact_id;
