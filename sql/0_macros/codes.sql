-- Whether a code is one of DICOM's, whatever words go with it.
--
-- `is_code(code, value, scheme)` compares value and scheme. `is_finding_site`, `is_laterality` and `is_measurement_method` know the codes of SNOMED CT
-- and those that stood for them before.
--
-- example: select is_code({'CodeValue': '125007', 'CodingSchemeDesignator': 'DCM', 'CodeMeaning': 'x'}, '125007', 'DCM') as yes
create or replace macro is_code(code, value, scheme) as
    coalesce(code.CodeValue = value and code.CodingSchemeDesignator = scheme, false);
create or replace macro is_snomed_code(code, value, older) as
    coalesce(
        code.CodeValue = value and code.CodingSchemeDesignator = 'SCT'
        or code.CodeValue = older and code.CodingSchemeDesignator in ('SRT', 'SNM3', '99SDM'),
        false
    );
create or replace macro is_finding_site(code) as is_snomed_code(code, '363698007', 'G-C0E3');
create or replace macro is_laterality(code) as is_snomed_code(code, '272741003', 'G-C171');
create or replace macro is_measurement_method(code) as is_snomed_code(code, '370129005', 'G-C306');
