-- One row per MR instance: phase encoding direction, plane, diffusion weighting and multiband factor.
--
-- Standard elements come first, then what vendors say; `diffusion_frames` has the order and says
-- it by frame. In mode minimal only the plane is known; `not_read` says what was not.
--
-- grain:   instance_id
-- depends: instances, vendor_elements, diffusion_frames, phase_encoding, readout_times, frame_values
-- column:  instance_id | BIGINT | key to `instances`
-- column:  series_key | VARCHAR | the series
-- column:  phase_encoding_axis | VARCHAR | i along a row, j along a column of the image
-- column:  phase_encoding_direction | VARCHAR | in the stored image: i towards the last column, j towards the last row; with - towards the first; null if no sign is stated
-- column:  bids_phase_encoding_direction | VARCHAR | as BIDS has it, in the NIfTI file that this warehouse writes; see `phase_encoding`
-- column:  effective_echo_spacing_s | DOUBLE | s, as BIDS has it; see `readout_times`
-- column:  total_readout_time_s | DOUBLE | s, as BIDS has it; see `readout_times`
-- column:  acquisition_plane | VARCHAR | axial, coronal or sagittal: the plane within 45° of the image, whichever way its rows run; null if it is oblique to all, or frames lie in several planes
-- column:  b_value | DOUBLE | s/mm²; null if frames have different ones or some have none
-- column:  diffusion_gradient_direction | DOUBLE[] | unit vector in patient coordinates; null of objects of several frames
-- column:  b_matrix | DOUBLE[][] | s/mm², symmetric, 3 × 3; null of objects of several frames
-- column:  multiband_factor | BIGINT | slices excited at once, from the Siemens protocol; null if it does not say
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store; null if nothing
create or replace view mr_encoding as
with
    siemens as (
        select
            instance_id,
            arg_min("integer", source_tag) as multiband_factor
        from vendor_elements
        where
            source_path = ''
            and "index" = 0
            and name = 'sSliceAcceleration.lMultiBandFactor'
            and (creator = 'SIEMENS CSA HEADER' or creator = 'SIEMENS MR SDS 01' or creator = '')
        group by instance_id
    ),

    diffusion as (
        select
            instance_id,
            if(min(b_value) = max(b_value), min(b_value), null) as b_value,
            count(b_value) as weighted_count,
            if(count(*) = 1, any_value(diffusion_gradient_direction), null) as direction,
            if(count(*) = 1, any_value(b_matrix), null) as b_matrix,
            min(not_read) as not_read
        from diffusion_frames
        group by instance_id
    ),

    gathered as (
        select
            instances.instance_id,
            instances.series_key,
            case
                when frames.instance_id is null then instances.ImageOrientationPatient
                when not list_contains(frames.frames_differ, 'ImageOrientationPatient')
                    then frames.ImageOrientationPatient
            end as orientation,
            if(len(orientation) = 6, cross_product(orientation[1:3], orientation[4:6]), null) as normal,
            phase_encoding.phase_encoding_axis,
            phase_encoding.phase_encoding_direction,
            phase_encoding.bids_phase_encoding_direction,
            readout_times.effective_echo_spacing_s,
            readout_times.total_readout_time_s,
            siemens.multiband_factor,
            -- Frames that state nothing have no row in `diffusion_frames`.
            greatest(1, least(
                coalesce(instances.NumberOfFrames, 1), coalesce(instances.pixel_length, 1)
            )) as frame_count,
            if(diffusion.weighted_count >= frame_count, diffusion.b_value, null) as b_value,
            if(frame_count = 1, diffusion.direction, null) as direction,
            if(frame_count = 1, diffusion.b_matrix, null) as b_matrix,
            coalesce(
                diffusion.not_read, phase_encoding.not_read, readout_times.not_read
            ) as not_read
        from instances
        left join phase_encoding on instances.instance_id = phase_encoding.instance_id
        left join readout_times on instances.instance_id = readout_times.instance_id
        left join frame_values as frames on instances.instance_id = frames.instance_id
        left join siemens on instances.instance_id = siemens.instance_id
        left join diffusion on instances.instance_id = diffusion.instance_id
        where instances.Modality = 'MR'
    )

select
    instance_id,
    series_key,
    phase_encoding_axis,
    phase_encoding_direction,
    bids_phase_encoding_direction,
    effective_echo_spacing_s,
    total_readout_time_s,
    -- Its normal is nearer than 45 degrees to one axis at most.
    if(
        list_max(list_transform(normal, lambda part: abs(part)))
        > (sqrt(0.5) + cosine_tolerance()) * sqrt(dot_product(normal, normal)),
        plane_of(normal), null
    ) as acquisition_plane,
    b_value,
    direction as diffusion_gradient_direction,
    b_matrix,
    multiband_factor,
    not_read
from gathered;
