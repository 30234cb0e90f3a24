-- Where the members lie and what their names are made of, in the order of their keys.
select
    instances.instance_key,
    instances.instance_key as SOPInstanceUID,
    coalesce(instances.series_key, 'none') as SeriesInstanceUID,
    coalesce(instances.study_key, 'none') as StudyInstanceUID,
    coalesce(instances.patient_key, 'none') as PatientID,
    coalesce(instances.Modality, 'none') as Modality,
    coalesce(cast(instances.SeriesNumber as varchar), 'none') as SeriesNumber,
    coalesce(instances.SeriesDescription, 'none') as SeriesDescription,
    coalesce(strftime(instances.StudyDate, '%Y%m%d'), 'none') as StudyDate,
    coalesce(cast(instances.InstanceNumber as varchar), 'none') as InstanceNumber,
    instances.file_path as path,
    files.size_bytes,
    files.modified_at
from instances
inner join files using (instance_id)
semi join members on instances.instance_key = members.instance_key
order by instances.instance_key
