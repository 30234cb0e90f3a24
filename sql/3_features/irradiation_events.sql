-- One row per irradiation event of a dose report: CT (TID 10013) and X-ray (TID 10003).
--
-- Events are containers with code 113819 (CT Acquisition) or 113706 (Irradiation Event X-Ray Data) of DCM,
-- anywhere in a report. Numbers are looked for anywhere below the event, by code; each is turned into the unit
-- of its column from a UCUM code that it knows, else it is null and `why_not` names it with its unit. Where
-- an event states a number twice, the first that is known counts. Totals of a report are in `sr_content`. Reports of which
-- no element was read have one row without an event.
--
-- grain:   instance_id, path
-- depends: sr_content, instances
-- column:  instance_id | BIGINT | key to `instances`
-- column:  path | VARCHAR | path of the event in `sr_content`; null if elements were not read
-- column:  series_key | VARCHAR | key to `series`
-- column:  study_key | VARCHAR | key to `studies`
-- column:  patient_key | VARCHAR | key to `patients`
-- column:  SOPInstanceUID | VARCHAR | SOP Instance UID (0008,0018) of the report
-- column:  kind | VARCHAR | CT or X-ray
-- column:  IrradiationEventUID | VARCHAR | Irradiation Event UID (0008,3010) of images: code 113769 of DCM in the report
-- column:  acquisition_protocol | VARCHAR | Acquisition Protocol (125203, DCM)
-- column:  target_region | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | Target Region (123014, DCM)
-- column:  acquisition_type | STRUCT(CodeValue VARCHAR, CodingSchemeDesignator VARCHAR, CodeMeaning VARCHAR) | CT Acquisition Type (113820, DCM) or Irradiation Event Type (113721, DCM)
-- column:  ctdi_vol_mgy | DOUBLE | Mean CTDIvol (113830, DCM), mGy
-- column:  dlp_mgycm | DOUBLE | DLP (113838, DCM), mGy·cm
-- column:  dap_gym2 | DOUBLE | Dose Area Product (122130, DCM), Gy·m²
-- column:  dose_rp_gy | DOUBLE | Dose (RP) (113738, DCM), Gy at the reference point
-- column:  kvp_kv | DOUBLE | KVP (113733, DCM), kV
-- column:  tube_current_ma | DOUBLE | X-Ray Tube Current (113734, DCM), mA
-- column:  why_not | VARCHAR | numbers that are stated but null here, and why; null if none
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view irradiation_events as
with content as (
    select
        instance_id,
        path,
        position,
        ValueType,
        concept,
        concept_code,
        value,
        -- As in `quantitative_measurements`: of two contradictory numbers none counts.
        if(
            NumericValue is not null and warning is not null, null, coalesce(FloatingPointValue, NumericValue)
        ) as number,
        unit.CodeValue as unit,
        warning,
        not_read
    from sr_content
),

events as (
    select
        instance_id,
        path,
        position,
        if(is_code(concept, '113819', 'DCM'), 'CT', 'X-ray') as kind
    from content
    where
        ValueType = 'CONTAINER'
        and concept.CodeValue in ('113819', '113706') and concept.CodingSchemeDesignator = 'DCM'
),

factors as (
    from (values
        ('113830', 'mGy', 1.0), ('113830', 'Gy', 1000.0), ('113830', 'uGy', 0.001), ('113830', 'cGy', 10.0),
        ('113838', 'mGy.cm', 1.0), ('113838', 'mGycm', 1.0), ('113838', 'Gy.cm', 1000.0),
        ('122130', 'Gy.m2', 1.0), ('122130', 'mGy.m2', 0.001), ('122130', 'uGy.m2', 1e-6),
        ('122130', 'Gy.cm2', 1e-4), ('122130', 'cGy.cm2', 1e-6), ('122130', 'dGy.cm2', 1e-5),
        ('122130', 'mGy.cm2', 1e-7), ('122130', 'uGy.cm2', 1e-10),
        ('113738', 'Gy', 1.0), ('113738', 'mGy', 0.001), ('113738', 'uGy', 1e-6), ('113738', 'cGy', 0.01),
        ('113733', 'kV', 1.0), ('113733', 'V', 0.001), ('113734', 'mA', 1.0), ('113734', 'uA', 0.001), ('113734', 'A', 1000.0)
    ) as known (quantity, unit, factor)
),

-- Each item that is asked for, by every item that holds it: no more rows than items times levels.
held as (
    select
        *,
        unnest(list_transform(range(1, len(position)), lambda n: position[1:n])) as holder
    from content
    where
        concept.CodingSchemeDesignator = 'DCM'
        and concept.CodeValue in (
            '113830', '113838', '122130', '113738', '113733', '113734', '113769', '125203', '123014', '113820',
            '113721'
        )
),

below as (
    select
        events.path as event_path,
        held.*
    from held
    join events on held.instance_id = events.instance_id and held.holder = events.position
),

numbers as (
    select
        below.instance_id,
        below.event_path,
        below.position,
        below.concept.CodeValue as quantity,
        below.concept.CodeMeaning as meaning,
        below.number * factors.factor as number,
        case
            when below.number is null then coalesce(below.warning, 'it has no number')
            when factors.factor is null then 'unit ' || coalesce(below.unit, 'missing')
        end as why_not
    from below
    left join factors on below.concept.CodeValue = factors.quantity and below.unit = factors.unit
    where
        below.ValueType = 'NUM' and below.concept.CodingSchemeDesignator = 'DCM'
        and below.concept.CodeValue in ('113830', '113838', '122130', '113738', '113733', '113734')
),

doses as (
    select
        instance_id,
        event_path,
        arg_min(number, position) filter (where quantity = '113830') as ctdi_vol_mgy,
        arg_min(number, position) filter (where quantity = '113838') as dlp_mgycm,
        arg_min(number, position) filter (where quantity = '122130') as dap_gym2,
        arg_min(number, position) filter (where quantity = '113738') as dose_rp_gy,
        arg_min(number, position) filter (where quantity = '113733') as kvp_kv,
        arg_min(number, position) filter (where quantity = '113734') as tube_current_ma,
        string_agg(coalesce(meaning, quantity) || ': ' || why_not, '; ' order by position)
            filter (where not is_known) as why_not
    from (
        select
            *,
            bool_or(number is not null) over (partition by instance_id, event_path, quantity) as is_known
        from numbers
    )
    group by instance_id, event_path
),

words as (
    select
        instance_id,
        event_path,
        arg_min(value, position) filter (
            where ValueType = 'UIDREF' and is_code(concept, '113769', 'DCM')
        ) as IrradiationEventUID,
        arg_min(value, position) filter (where is_code(concept, '125203', 'DCM')) as acquisition_protocol,
        arg_min(concept_code, position) filter (where is_code(concept, '123014', 'DCM')) as target_region,
        arg_min(concept_code, position) filter (
            where is_code(concept, '113820', 'DCM') or is_code(concept, '113721', 'DCM')
        ) as acquisition_type
    from below
    where ValueType in ('CODE', 'TEXT', 'UIDREF')
    group by instance_id, event_path
),

rows_of_events as (
    select
        instance_id,
        path,
        kind,
        null as not_read
    from events
    union all
    select
        instance_id,
        null as path,
        null as kind,
        not_read
    from content
    where not_read is not null
)

select
    instances.instance_id,
    rows_of_events.path,
    instances.series_key,
    instances.study_key,
    instances.patient_key,
    instances.SOPInstanceUID,
    rows_of_events.kind,
    words.IrradiationEventUID,
    words.acquisition_protocol,
    words.target_region,
    words.acquisition_type,
    doses.ctdi_vol_mgy,
    doses.dlp_mgycm,
    doses.dap_gym2,
    doses.dose_rp_gy,
    doses.kvp_kv,
    doses.tube_current_ma,
    doses.why_not,
    rows_of_events.not_read
from rows_of_events
join instances on rows_of_events.instance_id = instances.instance_id
left join doses on rows_of_events.instance_id = doses.instance_id and rows_of_events.path = doses.event_path
left join words on rows_of_events.instance_id = words.instance_id and rows_of_events.path = words.event_path;
