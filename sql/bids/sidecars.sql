-- What a sidecar of BIDS says of the MR series of which a run has members, by the names and in the
-- units of BIDS (times in s, field strength in T), as far as it is one value for the whole series.
-- Of the long table one instance is read, that with the smallest instance_key among the images.
with chosen as (
    select
        series_key,
        arg_min(instance_id, instance_key) as instance_id
    from instances
    where
        Modality = 'MR'
        and pixel_offset is not null
        and series_key in (
            select known.series_key
            from instances as known
            semi join members on known.instance_key = members.instance_key
        )
    group by series_key
),

vendor as (
    select
        instance_id,
        max("integer") filter (where name = 'sPat.lAccelFactPE') as factor,
        max("integer") filter (where name = 'sPat.lAccelFact3D') as factor_3d,
        arg_min("integer", source_tag) filter (where name = 'sSliceAcceleration.lMultiBandFactor') as multiband_factor,
        max(text) filter (where name = 'ImaCoilString') as elements,
        -- Names with other letters are written in UTF-7, with +, and not read.
        max(text) filter (where name = 'tProtocolName' and text not like '%+%') as protocol,
        max(text) filter (where name = 'tSequenceFileName') as sequence_details,
        max("real") filter (where name = 'lDelayTimeInTR') as delay_us,
        max("integer") filter (where name = 'ucCoilCombineMode') as combination,
        max("integer") filter (where name = 'sPat.ucPATMode') as coil_mode,
        -- Into the scanner the table goes up, by BIDS, and down, by Siemens.
        list("real" order by "index") filter (where name = 'ImaRelTablePosition') as table_position,
        max(text) filter (where name in (
            'asCoilSelectMeas[0].asList[0].sCoilElementID.tCoilID',
            'sCoilSelectMeas.aRxCoilSelectData[0].asList[0].sCoilElementID.tCoilID'
        )) as coil,
        max("real") filter (where name = 'RealDwellTime') as dwell_ns,
        max("real") filter (where name = 'BandwidthPerPixelPhaseEncode') as bandwidth_hz
    from vendor_elements
    semi join chosen on vendor_elements.instance_id = chosen.instance_id
    where
        source_path = '' and ("index" = 0 or name = 'ImaRelTablePosition')
        -- A header without a creator is read where its first bytes say that it is one.
        and creator in ('SIEMENS CSA HEADER', 'SIEMENS MR SDS 01', 'SIEMENS MR SDI 02', '')
        and name in (
            'sPat.lAccelFactPE', 'sPat.lAccelFact3D', 'sPat.ucPATMode', 'RealDwellTime', 'ImaCoilString',
            'sSliceAcceleration.lMultiBandFactor', 'tProtocolName', 'tSequenceFileName', 'lDelayTimeInTR', 'ucCoilCombineMode', 'ImaRelTablePosition',
            'BandwidthPerPixelPhaseEncode', 'asCoilSelectMeas[0].asList[0].sCoilElementID.tCoilID',
            'sCoilSelectMeas.aRxCoilSelectData[0].asList[0].sCoilElementID.tCoilID'
        )
    group by instance_id
),

-- GE states the reciprocal of the acceleration.
ge as (
    select
        instance_id,
        any_value(1 / nullif("real", 0)) filter (where "index" = 0) as factor,
        any_value(1 / nullif("real", 0)) filter (where "index" = 1) as factor_slices
    from elements
    semi join chosen on elements.instance_id = chosen.instance_id
    where
        path = '' and creator = 'GEMS_PARM_01' and tag between '00431000' and '0043FFFF'
        and tag[7:8] = '83'
    group by instance_id
),

-- Elements at top level, in functional groups of enhanced objects, and in private items of makers
-- there: those of Philips hold standard elements of the classic object, and stand in classic objects
-- too. The first of these places counts; a value that frames do not share is none of the series.
elements_read as (
    select
        elements.instance_id,
        elements.tag,
        coalesce(elements.creator, '') as creator,
        case
            when elements.path = '' then 0
            when regexp_matches(elements.path, '\.[A-Z]\w*\[0\]$') then 1
            else 2
        end as place,
        elements."index",
        normal_text(elements.vr, elements.text) as text,
        coalesce(elements."real", elements."integer") as number
    from elements
    semi join chosen on elements.instance_id = chosen.instance_id
    where
        (
            elements.tag in (
                '00080081', '00081040', '00180020', '00180021', '00180083', '00180084', '00180085',
                '00180089', '00180093', '00180094', '00181048', '00181250', '00181310', '00181316',
                '00189016', '00189020', '00189036', '00189069', '00189098', '00189155', '00189231',
                '00200012', '00400254'
            )
            or elements.creator = 'SIEMENS MR SDI 02' and elements.tag[7:8] in ('42', '4F', '75')
        )
        and (
            elements.path = ''
            or elements.path between 'PerFrameFunctionalGroupsSequence[' and 'SharedFunctionalGroupsSequence]'
            or starts_with(elements.path, '2005')
        )
        and regexp_full_match(
            elements.path,
            '|((PerFrameFunctionalGroupsSequence\[\d+\]|SharedFunctionalGroupsSequence\[0\])\.)?'
            || '([A-Z]\w*|2005\w\w0[EF]|0021\w\wFE)\[0\]'
        )
        and elements.vm > 0
),

shared as (
    select
        instance_id,
        tag,
        creator,
        place,
        "index",
        any_value(text) as text,
        any_value(number) as number
    from elements_read
    group by instance_id, tag, creator, place, "index"
    having count(distinct coalesce(text, cast(number as varchar))) = 1
    qualify place = min(place) over (partition by instance_id, tag, creator)
),

stated as (
    select
        instance_id,
        any_value(text) filter (where tag = '00080081' and "index" = 0) as InstitutionAddress,
        any_value(text) filter (where tag = '00081040' and "index" = 0) as InstitutionalDepartmentName,
        any_value(number) filter (where tag = '00180083' and "index" = 0) as NumberOfAverages,
        any_value(number) filter (where tag = '00180084' and "index" = 0) as ImagingFrequency,
        any_value(text) filter (where tag = '00180085' and "index" = 0) as ImagedNucleus,
        any_value(number) filter (where tag = '00180089' and "index" = 0) as NumberOfPhaseEncodingSteps,
        any_value(number) filter (where tag = '00180093' and "index" = 0) as PercentSampling,
        any_value(number) filter (where tag = '00180094' and "index" = 0) as PercentPhaseFieldOfView,
        any_value(text) filter (where tag = '00181048' and "index" = 0) as ContrastBolusIngredient,
        any_value(text) filter (where tag = '00181250' and "index" = 0) as ReceiveCoilName,
        any_value(number) filter (where tag = '00181316' and "index" = 0) as SAR,
        any_value(text) filter (where tag = '00189016' and "index" = 0) as Spoiling,
        any_value(text) filter (where tag = '00189020' and "index" = 0) as MagnetizationTransfer,
        any_value(text) filter (where tag = '00189036' and "index" = 0) as PartialFourierDirection,
        any_value(number) filter (where tag = '00189069' and "index" = 0) as ParallelReductionFactorInPlane,
        any_value(number) filter (where tag = '00189098' and "index" = 0) as TransmitterFrequency,
        any_value(number) filter (where tag = '00189155' and "index" = 0) as ParallelReductionFactorOutOfPlane,
        any_value(number) filter (where tag = '00189231' and "index" = 0) as MRAcquisitionPhaseEncodingStepsInPlane,
        any_value(number) filter (where tag = '00200012' and "index" = 0) as AcquisitionNumber,
        any_value(text) filter (where tag = '00400254' and "index" = 0) as PerformedProcedureStepDescription,
        array_to_string(list(text order by "index") filter (where tag = '00180020'), '\') as ScanningSequence,
        array_to_string(list(text order by "index") filter (where tag = '00180021'), '\') as SequenceVariant,
        list(number order by "index") filter (where tag = '00181310') as AcquisitionMatrix,
        max(number) filter (where creator <> '' and tag[7:8] = '42') as dwell_ns,
        max(text) filter (where creator <> '' and tag[7:8] = '4F') as coil_elements,
        list(text) filter (where creator <> '' and tag[7:8] = '75') as image_type
    from shared
    group by instance_id
),

-- The echo times of a phase difference are those of the magnitudes beside it.
magnitudes as (
    select
        series.study_key,
        list_sort(list_distinct(list_filter(flatten(list(
            -- Enhanced objects state them by frame.
            if(frames.instance_id is null, [instances.EchoTime / 1000], list_transform(
                frames.echo_times_ms, lambda echo_time: echo_time / 1000
            ))
        )), lambda echo_time: echo_time > 0 and echo_time <= 10
        ))) as echo_times_s
    from sequence_types
    join series on sequence_types.series_key = series.series_key
    join instances on sequence_types.series_key = instances.series_key
    left join frame_values as frames on instances.instance_id = frames.instance_id
    where sequence_types.sequence_type = 'magnitude'
    group by series.study_key
    having len(echo_times_s) = 2
)

select
    series.series_key,
    unread.not_read,
    {
        'Modality': series.Modality,
        'MagneticFieldStrength': series.magnetic_field_strength_t,
        'ImagingFrequency': coalesce(stated.ImagingFrequency, stated.TransmitterFrequency),
        'ImagedNucleus': stated.ImagedNucleus,
        'Manufacturer': series.manufacturer_name,
        'ManufacturersModelName': series.ManufacturerModelName,
        'SoftwareVersions': array_to_string(series.SoftwareVersions, '\'),
        'BodyPart': series.BodyPartExamined,
        'PatientPosition': series.PatientPosition,
        'ProcedureStepDescription': stated.PerformedProcedureStepDescription,
        'SeriesDescription': series.SeriesDescription,
        'ProtocolName': coalesce(nullif(series.ProtocolName, ''), vendor.protocol),
        'MRAcquisitionType': series.MRAcquisitionType,
        'ScanningSequence': coalesce(array_to_string(series.ScanningSequence, '\'), stated.ScanningSequence),
        'SequenceVariant': coalesce(array_to_string(series.SequenceVariant, '\'), stated.SequenceVariant),
        'ScanOptions': array_to_string(series.ScanOptions, '\'),
        'SequenceName': series.SequenceName,
        'PulseSequenceName': series.pulse_sequence_name,
        'ImageType': series.ImageType,
        'NonlinearGradientCorrection': case
            when series.manufacturer_name <> 'Siemens' then null
            when list_has_any(series.ImageType || coalesce(stated.image_type, []), ['DIS2D', 'DIS3D'])
                then true
            when list_contains(series.ImageType || coalesce(stated.image_type, []), 'ND') then false
        end,
        'SeriesNumber': series.SeriesNumber,
        'AcquisitionTime': strftime(times.acquired_at, '%H:%M:%S.%f'),
        'AcquisitionNumber': coalesce(instances.AcquisitionNumber, stated.AcquisitionNumber),
        'SliceThickness': series.SliceThickness,
        'SpacingBetweenSlices': series.SpacingBetweenSlices,
        'SAR': stated.SAR,
        'EchoTime': series.EchoTime / 1000,
        'RepetitionTime': series.RepetitionTime / 1000,
        'InversionTime': series.InversionTime / 1000,
        'FlipAngle': series.FlipAngle,
        'NumberOfAverages': coalesce(instances.NumberOfAverages, stated.NumberOfAverages),
        'EchoTrainLength': series.EchoTrainLength,
        'PercentPhaseFOV': stated.PercentPhaseFieldOfView,
        'PercentSampling': stated.PercentSampling,
        'PhaseEncodingSteps': coalesce(stated.NumberOfPhaseEncodingSteps, stated.MRAcquisitionPhaseEncodingStepsInPlane),
        -- Frequency rows, columns, phase rows, columns; two of them are 0.
        'AcquisitionMatrixPE': nullif(list_max(stated.AcquisitionMatrix[3:4]), 0),
        'ReconMatrixPE': case
            when phase_encoding.phase_encoding_axis = 'i' or size.tile_columns = size.tile_rows
                then size.tile_columns
            when phase_encoding.phase_encoding_axis = 'j' then size.tile_rows
        end,
        'PixelBandwidth': coalesce(instances.PixelBandwidth, frames.PixelBandwidth),
        'BandwidthPerPixelPhaseEncode': vendor.bandwidth_hz,
        'DwellTime': coalesce(vendor.dwell_ns, stated.dwell_ns) / 1e9,
        'EffectiveEchoSpacing': readout_times.effective_echo_spacing_s,
        'TotalReadoutTime': readout_times.total_readout_time_s,
        'PhaseEncodingDirection': phase_encoding.bids_phase_encoding_direction,
        'PhaseEncodingAxis': if(
            phase_encoding.bids_phase_encoding_direction is null, phase_encoding.phase_encoding_axis, null
        ),
        'MultibandAccelerationFactor': nullif(greatest(vendor.multiband_factor, 1), 1),
        'ParallelReductionFactorInPlane':
            coalesce(stated.ParallelReductionFactorInPlane, vendor.factor, ge.factor),
        'ParallelReductionFactorOutOfPlane':
            coalesce(
                stated.ParallelReductionFactorOutOfPlane, vendor.factor_3d, ge.factor_slices
            ),
        'MatrixCoilMode': case vendor.coil_mode when 2 then 'GRAPPA' end,
        'CoilCombinationMethod': case vendor.combination
            when 1 then 'Sum of Squares' when 2 then 'Adaptive Combine'
        end,
        'PartialFourierDirection': nullif(stated.PartialFourierDirection, ''),
        'SpoilingState': case
            when stated.Spoiling = 'NONE' then false
            when stated.Spoiling is not null
                or list_contains(series.SequenceVariant, 'SP') then true
        end,
        'MTState': case
            when stated.MagnetizationTransfer = 'NONE' then false
            when stated.MagnetizationTransfer is not null
                or list_contains(series.SequenceVariant, 'MTC') then true
        end,
        'DelayTime': nullif(vendor.delay_us, 0) / 1e6,
        'PulseSequenceDetails': vendor.sequence_details,
        'ReceiveCoilName': coalesce(stated.ReceiveCoilName, vendor.coil),
        'ReceiveCoilActiveElements': coalesce(vendor.elements, stated.coil_elements),
        'TablePosition': if(
            len(vendor.table_position) = 3,
            [vendor.table_position[1], vendor.table_position[2], 0 - vendor.table_position[3]], null
        ),
        'ContrastBolusIngredient': stated.ContrastBolusIngredient,
        'ImageOrientationPatientDICOM': case
            when frames.instance_id is null then instances.ImageOrientationPatient
            when not list_contains(frames.frames_differ, 'ImageOrientationPatient')
                then frames.ImageOrientationPatient
        end,
        -- Enhanced objects say COLUMN (PS3.3 C.8.13.5.8) for COL.
        'InPlanePhaseEncodingDirectionDICOM':
            if(series.InPlanePhaseEncodingDirection = 'COLUMN', 'COL', series.InPlanePhaseEncodingDirection)
    } as fields,
    {
        'InstitutionName': series.InstitutionName,
        'InstitutionalDepartmentName': stated.InstitutionalDepartmentName,
        'InstitutionAddress': stated.InstitutionAddress,
        'DeviceSerialNumber': series.DeviceSerialNumber,
        'StationName': series.StationName,
        'SeriesInstanceUID': series.SeriesInstanceUID,
        'StudyInstanceUID': series.StudyInstanceUID
    } as identifiers,
    magnitudes.echo_times_s as field_map_echo_times_s,
    instances.RescaleType as rescale_type
from chosen
join series on chosen.series_key = series.series_key
join instances on chosen.instance_id = instances.instance_id
left join stated on chosen.instance_id = stated.instance_id
left join vendor on chosen.instance_id = vendor.instance_id
left join ge on chosen.instance_id = ge.instance_id
left join frame_values as frames on chosen.instance_id = frames.instance_id
left join phase_encoding on chosen.instance_id = phase_encoding.instance_id
left join readout_times on chosen.instance_id = readout_times.instance_id
left join unread on chosen.instance_id = unread.instance_id
left join magnitudes on series.study_key = magnitudes.study_key
left join (
    select
        instances.instance_id,
        coalesce(mosaic_geometry.tile_rows, instances."Rows") as tile_rows,
        coalesce(mosaic_geometry.tile_columns, instances."Columns") as tile_columns
    from instances
    left join mosaic_geometry on instances.instance_id = mosaic_geometry.instance_id
) as size on chosen.instance_id = size.instance_id
left join (
    select
        series_key,
        first_time(AcquisitionDate + AcquisitionTime) as acquired_at
    from instances
    group by series_key
) as times on chosen.series_key = times.series_key
