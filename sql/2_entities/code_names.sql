-- One row per code of attributes with defined terms, with its name in English.
--
-- PS3.3: Patient Position (C.7.3.1.1.2), Scanning Sequence and Sequence Variant (C.8.3.1), Patient's
-- Sex (C.7.1.1); modalities are in `modalities`. Join it from the left: what is in no set is stored as
-- it was written all the same.
--
-- grain:   attribute, code
-- column:  attribute | VARCHAR | keyword: PatientPosition, ScanningSequence, SequenceVariant or PatientSex
-- column:  code | VARCHAR | the value
-- column:  name | VARCHAR | what it means
create or replace view code_names as
select
    known.attribute,
    known.code,
    known.name
from (values
    ('PatientPosition', 'HFP', 'Head First-Prone'),
    ('PatientPosition', 'HFS', 'Head First-Supine'),
    ('PatientPosition', 'HFDR', 'Head First-Decubitus Right'),
    ('PatientPosition', 'HFDL', 'Head First-Decubitus Left'),
    ('PatientPosition', 'FFDR', 'Feet First-Decubitus Right'),
    ('PatientPosition', 'FFDL', 'Feet First-Decubitus Left'),
    ('PatientPosition', 'FFP', 'Feet First-Prone'),
    ('PatientPosition', 'FFS', 'Feet First-Supine'),
    ('PatientPosition', 'LFP', 'Left First-Prone'),
    ('PatientPosition', 'LFS', 'Left First-Supine'),
    ('PatientPosition', 'RFP', 'Right First-Prone'),
    ('PatientPosition', 'RFS', 'Right First-Supine'),
    ('PatientPosition', 'AFDR', 'Anterior First-Decubitus Right'),
    ('PatientPosition', 'AFDL', 'Anterior First-Decubitus Left'),
    ('PatientPosition', 'PFDR', 'Posterior First-Decubitus Right'),
    ('PatientPosition', 'PFDL', 'Posterior First-Decubitus Left'),
    ('ScanningSequence', 'SE', 'Spin Echo'),
    ('ScanningSequence', 'IR', 'Inversion Recovery'),
    ('ScanningSequence', 'GR', 'Gradient Recalled'),
    ('ScanningSequence', 'EP', 'Echo Planar'),
    ('ScanningSequence', 'RM', 'Research Mode'),
    ('SequenceVariant', 'SK', 'Segmented k-Space'),
    ('SequenceVariant', 'MTC', 'Magnetization Transfer Contrast'),
    ('SequenceVariant', 'SS', 'Steady State'),
    ('SequenceVariant', 'TRSS', 'Time Reversed Steady State'),
    ('SequenceVariant', 'SP', 'Spoiled'),
    ('SequenceVariant', 'MP', 'MAG Prepared'),
    ('SequenceVariant', 'OSP', 'Oversampling Phase'),
    ('SequenceVariant', 'NONE', 'None'),
    ('PatientSex', 'M', 'Male'),
    ('PatientSex', 'F', 'Female'),
    ('PatientSex', 'O', 'Other')
) as known (attribute, code, name);
