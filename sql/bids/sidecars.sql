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
        max(text) filter (where name = 'ImaCoilString') as elements,
        max(text) filter (where name in (
            'asCoilSelectMeas[0].asList[0].sCoilElementID.tCoilID',
            'sCoilSelectMeas.aRxCoilSelectData[0].asList[0].sCoilElementID.tCoilID'
        )) as coil,
        max("real") filter (where name = 'RealDwellTime') as dwell_ns,
        max("real") filter (where name = 'BandwidthPerPixelPhaseEncode') as bandwidth_hz
    from vendor_elements
    semi join chosen on vendor_elements.instance_id = chosen.instance_id
    where
        source_path = '' and "index" = 0
        and creator in ('SIEMENS CSA HEADER', 'SIEMENS MR SDS 01', 'SIEMENS MR SDI 02')
        and name in (
            'sPat.lAccelFactPE', 'sPat.lAccelFact3D', 'RealDwellTime', 'ImaCoilString',
            'BandwidthPerPixelPhaseEncode', 'asCoilSelectMeas[0].asList[0].sCoilElementID.tCoilID',
            'sCoilSelectMeas.aRxCoilSelectData[0].asList[0].sCoilElementID.tCoilID'
        )
    group by instance_id
),

-- GE states the reciprocal of the acceleration.
ge as (
    select
        instance_id,
        any_value(1 / nullif("real", 0)) as factor
    from elements
    semi join chosen on elements.instance_id = chosen.instance_id
    where
        path = '' and creator = 'GEMS_PARM_01' and tag between '00431000' and '0043FFFF'
        and tag[7:8] = '83' and "index" = 0
    group by instance_id
),

-- The echo times of a phase difference are those of the magnitudes beside it.
magnitudes as (
    select
        series.study_key,
        list_sort(list(distinct instances.EchoTime / 1000)) as echo_times_s
    from sequence_types
    join series on sequence_types.series_key = series.series_key
    join instances on sequence_types.series_key = instances.series_key
    where sequence_types.sequence_type = 'magnitude' and instances.EchoTime is not null
    group by series.study_key
    having count(distinct instances.EchoTime) = 2
),

stated as (
    from attributes([
        'InstitutionalDepartmentName', 'InstitutionAddress', 'PerformedProcedureStepDescription',
        'SAR', 'PercentPhaseFieldOfView', 'PercentSampling', 'NumberOfPhaseEncodingSteps',
        'AcquisitionMatrix', 'ReceiveCoilName', 'ContrastBolusIngredient', 'ImagingFrequency',
        'ParallelReductionFactorInPlane', 'ParallelReductionFactorOutOfPlane', 'ImagedNucleus',
        'Spoiling', 'MagnetizationTransfer', 'PartialFourierDirection'
    ])
    semi join chosen using (instance_id)
)

select
    series.series_key,
    mr_encoding.not_read,
    {
        'Modality': series.Modality,
        'MagneticFieldStrength': series.magnetic_field_strength_t,
        'ImagingFrequency': stated.ImagingFrequency,
        'ImagedNucleus': stated.ImagedNucleus,
        'Manufacturer': series.manufacturer_name,
        'ManufacturersModelName': series.ManufacturerModelName,
        'SoftwareVersions': array_to_string(series.SoftwareVersions, '\'),
        'BodyPart': series.BodyPartExamined,
        'PatientPosition': series.PatientPosition,
        'ProcedureStepDescription': stated.PerformedProcedureStepDescription,
        'SeriesDescription': series.SeriesDescription,
        'ProtocolName': series.ProtocolName,
        'MRAcquisitionType': series.MRAcquisitionType,
        'ScanningSequence': array_to_string(series.ScanningSequence, '\'),
        'SequenceVariant': array_to_string(series.SequenceVariant, '\'),
        'ScanOptions': array_to_string(series.ScanOptions, '\'),
        'SequenceName': series.SequenceName,
        'PulseSequenceName': series.pulse_sequence_name,
        'ImageType': series.ImageType,
        'NonlinearGradientCorrection': case
            when series.manufacturer_name <> 'Siemens' then null
            when list_has_any(series.ImageType, ['DIS2D', 'DIS3D']) then true
            when list_contains(series.ImageType, 'ND') then false
        end,
        'SeriesNumber': series.SeriesNumber,
        'AcquisitionTime': strftime(times.acquired_at, '%H:%M:%S.%f'),
        'AcquisitionNumber': instances.AcquisitionNumber,
        'SliceThickness': series.SliceThickness,
        'SpacingBetweenSlices': series.SpacingBetweenSlices,
        'SAR': stated.SAR,
        'EchoTime': series.EchoTime / 1000,
        'RepetitionTime': series.RepetitionTime / 1000,
        'InversionTime': series.InversionTime / 1000,
        'FlipAngle': series.FlipAngle,
        'NumberOfAverages': instances.NumberOfAverages,
        'EchoTrainLength': series.EchoTrainLength,
        'PercentPhaseFOV': stated.PercentPhaseFieldOfView,
        'PercentSampling': stated.PercentSampling,
        'PhaseEncodingSteps': stated.NumberOfPhaseEncodingSteps,
        -- Frequency rows, columns, phase rows, columns; two of them are 0.
        'AcquisitionMatrixPE': nullif(list_max(stated.AcquisitionMatrix[3:4]), 0),
        'ReconMatrixPE': case mr_encoding.phase_encoding_axis
            when 'i' then coalesce(mosaic_geometry.tile_columns, series."Columns")
            when 'j' then coalesce(mosaic_geometry.tile_rows, series."Rows")
        end,
        'PixelBandwidth': instances.PixelBandwidth,
        'BandwidthPerPixelPhaseEncode': vendor.bandwidth_hz,
        'DwellTime': vendor.dwell_ns / 1e9,
        'EffectiveEchoSpacing': mr_encoding.effective_echo_spacing_s,
        'TotalReadoutTime': mr_encoding.total_readout_time_s,
        'PhaseEncodingDirection': mr_encoding.bids_phase_encoding_direction,
        'PhaseEncodingAxis': if(
            mr_encoding.bids_phase_encoding_direction is null, mr_encoding.phase_encoding_axis, null
        ),
        'MultibandAccelerationFactor': nullif(greatest(mr_encoding.multiband_factor, 1), 1),
        'ParallelReductionFactorInPlane':
            coalesce(stated.ParallelReductionFactorInPlane, vendor.factor, ge.factor),
        'ParallelReductionFactorOutOfPlane':
            coalesce(stated.ParallelReductionFactorOutOfPlane, vendor.factor_3d),
        'PartialFourierDirection': stated.PartialFourierDirection,
        'SpoilingState': case
            when stated.Spoiling = 'NONE' then false
            when stated.Spoiling is not null or list_contains(series.SequenceVariant, 'SP') then true
        end,
        'MTState': case
            when stated.MagnetizationTransfer = 'NONE' then false
            when stated.MagnetizationTransfer is not null
                or list_contains(series.SequenceVariant, 'MTC') then true
        end,
        'ReceiveCoilName': coalesce(stated.ReceiveCoilName, vendor.coil),
        'ReceiveCoilActiveElements': vendor.elements,
        'ContrastBolusIngredient': stated.ContrastBolusIngredient,
        'ImageOrientationPatientDICOM': instances.ImageOrientationPatient,
        'InPlanePhaseEncodingDirectionDICOM': series.InPlanePhaseEncodingDirection
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
left join mr_encoding on chosen.instance_id = mr_encoding.instance_id
left join magnitudes on series.study_key = magnitudes.study_key
left join mosaic_geometry on chosen.instance_id = mosaic_geometry.instance_id
left join (
    select
        series_key,
        min(AcquisitionDate + AcquisitionTime) as acquired_at
    from instances
    group by series_key
) as times on chosen.series_key = times.series_key
