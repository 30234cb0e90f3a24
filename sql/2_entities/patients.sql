-- One row per patient, identified by PatientID.
--
-- Where instances disagree about an attribute, the value of the instance with the smallest
-- instance_key that has one is taken, and `entity_conflicts` lists the disagreement; the parts of
-- the name are those of that PatientName.
-- Instances without a PatientID make one patient per study, never one for all.
--
-- grain:   patient_key
-- example: select PatientID, study_count, series_count from patients limit 5
-- depends: instances
-- kept:    at 5,000 instances or 1,000,000 rows of elements and more, by the ingest
-- column:  patient_key | VARCHAR | PatientID; if it is missing, `missing:` and the UID of the study, series or instance
-- column:  PatientID | VARCHAR | Patient ID (0010,0020)
-- column:  IssuerOfPatientID | VARCHAR | Issuer of Patient ID (0010,0021)
-- column:  PatientName | VARCHAR | Patient's Name (0010,0010), as written: Family^Given^Middle^Prefix^Suffix
-- column:  PatientBirthDate | DATE | Patient's Birth Date (0010,0030)
-- column:  PatientSex | VARCHAR | Patient's Sex (0010,0040)
-- column:  family_name | VARCHAR | family name of the patient, alphabetic group of PatientName
-- column:  given_name | VARCHAR | given name of the patient, alphabetic group of PatientName
-- column:  middle_name | VARCHAR | middle name of the patient, alphabetic group of PatientName
-- column:  name_prefix | VARCHAR | name prefix of the patient, alphabetic group of PatientName
-- column:  name_suffix | VARCHAR | name suffix of the patient, alphabetic group of PatientName
-- column:  ideographic_name | VARCHAR | ideographic group of PatientName, as written
-- column:  phonetic_name | VARCHAR | phonetic group of PatientName, as written
-- column:  full_name | VARCHAR | given name and family name
-- column:  study_count | BIGINT | studies
-- column:  series_count | BIGINT | series
-- column:  instance_count | BIGINT | instances
-- column:  latest_study_at | TIMESTAMP | latest StudyDate and StudyTime as written, in the clock of the device
create or replace view patients as
with gathered as (
    select
        patient_key,
        arg_min(PatientID, instance_key) as PatientID,
        arg_min(IssuerOfPatientID, instance_key) as IssuerOfPatientID,
        arg_min(PatientName, instance_key) as PatientName,
        arg_min(PatientBirthDate, instance_key) as PatientBirthDate,
        arg_min(PatientSex, instance_key) as PatientSex,
        -- The parts of the name that is shown, never those of several names.
        arg_min(
            case when PatientName is not null
                then {
                    'family_name': family_name,
                    'given_name': given_name,
                    'middle_name': middle_name,
                    'name_prefix': name_prefix,
                    'name_suffix': name_suffix,
                    'ideographic_name': ideographic_name,
                    'phonetic_name': phonetic_name
                }
            end, instance_key
        ) as name_parts,
        count(distinct study_key) as study_count,
        count(distinct series_key) as series_count,
        count(*) as instance_count,
        max(StudyDate + coalesce(StudyTime, time '00:00:00')) as latest_study_at
    from instances
    where patient_key is not null
    group by patient_key
)

select
    patient_key,
    PatientID,
    IssuerOfPatientID,
    PatientName,
    PatientBirthDate,
    PatientSex,
    name_parts.family_name,
    name_parts.given_name,
    name_parts.middle_name,
    name_parts.name_prefix,
    name_parts.name_suffix,
    name_parts.ideographic_name,
    name_parts.phonetic_name,
    nullif(concat_ws(' ', name_parts.given_name, name_parts.family_name), '') as full_name,
    study_count,
    series_count,
    instance_count,
    latest_study_at
from gathered;
