-- Studies of patients who came again: `from follow_up_studies(of_modality := 'MR', min_days := 90)`.
--
-- A patient is taken if the first and the last StudyDate of studies with this modality are at least
-- so many days apart; all these studies are members. Studies without a date are not.
--
-- depends: studies
-- param:   of_modality | VARCHAR | CT | modality that every study must have
-- param:   min_days | BIGINT | 1 | days between the first and the last study, inclusive
create or replace macro follow_up_studies(of_modality := 'CT', min_days := 1) as table
select
    study_key,
    StudyDate
from studies
where list_contains(modalities, of_modality) and StudyDate is not null and patient_key is not null
qualify
    date_diff('day', min(StudyDate) over (partition by patient_key), max(StudyDate) over (partition by patient_key))
    >= min_days;
