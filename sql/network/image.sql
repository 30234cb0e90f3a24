-- What a query at image level can ask, and where the bytes of an instance are.
--
-- An instance without a PatientID has that of its study, under which the levels above count it.
select
    instances.* exclude (file_path, PatientID),
    coalesce(nullif(instances.PatientID, ''), studies.PatientID) as PatientID,
    files.file_path,
    files.size_bytes,
    epoch_us(files.modified_at) as modified_us
from instances
inner join files using (file_path)
left join studies on instances.study_key = studies.study_key
where instances.SeriesInstanceUID is not null
