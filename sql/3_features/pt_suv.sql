-- One row per PET series: the factors of standardized uptake values, or why there are none.
--
-- A factor is for rescaled values (stored × Rescale Slope + Rescale Intercept). By body weight it is
-- weight / dose, the dose decayed to the time that images are corrected to: the start of the scan where
-- Decay Correction is START, the injection where it is ADMIN. Units BQML are taken so; CNTS only with a
-- private factor of Philips; GML and CM2ML are uptake values already, of the SUV Type that is stated. Every
-- condition is checked: attenuation and decay corrected, one injection in the clock of the scan, images of
-- a series that agree, GE's own start of the scan where it is stated, weight, dose and half-life that can be in
-- kg, Bq and s. Times are those of `pt_series`.
--
-- Lean body mass in kg, of weight W in kg and height H in m: James, 1.10 W - 120 (W / 100 H)² for men and
-- 1.07 W - 148 (W / 100 H)² for women, null where that is not above 0; James with 128 for men; Janmahasatian, 9270 W / (6680 + 216 W / H²) and
-- 9270 W / (8780 + 244 W / H²). Body surface by Du Bois: 0.007184 W^0.425 (100 H)^0.725 m².
--
-- grain:   series_key
-- depends: pt_series, instances, normal_elements, unread_series
-- column:  series_key | VARCHAR | key to `series`
-- column:  Units | VARCHAR | Units (0054,1001) of rescaled values
-- column:  SUVType | VARCHAR | SUV Type (0054,1006), if Units are GML or CM2ML; BW if nothing is stated
-- column:  decayed_dose_bq | DOUBLE | Bq at the time that images are corrected to
-- column:  suv_bw_factor | DOUBLE | factor to SUV by body weight, g/ml
-- column:  suv_lbm_factor | DOUBLE | factor to SUV by lean body mass of James, g/ml
-- column:  suv_lbm_james128_factor | DOUBLE | factor to SUV by lean body mass of James with 128, g/ml
-- column:  suv_lbm_janma_factor | DOUBLE | factor to SUV by lean body mass of Janmahasatian, g/ml
-- column:  suv_bsa_factor | DOUBLE | factor to SUV by body surface, cm²/ml
-- column:  suv_why_not | VARCHAR | why there is no factor by body weight; null if there is
-- column:  body_why_not | VARCHAR | why there are no factors by lean body mass or body surface; null if there are
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view pt_suv as
with pets as (
    select
        *
    from instances
    where Modality = 'PT'
),

-- Each element that the factor is made of: how many different values the images of a series state.
stated as (
    select
        pets.series_key,
        elements.tag,
        min(elements."real") as number,
        min(elements.text) as word,
        -- An empty value is none, as a missing element is.
        count(distinct elements.text) + if(
            count(distinct elements.instance_id) filter (where elements.vm > 0)
            < any_value(images.image_count),
            1, 0
        ) as kinds
    from normal_elements as elements
    join pets on elements.instance_id = pets.instance_id
    join (
        select
            series_key,
            count(*) as image_count
        from pets
        group by series_key
    ) as images on pets.series_key = images.series_key
    where
        elements."index" = 0
        and (
            elements.path = '' and elements.tag in ('00541001', '00541006', '00541102', '00101030', '00101020', '00100040')
            or elements.path = 'RadiopharmaceuticalInformationSequence[0]'
            and elements.tag in ('00181072', '00181074', '00181075', '00181078')
        )
    group by pets.series_key, elements.tag
),

agreed as (
    select
        series_key,
        any_value(word) filter (where tag = '00541006') as SUVType,
        any_value(number) filter (where tag = '00101020') as height_m,
        any_value(word) filter (where tag = '00100040') as sex,
        string_agg(
            case tag
                when '00541001' then 'Units' when '00541006' then 'SUVType' when '00541102' then 'DecayCorrection'
                when '00101030' then 'PatientWeight' when '00181074' then 'RadionuclideTotalDose'
                when '00181075' then 'RadionuclideHalfLife' when '00181072' then 'RadiopharmaceuticalStartTime'
                when '00181078' then 'RadiopharmaceuticalStartDateTime'
            end, ', ' order by tag
        ) filter (where kinds > 1 and tag not in ('00101020', '00100040')) as differing,
        string_agg(
            case tag when '00101020' then 'PatientSize' when '00100040' then 'PatientSex' end, ', ' order by tag
        ) filter (where kinds > 1 and tag in ('00101020', '00100040')) as body_differing
    from stated
    group by series_key
),

injections as (
    select
        pets.series_key,
        max(elements."integer") as injection_count,
        bool_or(pets.SOPClassUID = '1.2.840.10008.5.1.4.1.1.130') as is_enhanced
    from pets
    left join normal_elements as elements
        on pets.instance_id = elements.instance_id and elements.tag = '00540016' and elements.path = ''
    group by pets.series_key
),

vendors as (
    select
        pets.series_key,
        min(elements."real") filter (where elements.tag[7:8] = '00') as philips_suv_factor,
        count(distinct elements."real") filter (where elements.tag[7:8] = '00') as philips_suv_kinds,
        min(elements."real") filter (where elements.tag[7:8] = '09') as philips_activity_factor,
        count(distinct elements."real") filter (where elements.tag[7:8] = '09') as philips_activity_kinds,
        min(elements."timestamp") filter (where elements.tag[7:8] = '0D') as ge_scan_at,
        count(distinct elements."timestamp") filter (where elements.tag[7:8] = '0D') as ge_scan_kinds
    from normal_elements as elements
    join pets on elements.instance_id = pets.instance_id
    where
        elements.path = '' and elements."index" = 0 and elements.keyword is null
        and (
            elements.creator = 'Philips PET Private Group' and starts_with(elements.tag, '7053')
            and elements.tag[7:8] in ('00', '09')
            or elements.creator = 'GEMS_PETD_01' and starts_with(elements.tag, '0009') and elements.tag[7:8] = '0D'
        )
    group by pets.series_key
),

known as (
    select
        series.series_key,
        series.Units,
        series.RadionuclideTotalDose,
        series.RadionuclideHalfLife,
        series.PatientWeight,
        upper(coalesce(agreed.SUVType, 'BW')) as SUVType,
        coalesce(
            unread_series.elements_not_read,
            if(
                series.Units = 'CNTS' or series.manufacturer_name = 'GE', unread_series.private_not_read, null
            )
        ) as not_read,
        series.RadionuclideTotalDose * if(
            series.DecayCorrection = 'START', pow(2, -series.uptake_time_s / series.RadionuclideHalfLife), 1
        ) as decayed_dose_bq,
        if(
            series.Units = 'CNTS' and vendors.philips_suv_factor > 0, vendors.philips_suv_factor, null
        ) as philips_suv_factor,
        case
            when series.Units = 'BQML' then 1.0
            when series.Units = 'CNTS' and vendors.philips_activity_factor > 0 then vendors.philips_activity_factor
        end as bq_per_value,
        case
            when series.Units in ('GML', 'CM2ML') then null
            when injections.is_enhanced then 'an enhanced PET: its real world value mapping says what values are'
            when agreed.differing is not null then 'images of the series differ in ' || agreed.differing
            when series.Units is null then 'Units are not stated'
            when series.Units not in ('BQML', 'CNTS') then 'Units are neither BQML, GML nor CNTS of Philips'
            when not coalesce(list_has_all(series.CorrectedImage, ['ATTN', 'DECY']), false)
                then 'not corrected for attenuation and decay (Corrected Image)'
            when coalesce(series.DecayCorrection, '') not in ('START', 'ADMIN')
                then 'Decay Correction is neither START nor ADMIN'
            when series.Units = 'CNTS' and coalesce(vendors.philips_suv_kinds, 0) > 1
                or series.Units = 'CNTS' and coalesce(vendors.philips_activity_kinds, 0) > 1
                then 'images of the series differ in factors of Philips'
            when philips_suv_factor is not null then null
            when bq_per_value is null then 'Units are CNTS, without a factor of Philips (7053,xx00) or (7053,xx09)'
            when coalesce(injections.injection_count, 0) > 1 then 'several injections are stated'
            when not coalesce(series.RadionuclideTotalDose > 0, false) then 'RadionuclideTotalDose is not stated'
            when series.RadionuclideTotalDose < 1e5
                then 'RadionuclideTotalDose is below 0.1 MBq: it may not be in Bq'
            when series.DecayCorrection = 'START' and not coalesce(series.RadionuclideHalfLife > 0, false)
                then 'RadionuclideHalfLife is not stated'
            when series.DecayCorrection = 'START' and series.uptake_why_not is not null then series.uptake_why_not
            when
                series.DecayCorrection = 'START' and coalesce(vendors.ge_scan_kinds, 0) > 0
                and abs(epoch(vendors.ge_scan_at - series.scan_started_at)) > 1
                then 'the start of the scan that GE states (0009,xx0D) is another one'
            -- Tracers are not imaged when a thousandth of them is left: the number may be in minutes.
            when series.DecayCorrection = 'START' and series.uptake_time_s > 10 * series.RadionuclideHalfLife
                then 'the scan starts more than 10 half-lives after the injection: RadionuclideHalfLife may not be in s'
            when not coalesce(series.PatientWeight > 0, false) then 'PatientWeight is not stated'
            when series.PatientWeight > 650 then 'PatientWeight is no weight in kilograms'
        end as why_not,
        agreed.differing as series_differing,
        agreed.body_differing,
        agreed.height_m,
        agreed.sex
    from pt_series as series
    left join agreed on series.series_key = agreed.series_key
    left join injections on series.series_key = injections.series_key
    left join vendors on series.series_key = vendors.series_key
    left join unread_series on series.series_key = unread_series.series_key
),

-- SUV by body weight per value, and per kg of it.
by_weight as (
    select
        *,
        case
            when not_read is not null then null
            when Units = 'GML' and SUVType <> 'BW' then 'values are uptake by another measure than body weight (SUV Type)'
            when Units = 'CM2ML' then 'values are uptake by body surface'
            when Units = 'GML' and contains(coalesce(series_differing, ''), 'Units') then 'images of the series differ in Units'
            when Units = 'GML' and contains(coalesce(series_differing, ''), 'SUVType') then 'images of the series differ in SUVType'
            else why_not
        end as suv_why_not,
        case
            when not_read is not null or suv_why_not is not null then null
            when Units = 'GML' then 1.0
            when philips_suv_factor is not null then philips_suv_factor
            else bq_per_value * PatientWeight * 1000 / decayed_dose_bq
        end as suv_bw_factor
    from known
),

bodies as (
    select
        *,
        case
            when not_read is not null then null
            when suv_bw_factor is null then suv_why_not
            when series_differing is not null and contains(series_differing, 'PatientWeight')
                then 'images of the series differ in PatientWeight'
            when body_differing is not null then 'images of the series differ in ' || body_differing
            when not coalesce(PatientWeight > 0, false) then 'PatientWeight is not stated'
            when PatientWeight > 650 then 'PatientWeight is no weight in kilograms'
            when not coalesce(height_m > 0, false) then 'PatientSize is not stated'
            when height_m not between 0.3 and 2.6 then 'PatientSize is no height in metres'
        end as surface_why_not,
        case
            when not_read is not null then null
            when surface_why_not is not null then surface_why_not
            when coalesce(sex, '') not in ('M', 'F') then 'PatientSex is neither M nor F'
        end as body_why_not,
        if(body_why_not is null, suv_bw_factor / PatientWeight, null) as per_kg,
        PatientWeight as weight_kg,
        100 * height_m as height_cm,
        if(sex = 'M', 1.10, 1.07) * weight_kg - if(sex = 'M', 120, 148) * pow(weight_kg / height_cm, 2) as james_kg,
        if(sex = 'M', 1.10, 1.07) * weight_kg - if(sex = 'M', 128, 148) * pow(weight_kg / height_cm, 2) as james128_kg
    from by_weight
)

select
    series_key,
    Units,
    if(Units in ('GML', 'CM2ML'), SUVType, null) as SUVType,
    if(suv_bw_factor is null or Units = 'GML' or philips_suv_factor is not null, null, decayed_dose_bq) as decayed_dose_bq,
    suv_bw_factor,
    if(
        not_read is null and Units = 'GML' and SUVType = 'LBM', 1.0,
        if(james_kg > 0, per_kg * james_kg, null)
    ) as suv_lbm_factor,
    if(
        not_read is null and Units = 'GML' and SUVType = 'LBMJAMES128', 1.0,
        if(james128_kg > 0, per_kg * james128_kg, null)
    ) as suv_lbm_james128_factor,
    if(
        not_read is null and Units = 'GML' and SUVType = 'LBMJANMA', 1.0,
        per_kg * 9270 * weight_kg / if(
            sex = 'M', 6680 + 216 * weight_kg / pow(height_m, 2), 8780 + 244 * weight_kg / pow(height_m, 2)
        )
    ) as suv_lbm_janma_factor,
    if(
        not_read is null and Units = 'CM2ML', 1.0,
        if(surface_why_not is null, suv_bw_factor / weight_kg, null)
        * 10 * 0.007184 * pow(weight_kg, 0.425) * pow(height_cm, 0.725)
    ) as suv_bsa_factor,
    suv_why_not,
    if(
        body_why_not is null and least(james_kg, james128_kg) <= 0, 'the formula of James gives no lean body mass above 0', body_why_not
    ) as body_why_not,
    not_read
from bodies;
