-- One row per beam of a fraction group of an RT plan: number of fractions and dose.
--
-- A fraction group without a beam has one row with beam_item null. A plan of which no element was read has
-- one row without a group.
--
-- grain:   instance_id, item, beam_item
-- depends: instances, normal_elements, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  item | BIGINT | index in the Fraction Group Sequence, from 0; null if elements were not read
-- column:  beam_item | BIGINT | index in its Referenced Beam Sequence, from 0; null without a beam
-- column:  series_key | VARCHAR | key to `series`
-- column:  study_key | VARCHAR | key to `studies`
-- column:  patient_key | VARCHAR | key to `patients`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018)
-- column:  FractionGroupNumber | BIGINT | Fraction Group Number (300A,0071)
-- column:  NumberOfFractionsPlanned | BIGINT | Number of Fractions Planned (300A,0078)
-- column:  NumberOfBeams | BIGINT | Number of Beams (300A,0080), as stated
-- column:  ReferencedBeamNumber | BIGINT | Referenced Beam Number (300C,0006); key to `rt_beams`
-- column:  BeamDose | DOUBLE | Beam Dose (300A,0084), Gy per fraction at the specification point
-- column:  BeamMeterset | DOUBLE | Beam Meterset (300A,0086), in the Primary Dosimeter Unit of the beam
-- column:  planned_dose_gy | DOUBLE | Gy of all planned fractions at the specification point
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view rt_fraction_groups as
with plans as (
    select
        *
    from instances
    where Modality = 'RTPLAN'
),

said as (
    select
        instance_id,
        try_cast(regexp_extract(path, '^FractionGroupSequence\[(\d+)\]', 1) as bigint) as item,
        try_cast(nullif(regexp_extract(path, '\.ReferencedBeamSequence\[(\d+)\]$', 1), '') as bigint) as beam_item,
        any_value("integer") filter (where tag = '300A0071') as FractionGroupNumber,
        any_value("integer") filter (where tag = '300A0078') as NumberOfFractionsPlanned,
        any_value("integer") filter (where tag = '300A0080') as NumberOfBeams,
        any_value("integer") filter (where tag = '300C0006') as ReferencedBeamNumber,
        any_value("real") filter (where tag = '300A0084') as BeamDose,
        any_value("real") filter (where tag = '300A0086') as BeamMeterset
    from normal_elements
    where
        tag in ('300A0071', '300A0078', '300A0080', '300A0084', '300A0086', '300C0006')
        and "index" = 0
        and path between 'FractionGroupSequence[' and 'FractionGroupSequence]'
        and regexp_full_match(path, 'FractionGroupSequence\[\d+\](\.ReferencedBeamSequence\[\d+\])?')
    group by instance_id, path
),

-- A group may state nothing but its beams.
numbered as (
    select distinct
        instance_id,
        item
    from said
)

select
    plans.instance_id,
    numbered.item,
    beams.beam_item,
    plans.series_key,
    plans.study_key,
    plans.patient_key,
    plans.SOPInstanceUID,
    said.FractionGroupNumber,
    said.NumberOfFractionsPlanned,
    said.NumberOfBeams,
    beams.ReferencedBeamNumber,
    beams.BeamDose,
    beams.BeamMeterset,
    beams.BeamDose * said.NumberOfFractionsPlanned as planned_dose_gy,
    unread.not_read
from plans
left join unread on plans.instance_id = unread.instance_id and unread.is_without_elements
left join numbered on plans.instance_id = numbered.instance_id
left join said
    on numbered.instance_id = said.instance_id and numbered.item = said.item and said.beam_item is null
left join said as beams
    on numbered.instance_id = beams.instance_id and numbered.item = beams.item and beams.beam_item is not null
where numbered.item is not null or unread.not_read is not null;
