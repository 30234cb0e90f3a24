-- What a query at patient level can ask (PS3.4 C.6.1.1.2).
select
    PatientID,
    IssuerOfPatientID,
    PatientName,
    PatientBirthDate,
    PatientSex,
    study_count as NumberOfPatientRelatedStudies,
    series_count as NumberOfPatientRelatedSeries,
    instance_count as NumberOfPatientRelatedInstances
from patients
