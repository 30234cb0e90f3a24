-- One row per object with functional groups: its frame attributes reduced to one value each.
--
-- Only objects whose groups state one of these attributes, or were not read.
-- A value of the frame's own groups comes first, then that of the shared ones, then that of the
-- object, as in `frames`. Where frames differ, the value is that of the first frame that has one,
-- `frames_differ` names the column, and lists have all values. The values of `series` and others are
-- these where there is a row, and those of `instances` where there is none.
--
-- grain:   instance_id
-- example: select instance_id, EchoTime, echo_times_ms, frames_differ from frame_values
-- depends: group_elements, elements, instances, unread
-- kept:    at 5,000 instances or 1,000,000 rows of elements and more, by the ingest
-- column:  instance_id | BIGINT | key to `instances`
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that all other columns are null; null if nothing
-- column:  EchoTime | DOUBLE | Echo Time (0018,0081), ms; Effective Echo Time (0018,9082) where it is stated
-- column:  InversionTime | DOUBLE | Inversion Time (0018,0082), ms; the first of Inversion Times (0018,9079) where they are stated
-- column:  RepetitionTime | DOUBLE | Repetition Time (0018,0080), ms
-- column:  EchoTrainLength | BIGINT | Echo Train Length (0018,0091)
-- column:  FlipAngle | DOUBLE | Flip Angle (0018,1314), degrees
-- column:  NumberOfAverages | DOUBLE | Number of Averages (0018,0083)
-- column:  PixelBandwidth | DOUBLE | Pixel Bandwidth (0018,0095), Hz per pixel
-- column:  DiffusionBValue | DOUBLE | Diffusion b-value (0018,9087), s/mm²
-- column:  MagneticFieldStrength | DOUBLE | Magnetic Field Strength (0018,0087), as stored: tesla, or gauss
-- column:  InPlanePhaseEncodingDirection | VARCHAR | In-plane Phase Encoding Direction (0018,1312)
-- column:  ScanningSequence | VARCHAR[] | Scanning Sequence (0018,0020)
-- column:  SequenceVariant | VARCHAR[] | Sequence Variant (0018,0021)
-- column:  ScanOptions | VARCHAR[] | Scan Options (0018,0022)
-- column:  MRAcquisitionType | VARCHAR | MR Acquisition Type (0018,0023)
-- column:  SequenceName | VARCHAR | Sequence Name (0018,0024)
-- column:  KVP | DOUBLE | KVP (0018,0060), kV
-- column:  ConvolutionKernel | VARCHAR[] | Convolution Kernel (0018,1210)
-- column:  GantryDetectorTilt | DOUBLE | Gantry/Detector Tilt (0018,1120), degrees
-- column:  PixelSpacing | DOUBLE[] | Pixel Spacing (0028,0030), mm: between rows, between columns
-- column:  SliceThickness | DOUBLE | Slice Thickness (0018,0050), mm
-- column:  SpacingBetweenSlices | DOUBLE | Spacing Between Slices (0018,0088), mm
-- column:  ImageOrientationPatient | DOUBLE[] | Image Orientation (Patient) (0020,0037), direction cosines of a row, then of a column
-- column:  WindowCenter | DOUBLE[] | Window Center (0028,1050)
-- column:  WindowWidth | DOUBLE[] | Window Width (0028,1051)
-- column:  ContrastBolusAgent | VARCHAR | Contrast/Bolus Agent (0018,0010); else the meaning of the first code of the Contrast/Bolus Agent Sequence (0018,0012), unless each frame says that it was not administered
-- column:  XRayTubeCurrentInmA | DOUBLE | X-Ray Tube Current in mA (0018,9330); X-Ray Tube Current (0018,1151) where that is stated alone
-- column:  ExposureInmAs | DOUBLE | Exposure in mAs (0018,9332); Exposure (0018,1152) where that is stated alone
-- column:  echo_times_ms | DOUBLE[] | different values of EchoTime, ascending
-- column:  inversion_times_ms | DOUBLE[] | different values of InversionTime, ascending; all of a frame that states several
-- column:  repetition_times_ms | DOUBLE[] | different values of RepetitionTime, ascending
-- column:  flip_angles_degrees | DOUBLE[] | different values of FlipAngle, ascending
-- column:  b_values | DOUBLE[] | different values of DiffusionBValue, s/mm², ascending
-- column:  tube_voltages_kv | DOUBLE[] | distinct values of KVP, ascending; of both tubes of a dual-source device
-- column:  tube_currents_ma | DOUBLE[] | different values of XRayTubeCurrentInmA, ascending
-- column:  exposures_mas | DOUBLE[] | different values of ExposureInmAs, ascending
-- column:  frame_types | VARCHAR[] | different values of Frame Type (0008,9007), each with backslashes between its parts, in order
-- column:  position_min_mm | DOUBLE[] | least x, y and z of Image Position (Patient) (0020,0032) of the frames, LPS
-- column:  position_max_mm | DOUBLE[] | most x, y and z of Image Position (Patient) (0020,0032) of the frames, LPS
-- column:  temporal_position_count | BIGINT | different values of Temporal Position Index (0020,9128); null if there is none
-- column:  first_frame_at | TIMESTAMP | first Frame Acquisition DateTime (0018,9074), else Frame Reference DateTime (0018,9151), in the clock of the dates and times of the object; null if that is unknown
-- column:  last_frame_at | TIMESTAMP | last of these
-- column:  functional_groups | VARCHAR[] | columns whose attribute is read from functional groups, in order; the others are read from the top level of the object
-- column:  frames_differ | VARCHAR[] | columns whose attribute has different values in different frames: the column has the first value; in order
create or replace view frame_values as
with
    attributes as (
        select
            known.tag,
            known.attribute,
            known.preference,
            known.is_text,
            known.is_list
        from (
            values
            ('00189082', 'EchoTime', 0, false, false),
            ('00180081', 'EchoTime', 1, false, false),
            ('00189079', 'InversionTime', 0, false, true),
            ('00180082', 'InversionTime', 1, false, true),
            ('00180080', 'RepetitionTime', 0, false, false),
            ('00180091', 'EchoTrainLength', 0, false, false),
            ('00181314', 'FlipAngle', 0, false, false),
            ('00180083', 'NumberOfAverages', 0, false, false),
            ('00180095', 'PixelBandwidth', 0, false, false),
            ('00189087', 'DiffusionBValue', 0, false, false),
            ('00180087', 'MagneticFieldStrength', 0, false, false),
            ('00181312', 'InPlanePhaseEncodingDirection', 0, true, false),
            ('00180020', 'ScanningSequence', 0, true, true),
            ('00180021', 'SequenceVariant', 0, true, true),
            ('00180022', 'ScanOptions', 0, true, true),
            ('00180023', 'MRAcquisitionType', 0, true, false),
            ('00180024', 'SequenceName', 0, true, false),
            ('00180060', 'KVP', 0, false, false),
            ('00181210', 'ConvolutionKernel', 0, true, true),
            ('00181120', 'GantryDetectorTilt', 0, false, false),
            ('00280030', 'PixelSpacing', 0, false, true),
            ('00180050', 'SliceThickness', 0, false, false),
            ('00180088', 'SpacingBetweenSlices', 0, false, false),
            ('00200037', 'ImageOrientationPatient', 0, false, true),
            ('00281050', 'WindowCenter', 0, false, true),
            ('00281051', 'WindowWidth', 0, false, true),
            ('00180010', 'ContrastBolusAgent', 0, true, false),
            ('00189330', 'XRayTubeCurrentInmA', 0, false, false),
            ('00181151', 'XRayTubeCurrentInmA', 1, false, false),
            ('00189332', 'ExposureInmAs', 0, false, false),
            ('00181152', 'ExposureInmAs', 1, false, false),
            ('00089007', 'FrameType', 0, true, true),
            ('00189342', 'ContrastBolusAgentAdministered', 0, true, false)
        ) as known (tag, attribute, preference, is_text, is_list)
    ),

    -- Objects that have groups: without any, nothing else of the long table is read.
    holders as (
        select
            instance_id,
            max("integer") filter (where tag = '52009230') as items
        from elements
        where tag in ('52009229', '52009230') and path = ''
        group by instance_id
    ),

    found as materialized (
        select group_elements.*
        from group_elements
        semi join holders on group_elements.instance_id = holders.instance_id
    ),

    -- What one group says: a list of numbers or of texts. What cannot be read is not said.
    said as (
        select
            found.instance_id,
            found.item,
            attributes.attribute,
            attributes.preference,
            found.sequence || printf('[%09d]', found.sequence_item) as place,
            struct_pack(
                numbers := if(
                    attributes.is_text, null,
                    list(coalesce(found."real", found."integer") order by found."index")
                ),
                texts := if(attributes.is_text, list(found.text order by found."index"), null)
            ) as "value"
        from found
        join attributes on found.tag = attributes.tag
        where
            (attributes.is_list or found."index" = 0)
            and if(attributes.is_text, found.text is not null, coalesce(found."real", found."integer") is not null)
        group by
            found.instance_id, found.item, attributes.attribute, attributes.preference, found.sequence,
            found.sequence_item, attributes.is_text
    ),

    -- A group may have several items, such as one per tube: the first is the value.
    by_item as (
        select
            instance_id,
            item,
            attribute,
            arg_min(struct_pack(first := first, "all" := "all"), preference) as "values"
        from (
            select
                instance_id,
                item,
                attribute,
                preference,
                arg_min("value", place) as first,
                list(distinct "value") as "all"
            from said
            group by instance_id, item, attribute, preference
        )
        group by instance_id, item, attribute
    ),

    of_groups as (
        select
            instance_id,
            attribute,
            any_value("values".first) filter (where item = 0) as first_frame,
            any_value("values") filter (where item is null) as shared,
            arg_min("values".first, item) filter (where item is not null) as other_frame,
            count(item) as frame_count,
            flatten(list("values"."all") filter (where item is not null)) as own
        from by_item
        group by instance_id, attribute
    ),

    objects as (
        select
            instances.instance_id,
            unread.not_read,
            instances.EchoTime,
            instances.InversionTime,
            instances.RepetitionTime,
            instances.EchoTrainLength,
            instances.FlipAngle,
            instances.NumberOfAverages,
            instances.PixelBandwidth,
            instances.DiffusionBValue,
            instances.MagneticFieldStrength,
            instances.InPlanePhaseEncodingDirection,
            instances.ScanningSequence,
            instances.SequenceVariant,
            instances.ScanOptions,
            instances.MRAcquisitionType,
            instances.SequenceName,
            instances.KVP,
            instances.ConvolutionKernel,
            instances.GantryDetectorTilt,
            instances.PixelSpacing,
            instances.SliceThickness,
            instances.SpacingBetweenSlices,
            instances.ImageOrientationPatient,
            instances.WindowCenter,
            instances.WindowWidth,
            instances.ContrastBolusAgent,
            instances.XRayTubeCurrent,
            instances.Exposure,
            greatest(
                coalesce(holders.items, 0),
                least(coalesce(nullif(instances.NumberOfFrames, 0), 1), coalesce(instances.pixel_length, 0))
            ) as frames
        from instances
        left join holders on instances.instance_id = holders.instance_id
        left join unread on instances.instance_id = unread.instance_id and unread.is_without_elements
        where
            instances.instance_id in (select instance_id from of_groups)
            -- What was not read may be anything, but in classes that have no such groups.
            or unread.not_read is not null
            and (instances.pixel_offset is not null or instances.Modality = 'SEG')
            and coalesce(instances.SOPClassUID not in (
                '1.2.840.10008.5.1.4.1.1.1', '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.5.1.4.1.1.4',
                '1.2.840.10008.5.1.4.1.1.6.1', '1.2.840.10008.5.1.4.1.1.7', '1.2.840.10008.5.1.4.1.1.12.1',
                '1.2.840.10008.5.1.4.1.1.12.2', '1.2.840.10008.5.1.4.1.1.20', '1.2.840.10008.5.1.4.1.1.128',
                '1.2.840.10008.5.1.4.1.1.481.1', '1.2.840.10008.5.1.4.1.1.481.2'
            ), instances.NumberOfFrames is not null)
    ),

    of_object as (
        select
            instance_id,
            frames,
            unnest([
                struct_pack(attribute := 'EchoTime', numbers := [EchoTime], texts := null),
                struct_pack(attribute := 'InversionTime', numbers := [InversionTime], texts := null),
                struct_pack(attribute := 'RepetitionTime', numbers := [RepetitionTime], texts := null),
                struct_pack(attribute := 'EchoTrainLength', numbers := [cast(EchoTrainLength as double)], texts := null),
                struct_pack(attribute := 'FlipAngle', numbers := [FlipAngle], texts := null),
                struct_pack(attribute := 'NumberOfAverages', numbers := [NumberOfAverages], texts := null),
                struct_pack(attribute := 'PixelBandwidth', numbers := [PixelBandwidth], texts := null),
                struct_pack(attribute := 'DiffusionBValue', numbers := [DiffusionBValue], texts := null),
                struct_pack(attribute := 'MagneticFieldStrength', numbers := [MagneticFieldStrength], texts := null),
                struct_pack(attribute := 'InPlanePhaseEncodingDirection', numbers := null, texts := [InPlanePhaseEncodingDirection]),
                struct_pack(attribute := 'ScanningSequence', numbers := null, texts := ScanningSequence),
                struct_pack(attribute := 'SequenceVariant', numbers := null, texts := SequenceVariant),
                struct_pack(attribute := 'ScanOptions', numbers := null, texts := ScanOptions),
                struct_pack(attribute := 'MRAcquisitionType', numbers := null, texts := [MRAcquisitionType]),
                struct_pack(attribute := 'SequenceName', numbers := null, texts := [SequenceName]),
                struct_pack(attribute := 'KVP', numbers := [KVP], texts := null),
                struct_pack(attribute := 'ConvolutionKernel', numbers := null, texts := ConvolutionKernel),
                struct_pack(attribute := 'GantryDetectorTilt', numbers := [GantryDetectorTilt], texts := null),
                struct_pack(attribute := 'PixelSpacing', numbers := PixelSpacing, texts := null),
                struct_pack(attribute := 'SliceThickness', numbers := [SliceThickness], texts := null),
                struct_pack(attribute := 'SpacingBetweenSlices', numbers := [SpacingBetweenSlices], texts := null),
                struct_pack(attribute := 'ImageOrientationPatient', numbers := ImageOrientationPatient, texts := null),
                struct_pack(attribute := 'WindowCenter', numbers := WindowCenter, texts := null),
                struct_pack(attribute := 'WindowWidth', numbers := WindowWidth, texts := null),
                struct_pack(attribute := 'ContrastBolusAgent', numbers := null, texts := [ContrastBolusAgent]),
                struct_pack(attribute := 'XRayTubeCurrentInmA', numbers := [cast(XRayTubeCurrent as double)], texts := null),
                struct_pack(attribute := 'ExposureInmAs', numbers := [cast(Exposure as double)], texts := null),
                struct_pack(attribute := 'FrameType', numbers := null, texts := null),
                struct_pack(attribute := 'ContrastBolusAgentAdministered', numbers := null, texts := null)
            ], recursive := false) as stated
        from objects
        where not_read is null
    ),

    chosen as (
        select
            of_object.instance_id,
            of_object.stated.attribute,
            if(
                of_object.stated.numbers[1] is null and of_object.stated.texts[1] is null, null,
                struct_pack(numbers := of_object.stated.numbers, texts := of_object.stated.texts)
            ) as top,
            coalesce(
                of_groups.first_frame, of_groups.shared.first, top, of_groups.other_frame
            ) as "value",
            of_groups.instance_id is not null
            and (of_groups.first_frame is not null or of_groups.shared is not null or top is null)
                as is_of_groups,
            list_distinct(
                coalesce(of_groups.own, [])
                || case
                    when of_groups.frame_count >= of_object.frames then []
                    when of_groups.shared is not null then of_groups.shared."all"
                    when top is not null then [top]
                    else []
                end
            ) as different
        from of_object
        left join of_groups
            on
                of_object.instance_id = of_groups.instance_id
                and of_object.stated.attribute = of_groups.attribute
    ),

    counted as (
        select
            instance_id,
            attribute,
            "value",
            is_of_groups,
            attribute not in ('FrameType', 'ContrastBolusAgentAdministered') as is_column,
            len(different) as value_count,
            nullif(
                list_sort(list_distinct(flatten(list_transform(different, lambda one: one.numbers)))), []
            ) as numbers,
            nullif(
                list_sort(list_transform(different, lambda one: array_to_string(one.texts, '\'))), []
            ) as texts
        from chosen
    ),

    named as (
        select
            instance_id,
            any_value("value".numbers[1]) filter (where attribute = 'EchoTime') as EchoTime,
            any_value("value".numbers[1]) filter (where attribute = 'InversionTime') as InversionTime,
            any_value("value".numbers[1]) filter (where attribute = 'RepetitionTime') as RepetitionTime,
            any_value(try_cast("value".numbers[1] as bigint)) filter (where attribute = 'EchoTrainLength') as EchoTrainLength,
            any_value("value".numbers[1]) filter (where attribute = 'FlipAngle') as FlipAngle,
            any_value("value".numbers[1]) filter (where attribute = 'NumberOfAverages') as NumberOfAverages,
            any_value("value".numbers[1]) filter (where attribute = 'PixelBandwidth') as PixelBandwidth,
            any_value("value".numbers[1]) filter (where attribute = 'DiffusionBValue') as DiffusionBValue,
            any_value("value".numbers[1]) filter (where attribute = 'MagneticFieldStrength') as MagneticFieldStrength,
            any_value("value".texts[1]) filter (where attribute = 'InPlanePhaseEncodingDirection') as InPlanePhaseEncodingDirection,
            any_value("value".texts) filter (where attribute = 'ScanningSequence') as ScanningSequence,
            any_value("value".texts) filter (where attribute = 'SequenceVariant') as SequenceVariant,
            any_value("value".texts) filter (where attribute = 'ScanOptions') as ScanOptions,
            any_value("value".texts[1]) filter (where attribute = 'MRAcquisitionType') as MRAcquisitionType,
            any_value("value".texts[1]) filter (where attribute = 'SequenceName') as SequenceName,
            any_value("value".numbers[1]) filter (where attribute = 'KVP') as KVP,
            any_value("value".texts) filter (where attribute = 'ConvolutionKernel') as ConvolutionKernel,
            any_value("value".numbers[1]) filter (where attribute = 'GantryDetectorTilt') as GantryDetectorTilt,
            any_value("value".numbers) filter (where attribute = 'PixelSpacing') as PixelSpacing,
            any_value("value".numbers[1]) filter (where attribute = 'SliceThickness') as SliceThickness,
            any_value("value".numbers[1]) filter (where attribute = 'SpacingBetweenSlices') as SpacingBetweenSlices,
            any_value("value".numbers) filter (where attribute = 'ImageOrientationPatient') as ImageOrientationPatient,
            any_value("value".numbers) filter (where attribute = 'WindowCenter') as WindowCenter,
            any_value("value".numbers) filter (where attribute = 'WindowWidth') as WindowWidth,
            any_value("value".texts[1]) filter (where attribute = 'ContrastBolusAgent') as ContrastBolusAgent,
            any_value("value".numbers[1]) filter (where attribute = 'XRayTubeCurrentInmA') as XRayTubeCurrentInmA,
            any_value("value".numbers[1]) filter (where attribute = 'ExposureInmAs') as ExposureInmAs,
            any_value(numbers) filter (where attribute = 'EchoTime') as echo_times_ms,
            any_value(numbers) filter (where attribute = 'InversionTime') as inversion_times_ms,
            any_value(numbers) filter (where attribute = 'RepetitionTime') as repetition_times_ms,
            any_value(numbers) filter (where attribute = 'FlipAngle') as flip_angles_degrees,
            any_value(numbers) filter (where attribute = 'DiffusionBValue') as b_values,
            any_value(numbers) filter (where attribute = 'KVP') as tube_voltages_kv,
            any_value(numbers) filter (where attribute = 'XRayTubeCurrentInmA') as tube_currents_ma,
            any_value(numbers) filter (where attribute = 'ExposureInmAs') as exposures_mas,
            any_value(texts) filter (where attribute = 'FrameType') as frame_types,
            coalesce(any_value(texts) filter (where attribute = 'ContrastBolusAgentAdministered') = ['NO'], false)
                as is_without_agent,
            list(attribute order by attribute) filter (where is_of_groups and is_column) as functional_groups,
            list(attribute order by attribute) filter (where value_count > 1 and is_column) as frames_differ
        from counted
        group by instance_id
    ),

    agents as (
        select elements.instance_id, any_value(text) as meaning
        from elements
        semi join holders on elements.instance_id = holders.instance_id
        where path = 'ContrastBolusAgentSequence[0]' and tag = '00080104' and "index" = 0
        group by elements.instance_id
    ),

    places as (
        select
            instance_id,
            if(
                count("real") filter (where tag = '00200032') = 0, null, [
                    min("real") filter (where tag = '00200032' and "index" = 0),
                    min("real") filter (where tag = '00200032' and "index" = 1),
                    min("real") filter (where tag = '00200032' and "index" = 2)
                ]
            ) as position_min_mm,
            if(
                count("real") filter (where tag = '00200032') = 0, null, [
                    max("real") filter (where tag = '00200032' and "index" = 0),
                    max("real") filter (where tag = '00200032' and "index" = 1),
                    max("real") filter (where tag = '00200032' and "index" = 2)
                ]
            ) as position_max_mm,
            min("timestamp") filter (where tag = '00189074') as acquired_first,
            max("timestamp") filter (where tag = '00189074') as acquired_last,
            min("timestamp") filter (where tag = '00189151') as reference_first,
            max("timestamp") filter (where tag = '00189151') as reference_last,
            bool_or(is_clock_unknown) as is_clock_unknown,
            nullif(count(distinct "integer") filter (where tag = '00209128'), 0) as temporal_position_count
        from found
        where tag in ('00200032', '00189074', '00189151', '00209128')
        group by instance_id
    )

select
    objects.instance_id,
    objects.not_read,
    named.EchoTime,
    named.InversionTime,
    named.RepetitionTime,
    named.EchoTrainLength,
    named.FlipAngle,
    named.NumberOfAverages,
    named.PixelBandwidth,
    named.DiffusionBValue,
    named.MagneticFieldStrength,
    named.InPlanePhaseEncodingDirection,
    named.ScanningSequence,
    named.SequenceVariant,
    named.ScanOptions,
    named.MRAcquisitionType,
    named.SequenceName,
    named.KVP,
    named.ConvolutionKernel,
    named.GantryDetectorTilt,
    named.PixelSpacing,
    named.SliceThickness,
    named.SpacingBetweenSlices,
    named.ImageOrientationPatient,
    named.WindowCenter,
    named.WindowWidth,
    coalesce(named.ContrastBolusAgent, if(named.is_without_agent, null, agents.meaning)) as ContrastBolusAgent,
    named.XRayTubeCurrentInmA,
    named.ExposureInmAs,
    named.echo_times_ms,
    named.inversion_times_ms,
    named.repetition_times_ms,
    named.flip_angles_degrees,
    named.b_values,
    named.tube_voltages_kv,
    named.tube_currents_ma,
    named.exposures_mas,
    named.frame_types,
    places.position_min_mm,
    places.position_max_mm,
    places.temporal_position_count,
    if(places.is_clock_unknown, null, coalesce(places.acquired_first, places.reference_first)) as first_frame_at,
    if(places.is_clock_unknown, null, coalesce(places.acquired_last, places.reference_last)) as last_frame_at,
    if(objects.not_read is null, coalesce(named.functional_groups, []), null) as functional_groups,
    if(objects.not_read is null, coalesce(named.frames_differ, []), null) as frames_differ
from objects
left join named on objects.instance_id = named.instance_id
left join agents on objects.instance_id = agents.instance_id
left join places on objects.instance_id = places.instance_id;
