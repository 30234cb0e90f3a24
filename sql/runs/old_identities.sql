-- UIDs and keys of the members, each once: what new identities are made for.
select distinct uid
from (
    select
        unnest([instance_key, SOPInstanceUID, MediaStorageSOPInstanceUID, series_key,
            SeriesInstanceUID, study_key, StudyInstanceUID, FrameOfReferenceUID]) as uid
    from instances
    semi join members on instances.instance_key = members.instance_key
)
where uid is not null
