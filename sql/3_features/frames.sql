-- One row per frame of a multi-frame object, with its functional groups.
--
-- A value of the frame's own groups (Per-Frame Functional Groups Sequence) comes first, then that
-- of the shared ones, then, where instances have such a column, that of the whole object. Only
-- standard groups are looked into, not what vendors nest in private ones. Objects without groups
-- have a row per frame too; their number is not believed beyond the bytes of the pixel data. What
-- they say by frame stands in vectors: times in cine, numbers in nuclear medicine, offsets in dose.
--
-- A position is null rather than guessed, and `position_why_not` says why. Planes of a dose follow
-- PS3.3 C.8.8.3.2: offsets that begin with 0 run along the normal; those that begin with the third
-- coordinate of the position are third coordinates, where rows and columns lie along x and y,
-- either way (feet first too, which the standard leaves open); others mean nothing. Frames of
-- nuclear medicine have position and orientation in the Detector Information Sequence;
-- reconstructed slices follow each other by the signed Spacing Between Slices (C.8.4.15) along the
-- normal. Ultrasound volumes and slides have a frame of reference that is not the patient's.
--
-- Tiles of a slide have their place in the total pixel matrix: frames of TILED_SPARSE state it, those of TILED_FULL
-- have it by their number, as `tiled_images` says. The Z offset is as stated: PS3.3 C.8.12.6.1 has it in µm, and some
-- writers state mm. So it is not computed; `focal_plane_mm` counts from the first plane.
--
-- grain:   instance_id, frame_number
-- depends: elements, group_elements, instances, tiled_images, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  series_key | VARCHAR | key to `series`
-- column:  frame_number | BIGINT | from 1, as DICOM counts frames
-- column:  has_own_groups | BOOLEAN | an item of the Per-Frame Functional Groups Sequence describes it; null if elements were not read
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that all other columns are null; null if nothing
-- column:  FrameType | VARCHAR[] | Frame Type (0008,9007)
-- column:  ComplexImageComponent | VARCHAR | Complex Image Component (0008,9208): MAGNITUDE, PHASE, REAL, IMAGINARY or MIXED
-- column:  ImagePositionPatient | DOUBLE[] | Image Position (Patient) (0020,0032), mm, LPS
-- column:  ImageOrientationPatient | DOUBLE[] | Image Orientation (Patient) (0020,0037), direction cosines of a row, then of a column
-- column:  position_why_not | VARCHAR | why ImagePositionPatient is null; null if it is not
-- column:  ImagePositionVolume | DOUBLE[] | Image Position (Volume) (0020,9301) of an ultrasound volume, mm, in its own frame of reference
-- column:  ImageOrientationVolume | DOUBLE[] | Image Orientation (Volume) (0020,9302) of an ultrasound volume, in its own frame of reference
-- column:  ColumnPositionInTotalImagePixelMatrix | BIGINT | Column Position In Total Image Pixel Matrix (0048,021E) of the first pixel, from 1, stated or computed
-- column:  RowPositionInTotalImagePixelMatrix | BIGINT | Row Position In Total Image Pixel Matrix (0048,021F) of the first pixel, from 1, stated or computed
-- column:  XOffsetInSlideCoordinateSystem | DOUBLE | X Offset in Slide Coordinate System (0040,072A) of the center of the first pixel, mm, stated or computed
-- column:  YOffsetInSlideCoordinateSystem | DOUBLE | Y Offset in Slide Coordinate System (0040,073A) of the center of the first pixel, mm, stated or computed
-- column:  ZOffsetInSlideCoordinateSystem | DOUBLE | Z Offset in Slide Coordinate System (0040,074A) as the frame states it; null if it does not
-- column:  focal_plane | BIGINT | focal plane of a frame of TILED_FULL, from 1
-- column:  focal_plane_mm | DOUBLE | mm from the first focal plane, by Spacing Between Slices; null if that is not stated and there are several
-- column:  OpticalPathIdentifier | VARCHAR[] | Optical Path Identifiers (0048,0106) of the frame, stated or computed
-- column:  tile_why_not | VARCHAR | why a tile has no position in the total pixel matrix or on the slide; null if it has both, and for frames that are not tiles
-- column:  PixelSpacing | DOUBLE[] | Pixel Spacing (0028,0030), mm: between rows, between columns
-- column:  SliceThickness | DOUBLE | Slice Thickness (0018,0050), mm
-- column:  SpacingBetweenSlices | DOUBLE | Spacing Between Slices (0018,0088), mm
-- column:  FrameAcquisitionNumber | BIGINT | Frame Acquisition Number (0020,9156)
-- column:  FrameAcquisitionDateTime | TIMESTAMP | Frame Acquisition DateTime (0018,9074), in the clock of the dates and times of the object
-- column:  FrameReferenceDateTime | TIMESTAMP | Frame Reference DateTime (0018,9151), in the clock of the dates and times of the object
-- column:  date_time_why_not | VARCHAR | why a date-time that is stated is null: it has an offset from UTC, and the clock of the object is unknown
-- column:  FrameAcquisitionDuration | DOUBLE | Frame Acquisition Duration (0018,9220), ms
-- column:  NominalCardiacTriggerDelayTime | DOUBLE | Nominal Cardiac Trigger Delay Time (0020,9153), ms after the R peak
-- column:  NominalPercentageOfCardiacPhase | DOUBLE | Nominal Percentage of Cardiac Phase (0020,9241), %
-- column:  NominalRespiratoryTriggerDelayTime | DOUBLE | Nominal Respiratory Trigger Delay Time (0020,9255), ms
-- column:  NominalPercentageOfRespiratoryPhase | DOUBLE | Nominal Percentage of Respiratory Phase (0020,9245), %
-- column:  TemporalPositionIndex | BIGINT | Temporal Position Index (0020,9128)
-- column:  TemporalPositionTimeOffset | DOUBLE | Temporal Position Time Offset (0020,930D), s
-- column:  StackID | VARCHAR | Stack ID (0020,9056)
-- column:  InStackPositionNumber | BIGINT | In-Stack Position Number (0020,9057)
-- column:  DimensionIndexValues | BIGINT[] | Dimension Index Values (0020,9157), in the order of the Dimension Index Sequence
-- column:  EffectiveEchoTime | DOUBLE | Effective Echo Time (0018,9082), ms
-- column:  EchoTime | DOUBLE | Echo Time (0018,0081), ms; Effective Echo Time (0018,9082) where it is stated
-- column:  RepetitionTime | DOUBLE | Repetition Time (0018,0080), ms
-- column:  FlipAngle | DOUBLE | Flip Angle (0018,1314), degrees
-- column:  InversionTimes | DOUBLE[] | Inversion Times (0018,9079), ms; Inversion Time (0018,0082) where that is stated alone
-- column:  DiffusionBValue | DOUBLE | Diffusion b-value (0018,9087), s/mm²
-- column:  DiffusionGradientOrientation | DOUBLE[] | Diffusion Gradient Orientation (0018,9089), direction cosines, LPS
-- column:  ReferencedSegmentNumber | BIGINT[] | Referenced Segment Number (0062,000B) of a segmentation, stated, or computed of TILED_FULL
-- column:  RescaleSlope | DOUBLE | Rescale Slope (0028,1053)
-- column:  RescaleIntercept | DOUBLE | Rescale Intercept (0028,1052)
-- column:  WindowCenter | DOUBLE[] | Window Center (0028,1050)
-- column:  WindowWidth | DOUBLE[] | Window Width (0028,1051)
-- column:  frame_time_ms | DOUBLE | ms from Content Time (0008,0033) to the frame: Frame Delay and Frame Time or Frame Time Vector, as Frame Increment Pointer says; null otherwise
-- column:  grid_frame_offset_mm | DOUBLE | its value of Grid Frame Offset Vector (3004,000C) of a dose, mm; in Image Position (Patient) already
-- column:  energy_window_number | BIGINT | its value of Energy Window Vector (0054,0010), from 1
-- column:  detector_number | BIGINT | its value of Detector Vector (0054,0020), from 1
-- column:  phase_number | BIGINT | its value of Phase Vector (0054,0030), from 1
-- column:  rotation_number | BIGINT | its value of Rotation Vector (0054,0050), from 1
-- column:  rr_interval_number | BIGINT | its value of R-R Interval Vector (0054,0060), from 1
-- column:  time_slot_number | BIGINT | its value of Time Slot Vector (0054,0070), from 1
-- column:  slice_number | BIGINT | its value of Slice Vector (0054,0080), from 1
-- column:  angular_view_number | BIGINT | its value of Angular View Vector (0054,0090), from 1
-- column:  time_slice_number | BIGINT | its value of Time Slice Vector (0054,0100), from 1
create or replace view frames as
with
    gathered as (
        select
            instance_id,
            item,
            list(text order by "index") filter (where tag = '00089007') as FrameType,
            any_value(text) filter (where tag = '00089208' and "index" = 0) as ComplexImageComponent,
            list("real" order by "index") filter (where tag = '00200032') as ImagePositionPatient,
            list("real" order by "index") filter (where tag = '00200037') as ImageOrientationPatient,
            list("real" order by "index") filter (where tag = '00209301') as ImagePositionVolume,
            list("real" order by "index") filter (where tag = '00209302') as ImageOrientationVolume,
            any_value("integer") filter (where tag = '0048021E' and "index" = 0) as ColumnPositionInTotalImagePixelMatrix,
            any_value("integer") filter (where tag = '0048021F' and "index" = 0) as RowPositionInTotalImagePixelMatrix,
            any_value("real") filter (where tag = '0040072A' and "index" = 0) as XOffsetInSlideCoordinateSystem,
            any_value("real") filter (where tag = '0040073A' and "index" = 0) as YOffsetInSlideCoordinateSystem,
            any_value("real") filter (where tag = '0040074A' and "index" = 0) as ZOffsetInSlideCoordinateSystem,
            list(text order by sequence_item) filter (where tag = '00480106') as OpticalPathIdentifier,
            list("real" order by "index") filter (where tag = '00280030') as PixelSpacing,
            any_value("real") filter (where tag = '00180050' and "index" = 0) as SliceThickness,
            any_value("real") filter (where tag = '00180088' and "index" = 0) as SpacingBetweenSlices,
            any_value("integer") filter (where tag = '00209156' and "index" = 0) as FrameAcquisitionNumber,
            any_value("timestamp") filter (where tag = '00189074' and "index" = 0) as FrameAcquisitionDateTime,
            any_value("timestamp") filter (where tag = '00189151' and "index" = 0) as FrameReferenceDateTime,
            bool_or(is_clock_unknown) as is_clock_unknown,
            any_value("real") filter (where tag = '00189220' and "index" = 0) as FrameAcquisitionDuration,
            any_value("real") filter (where tag = '00209153' and "index" = 0) as NominalCardiacTriggerDelayTime,
            any_value("real") filter (where tag = '00209241' and "index" = 0) as NominalPercentageOfCardiacPhase,
            any_value("real") filter (where tag = '00209255' and "index" = 0) as NominalRespiratoryTriggerDelayTime,
            any_value("real") filter (where tag = '00209245' and "index" = 0) as NominalPercentageOfRespiratoryPhase,
            any_value("integer") filter (where tag = '00209128' and "index" = 0) as TemporalPositionIndex,
            any_value("real") filter (where tag = '0020930D' and "index" = 0) as TemporalPositionTimeOffset,
            any_value(text) filter (where tag = '00209056' and "index" = 0) as StackID,
            any_value("integer") filter (where tag = '00209057' and "index" = 0) as InStackPositionNumber,
            list("integer" order by "index") filter (where tag = '00209157') as DimensionIndexValues,
            any_value("real") filter (where tag = '00189082' and "index" = 0) as EffectiveEchoTime,
            any_value("real") filter (where tag = '00180080' and "index" = 0) as RepetitionTime,
            any_value("real") filter (where tag = '00181314' and "index" = 0) as FlipAngle,
            any_value("real") filter (where tag = '00180081' and "index" = 0) as EchoTime,
            coalesce(
                list("real" order by "index") filter (where tag = '00189079'),
                list("real" order by "index") filter (where tag = '00180082')
            ) as InversionTimes,
            any_value("real") filter (where tag = '00189087' and "index" = 0) as DiffusionBValue,
            list("real" order by "index") filter (where tag = '00189089') as DiffusionGradientOrientation,
            list("integer" order by "index") filter (where tag = '0062000B') as ReferencedSegmentNumber,
            any_value("real") filter (where tag = '00281053' and "index" = 0) as RescaleSlope,
            any_value("real") filter (where tag = '00281052' and "index" = 0) as RescaleIntercept,
            list("real" order by "index") filter (where tag = '00281050') as WindowCenter,
            list("real" order by "index") filter (where tag = '00281051') as WindowWidth
        from group_elements
        group by instance_id, item
    ),

    item_counts as (
        select instance_id, max("integer") as items
        from elements
        where tag = '52009230' and path = ''
        group by instance_id
    ),

    -- One value per frame in elements of the object.
    numbers as (
        select
            instance_id,
            "index" as item,
            any_value("integer") filter (where tag = '00540010') as energy_window_number,
            any_value("integer") filter (where tag = '00540020') as detector_number,
            any_value("integer") filter (where tag = '00540030') as phase_number,
            any_value("integer") filter (where tag = '00540050') as rotation_number,
            any_value("integer") filter (where tag = '00540060') as rr_interval_number,
            any_value("integer") filter (where tag = '00540070') as time_slot_number,
            any_value("integer") filter (where tag = '00540080') as slice_number,
            any_value("integer") filter (where tag = '00540090') as angular_view_number,
            any_value("integer") filter (where tag = '00540100') as time_slice_number
        from elements
        where path = '' and tag between '00540010' and '00540100' and vr = 'US'
        group by instance_id, item
    ),

    offsets as (
        select
            instance_id,
            "index" as item,
            "real" as grid_frame_offset_mm
        from elements
        where path = '' and tag = '3004000C' and vm > 0
    ),

    -- A value that cannot be read leaves the times behind it unknown.
    increments as (
        select
            instance_id,
            "index" as item,
            if(
                count("real") over until_here = count(*) over until_here,
                sum("real") over until_here, null
            ) as elapsed_ms
        from elements
        where path = '' and tag = '00181065' and vm > 0
        window until_here as (partition by instance_id order by "index")
    ),

    -- What says how to read the vectors.
    stated as (
        select
            instance_id,
            list(text) filter (where tag = '00280009' and vm > 0) as pointers,
            count(*) filter (where tag = '00181065') > 0 as has_vector,
            any_value("real") filter (where tag = '00181063' and "index" = 0) as step_ms,
            -- Nothing stated is no delay; what cannot be read is unknown.
            if(
                count(*) filter (where tag = '00181066' and vm > 0) = 0, 0,
                any_value("real") filter (where tag = '00181066' and "index" = 0)
            ) as delay_ms,
            count(*) filter (where tag = '3004000C' and vm > 0) > 0 as has_offsets,
            any_value("real") filter (where tag = '3004000C' and "index" = 0) as first_offset_mm
        from elements
        where
            path = ''
            and (
                tag between '00181063' and '00181066' or tag = '00280009' or tag = '3004000C'
            )
        group by instance_id
    ),

    -- Of each detector of nuclear medicine, counted from 0.
    detectors as (
        select
            instance_id,
            try_cast(regexp_extract(path, '\[(\d+)\]$', 1) as bigint) as item,
            list("real" order by "index") filter (where tag = '00200032') as position,
            list("real" order by "index") filter (where tag = '00200037') as orientation
        from elements
        where
            tag in ('00200032', '00200037')
            and path between 'DetectorInformationSequence[' and 'DetectorInformationSequence]'
            and regexp_full_match(path, 'DetectorInformationSequence\[\d+\]')
            and vm > 0
        group by instance_id, item
    ),

    -- Frames that name no detector are those of all of them, where these say the same.
    equal_detectors as (
        select
            instance_id,
            any_value(position) as position,
            any_value(orientation) as orientation
        from detectors
        group by instance_id
        having count(distinct struct_pack(position := position, orientation := orientation)) = 1
    ),

    numbered as (
        select
            instances.instance_id,
            instances.series_key,
            item_counts.items,
            unnest(range(
                greatest(
                    coalesce(item_counts.items, 0),
                    least(
                        coalesce(instances.NumberOfFrames, if(unread.not_read is null, 0, 1)),
                        coalesce(instances.pixel_length, 0)
                    )
                )
            )) as item
        from instances
        left join item_counts on instances.instance_id = item_counts.instance_id
        left join unread
            on instances.instance_id = unread.instance_id and unread.is_without_elements
        left join tiled_images on instances.instance_id = tiled_images.instance_id
        -- One frame may have groups too, which were not read.
        where
            item_counts.items > 0 or instances.NumberOfFrames > 1 or tiled_images.instance_id is not null
            or unread.not_read is not null
            and (instances.NumberOfFrames = 1 or instances.Modality = 'SEG')
    ),

    -- What the object says of the place of a frame that has no groups of its own.
    stated_places as (
        select
            numbered.instance_id,
            numbered.item,
            coalesce(
                if(numbers.detector_number is null, equal_detectors.position, detectors.position),
                instances.ImagePositionPatient
            ) as first_position,
            coalesce(
                if(
                    numbers.detector_number is null, equal_detectors.orientation, detectors.orientation
                ),
                instances.ImageOrientationPatient
            ) as directions,
            offsets.grid_frame_offset_mm as offset_mm,
            case
                when instances.SOPClassUID = '1.2.840.10008.5.1.4.1.1.481.2' or stated.has_offsets
                    then case
                        when not coalesce(stated.has_offsets, false) then 'no Grid Frame Offset Vector'
                        when offsets.grid_frame_offset_mm is null
                            then 'no value in the Grid Frame Offset Vector'
                        when stated.first_offset_mm = 0 then 'relative'
                        when not coalesce(stated.first_offset_mm = first_position[3], false)
                            then 'the Grid Frame Offset Vector begins neither with 0 nor with the '
                                || 'third coordinate of the position'
                        when
                            len(directions) = 6
                            and largest_difference(
                                list_transform(directions, lambda cosine: abs(cosine)), [1, 0, 0, 0, 1, 0]
                            ) <= cosine_tolerance()
                            then 'absolute'
                        else 'the Grid Frame Offset Vector holds third coordinates, but rows and '
                            || 'columns do not lie along x and y'
                    end
                when instances.SOPClassUID = '1.2.840.10008.5.1.4.1.1.20'
                    then case
                        when list_contains(['TOMO', 'GATED TOMO'], instances.ImageType[3])
                            then 'projections: the detector moves'
                        when not coalesce(contains(instances.ImageType[3], 'RECON'), false)
                            and numbers.slice_number is null
                            then 'object'
                        when numbers.slice_number is null then 'no Slice Vector'
                        when instances.SpacingBetweenSlices is null then 'no Spacing Between Slices'
                        else 'slices'
                    end
                when
                    instances.SOPClassUID = '1.2.840.10008.5.1.4.1.1.77.1.6'
                    or tiled_images.instance_id is not null and instances.ImagePositionPatient is null
                    then 'tiles lie in the frame of reference of the slide, not of the patient'
                else 'object'
            end as rule,
            case rule
                when 'relative' then offset_mm
                when 'slices' then (numbers.slice_number - 1) * instances.SpacingBetweenSlices
            end as along_normal_mm,
            case
                when rule = 'object' then first_position
                when rule = 'absolute' then first_position[1:2] || [offset_mm]
                when along_normal_mm is not null and len(first_position) = 3 and len(directions) = 6
                    then list_transform(
                        list_zip(first_position, cross_product(directions[1:3], directions[4:6])),
                        lambda axis: axis[1] + along_normal_mm * axis[2]
                    )
            end as frame_position
        from numbered
        join instances on numbered.instance_id = instances.instance_id
        left join stated on numbered.instance_id = stated.instance_id
        left join offsets on numbered.instance_id = offsets.instance_id and numbered.item = offsets.item
        left join numbers on numbered.instance_id = numbers.instance_id and numbered.item = numbers.item
        left join detectors
            on
                numbered.instance_id = detectors.instance_id
                and numbers.detector_number = detectors.item + 1
        left join equal_detectors on numbered.instance_id = equal_detectors.instance_id
        left join tiled_images on numbered.instance_id = tiled_images.instance_id
    ),

    -- Of frames of TILED_FULL: from 0, column and row of tiles, focal plane, optical path or segment.
    tiles as (
        select
            numbered.instance_id,
            numbered.item,
            tiled_images.first_frame + numbered.item as number,
            tiled_images.tile_columns * tiled_images.tile_rows as tiles_of_plane,
            (number % tiles_of_plane) % tiled_images.tile_columns as tile_column,
            (number % tiles_of_plane) // tiled_images.tile_columns as tile_row,
            (number // tiles_of_plane) % tiled_images.TotalPixelMatrixFocalPlanes as plane,
            number // (tiles_of_plane * tiled_images.TotalPixelMatrixFocalPlanes) as channel
        from numbered
        join tiled_images on numbered.instance_id = tiled_images.instance_id
        where
            tiled_images.DimensionOrganizationType = 'TILED_FULL' and tiled_images.tiles_why_not is null
            and tiled_images.not_read is null
    )

select
    numbered.instance_id,
    numbered.series_key,
    numbered.item + 1 as frame_number,
    if(
        unread.not_read is null, coalesce(numbered.item < numbered.items, false), null
    ) as has_own_groups,
    unread.not_read,
    coalesce(own.FrameType, shared.FrameType) as FrameType,
    coalesce(own.ComplexImageComponent, shared.ComplexImageComponent) as ComplexImageComponent,
    coalesce(
        own.ImagePositionPatient, shared.ImagePositionPatient, places.frame_position
    ) as ImagePositionPatient,
    coalesce(
        own.ImageOrientationPatient, shared.ImageOrientationPatient, places.directions
    ) as ImageOrientationPatient,
    case
        when unread.not_read is not null then null
        when coalesce(own.ImagePositionPatient, shared.ImagePositionPatient, places.frame_position)
            is not null
            then null
        when coalesce(own.ImagePositionVolume, shared.ImagePositionVolume) is not null
            then 'frames lie in the frame of reference of an ultrasound volume, not of the patient'
        when places.rule not in ('object', 'relative', 'absolute', 'slices') then places.rule
        when instances.Modality in ('XA', 'RF', 'CR', 'DX', 'MG')
            then 'a projection without a position in the patient'
        else 'no position'
    end as position_why_not,
    coalesce(own.ImagePositionVolume, shared.ImagePositionVolume) as ImagePositionVolume,
    coalesce(own.ImageOrientationVolume, shared.ImageOrientationVolume) as ImageOrientationVolume,
    coalesce(
        own.ColumnPositionInTotalImagePixelMatrix, tiles.tile_column * instances."Columns" + 1
    ) as ColumnPositionInTotalImagePixelMatrix,
    coalesce(
        own.RowPositionInTotalImagePixelMatrix, tiles.tile_row * instances."Rows" + 1
    ) as RowPositionInTotalImagePixelMatrix,
    coalesce(
        own.XOffsetInSlideCoordinateSystem,
        if(tiled_images.slide_why_not is null, tiled_images.XOffsetInSlideCoordinateSystem, null)
        + tiles.tile_column * instances."Columns" * coalesce(own.PixelSpacing, shared.PixelSpacing)[2] * tiled_images.ImageOrientationSlide[1]
        + tiles.tile_row * instances."Rows" * coalesce(own.PixelSpacing, shared.PixelSpacing)[1] * tiled_images.ImageOrientationSlide[4]
    ) as XOffsetInSlideCoordinateSystem,
    coalesce(
        own.YOffsetInSlideCoordinateSystem,
        if(tiled_images.slide_why_not is null, tiled_images.YOffsetInSlideCoordinateSystem, null)
        + tiles.tile_column * instances."Columns" * coalesce(own.PixelSpacing, shared.PixelSpacing)[2] * tiled_images.ImageOrientationSlide[2]
        + tiles.tile_row * instances."Rows" * coalesce(own.PixelSpacing, shared.PixelSpacing)[1] * tiled_images.ImageOrientationSlide[5]
    ) as YOffsetInSlideCoordinateSystem,
    own.ZOffsetInSlideCoordinateSystem,
    tiles.plane + 1 as focal_plane,
    if(tiled_images.TotalPixelMatrixFocalPlanes = 1, 0, tiles.plane * coalesce(
        own.SpacingBetweenSlices, shared.SpacingBetweenSlices
    )) + 0.0 * tiles.plane as focal_plane_mm,
    coalesce(
        own.OpticalPathIdentifier, shared.OpticalPathIdentifier, if(
            tiled_images.segment_numbers is null and tiles.channel < len(tiled_images.optical_paths),
            [tiled_images.optical_paths[tiles.channel + 1]], null
        )
    ) as OpticalPathIdentifier,
    case
        when unread.not_read is not null or tiled_images.instance_id is null then null
        when own.ColumnPositionInTotalImagePixelMatrix is not null and own.RowPositionInTotalImagePixelMatrix is not null
            then if(
                own.XOffsetInSlideCoordinateSystem is null or own.YOffsetInSlideCoordinateSystem is null,
                'the frame states no position on the slide', null
            )
        when tiles.item is null
            then coalesce(tiled_images.tiles_why_not, 'the frame states no place in the total pixel matrix')
        when coalesce(own.PixelSpacing, shared.PixelSpacing) is null or len(coalesce(own.PixelSpacing, shared.PixelSpacing)) <> 2
            then coalesce(tiled_images.slide_why_not, 'no Pixel Spacing')
        else tiled_images.slide_why_not
    end as tile_why_not,
    coalesce(own.PixelSpacing, shared.PixelSpacing, instances.PixelSpacing) as PixelSpacing,
    coalesce(own.SliceThickness, shared.SliceThickness, instances.SliceThickness) as SliceThickness,
    coalesce(own.SpacingBetweenSlices, shared.SpacingBetweenSlices, instances.SpacingBetweenSlices) as SpacingBetweenSlices,
    coalesce(own.FrameAcquisitionNumber, shared.FrameAcquisitionNumber) as FrameAcquisitionNumber,
    coalesce(own.FrameAcquisitionDateTime, shared.FrameAcquisitionDateTime) as FrameAcquisitionDateTime,
    coalesce(own.FrameReferenceDateTime, shared.FrameReferenceDateTime) as FrameReferenceDateTime,
    if(
        own.is_clock_unknown or shared.is_clock_unknown,
        'it has an offset from UTC, and the object no TimezoneOffsetFromUTC', null
    ) as date_time_why_not,
    coalesce(own.FrameAcquisitionDuration, shared.FrameAcquisitionDuration) as FrameAcquisitionDuration,
    coalesce(own.NominalCardiacTriggerDelayTime, shared.NominalCardiacTriggerDelayTime) as NominalCardiacTriggerDelayTime,
    coalesce(
        own.NominalPercentageOfCardiacPhase, shared.NominalPercentageOfCardiacPhase
    ) as NominalPercentageOfCardiacPhase,
    coalesce(
        own.NominalRespiratoryTriggerDelayTime, shared.NominalRespiratoryTriggerDelayTime
    ) as NominalRespiratoryTriggerDelayTime,
    coalesce(
        own.NominalPercentageOfRespiratoryPhase, shared.NominalPercentageOfRespiratoryPhase
    ) as NominalPercentageOfRespiratoryPhase,
    coalesce(own.TemporalPositionIndex, shared.TemporalPositionIndex) as TemporalPositionIndex,
    coalesce(own.TemporalPositionTimeOffset, shared.TemporalPositionTimeOffset) as TemporalPositionTimeOffset,
    coalesce(own.StackID, shared.StackID) as StackID,
    coalesce(own.InStackPositionNumber, shared.InStackPositionNumber) as InStackPositionNumber,
    coalesce(own.DimensionIndexValues, shared.DimensionIndexValues) as DimensionIndexValues,
    coalesce(own.EffectiveEchoTime, shared.EffectiveEchoTime) as EffectiveEchoTime,
    coalesce(
        own.EffectiveEchoTime, own.EchoTime, shared.EffectiveEchoTime, shared.EchoTime, instances.EchoTime
    ) as EchoTime,
    coalesce(own.RepetitionTime, shared.RepetitionTime, instances.RepetitionTime) as RepetitionTime,
    coalesce(own.FlipAngle, shared.FlipAngle, instances.FlipAngle) as FlipAngle,
    coalesce(
        own.InversionTimes, shared.InversionTimes,
        if(instances.InversionTime is null, null, [instances.InversionTime])
    ) as InversionTimes,
    coalesce(own.DiffusionBValue, shared.DiffusionBValue, instances.DiffusionBValue) as DiffusionBValue,
    coalesce(own.DiffusionGradientOrientation, shared.DiffusionGradientOrientation) as DiffusionGradientOrientation,
    coalesce(
        own.ReferencedSegmentNumber, shared.ReferencedSegmentNumber,
        if(tiles.channel < len(tiled_images.segment_numbers), [tiled_images.segment_numbers[tiles.channel + 1]], null)
    ) as ReferencedSegmentNumber,
    coalesce(own.RescaleSlope, shared.RescaleSlope, instances.RescaleSlope) as RescaleSlope,
    coalesce(own.RescaleIntercept, shared.RescaleIntercept, instances.RescaleIntercept) as RescaleIntercept,
    coalesce(own.WindowCenter, shared.WindowCenter, instances.WindowCenter) as WindowCenter,
    coalesce(own.WindowWidth, shared.WindowWidth, instances.WindowWidth) as WindowWidth,
    stated.delay_ms + case
        when stated.pointers = ['00181065'] then increments.elapsed_ms
        when stated.pointers = ['00181063'] or stated.pointers is null and not stated.has_vector
            then stated.step_ms * numbered.item
    end as frame_time_ms,
    places.offset_mm as grid_frame_offset_mm,
    numbers.energy_window_number,
    numbers.detector_number,
    numbers.phase_number,
    numbers.rotation_number,
    numbers.rr_interval_number,
    numbers.time_slot_number,
    numbers.slice_number,
    numbers.angular_view_number,
    numbers.time_slice_number
from numbered
left join unread on numbered.instance_id = unread.instance_id and unread.is_without_elements
-- What the object says does not count where what its frames say was not read.
left join instances on numbered.instance_id = instances.instance_id and unread.not_read is null
left join gathered as own
    on numbered.instance_id = own.instance_id and numbered.item = own.item
left join gathered as shared
    on numbered.instance_id = shared.instance_id and shared.item is null
left join numbers
    on numbered.instance_id = numbers.instance_id and numbered.item = numbers.item
join stated_places as places
    on numbered.instance_id = places.instance_id and numbered.item = places.item
left join increments
    on numbered.instance_id = increments.instance_id and numbered.item = increments.item
left join stated on numbered.instance_id = stated.instance_id
left join tiles on numbered.instance_id = tiles.instance_id and numbered.item = tiles.item
left join tiled_images on numbered.instance_id = tiled_images.instance_id;
