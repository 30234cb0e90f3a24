-- One row per beam of an RT plan or ion plan.
--
-- What a control point sets is that of the first one. A plan of which no element was read has one row
-- without a beam.
--
-- grain:   instance_id, item
-- depends: instances, normal_elements, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  item | BIGINT | index in the Beam or Ion Beam Sequence, from 0; null if elements were not read
-- column:  series_key | VARCHAR | key to `series`
-- column:  study_key | VARCHAR | key to `studies`
-- column:  patient_key | VARCHAR | key to `patients`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  RTPlanLabel | VARCHAR | RT Plan Label (300A,0002)
-- column:  BeamNumber | BIGINT | Beam Number (300A,00C0)
-- column:  BeamName | VARCHAR | Beam Name (300A,00C2)
-- column:  BeamType | VARCHAR | Beam Type (300A,00C4): STATIC or DYNAMIC
-- column:  RadiationType | VARCHAR | Radiation Type (300A,00C6), such as PHOTON, ELECTRON, PROTON
-- column:  TreatmentDeliveryType | VARCHAR | Treatment Delivery Type (300A,00CE), such as TREATMENT or SETUP
-- column:  TreatmentMachineName | VARCHAR | Treatment Machine Name (300A,00B2)
-- column:  PrimaryDosimeterUnit | VARCHAR | Primary Dosimeter Unit (300A,00B3): MU or MINUTE
-- column:  NumberOfControlPoints | BIGINT | Number of Control Points (300A,0110)
-- column:  SourceAxisDistance | DOUBLE | Source-Axis Distance (300A,00B4), mm
-- column:  FinalCumulativeMetersetWeight | DOUBLE | Final Cumulative Meterset Weight (300A,010E)
-- column:  NominalBeamEnergy | DOUBLE | Nominal Beam Energy (300A,0114), MV of photons, MeV of others
-- column:  GantryAngle | DOUBLE | Gantry Angle (300A,011E), degrees
-- column:  BeamLimitingDeviceAngle | DOUBLE | Beam Limiting Device Angle (300A,0120), degrees
-- column:  PatientSupportAngle | DOUBLE | Patient Support Angle (300A,0122), degrees
-- column:  IsocenterPosition | DOUBLE[] | Isocenter Position (300A,012C), mm, LPS
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view rt_beams as
with plans as (
    select
        *
    from instances
    where Modality = 'RTPLAN'
),

titles as (
    select
        instance_id,
        any_value(text) as RTPlanLabel
    from normal_elements
    where path = '' and tag = '300A0002' and "index" = 0
    group by instance_id
),

said as (
    select
        instance_id,
        try_cast(regexp_extract(path, '\[(\d+)\]', 1) as bigint) as item,
        any_value("integer") filter (where tag = '300A00C0') as BeamNumber,
        any_value(text) filter (where tag = '300A00C2') as BeamName,
        any_value(text) filter (where tag = '300A00C4') as BeamType,
        any_value(text) filter (where tag = '300A00C6') as RadiationType,
        any_value(text) filter (where tag = '300A00CE') as TreatmentDeliveryType,
        any_value(text) filter (where tag = '300A00B2') as TreatmentMachineName,
        any_value(text) filter (where tag = '300A00B3') as PrimaryDosimeterUnit,
        any_value("integer") filter (where tag = '300A0110') as NumberOfControlPoints,
        any_value("real") filter (where tag = '300A00B4') as SourceAxisDistance,
        any_value("real") filter (where tag = '300A010E') as FinalCumulativeMetersetWeight,
        any_value("real") filter (where tag = '300A0114') as NominalBeamEnergy,
        any_value("real") filter (where tag = '300A011E') as GantryAngle,
        any_value("real") filter (where tag = '300A0120') as BeamLimitingDeviceAngle,
        any_value("real") filter (where tag = '300A0122') as PatientSupportAngle,
        list("real" order by "index") filter (where tag = '300A012C') as IsocenterPosition
    from normal_elements
    where
        tag in (
            '300A00B2', '300A00B3', '300A00B4', '300A00C0', '300A00C2', '300A00C4', '300A00C6', '300A00CE',
            '300A010E', '300A0110', '300A0114', '300A011E', '300A0120', '300A0122', '300A012C'
        )
        and vm > 0
        and ("index" = 0 or tag = '300A012C')
        and regexp_full_match(
            path,
            '(BeamSequence\[\d+\](\.ControlPointSequence\[0\])?'
            || '|IonBeamSequence\[\d+\](\.IonControlPointSequence\[0\])?)'
        )
    group by instance_id, item
)

select
    plans.instance_id,
    said.item,
    plans.series_key,
    plans.study_key,
    plans.patient_key,
    plans.SOPInstanceUID,
    titles.RTPlanLabel,
    said.BeamNumber,
    said.BeamName,
    said.BeamType,
    said.RadiationType,
    said.TreatmentDeliveryType,
    said.TreatmentMachineName,
    said.PrimaryDosimeterUnit,
    said.NumberOfControlPoints,
    said.SourceAxisDistance,
    said.FinalCumulativeMetersetWeight,
    said.NominalBeamEnergy,
    said.GantryAngle,
    said.BeamLimitingDeviceAngle,
    said.PatientSupportAngle,
    said.IsocenterPosition,
    unread.not_read
from plans
left join unread on plans.instance_id = unread.instance_id and unread.is_without_elements
left join said on plans.instance_id = said.instance_id
left join titles on plans.instance_id = titles.instance_id
where said.item is not null or unread.not_read is not null;
