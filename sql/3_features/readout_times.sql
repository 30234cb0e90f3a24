-- One row per echo-planar MR instance: its readout time and echo spacing.
--
-- Only instances that say so, or whose private elements were not read.
-- Both times are those of BIDS, made for the correction of distortion: as if each line of the image
-- that is stored had been read, neither skipped for parallel imaging nor interpolated. Siemens states
-- BandwidthPerPixelPhaseEncode (CSA header, (0019,xx28) by SIEMENS MR HEADER, since XA (0021,xx53) by
-- SIEMENS MR SDI 02): spacing is 1 / (bandwidth × lines). GE states the spacing of its echoes in µs
-- (0043,xx2C) and the reciprocal of the acceleration (0043,xx83) by GEMS_PARM_01; the lines that it
-- reads are a multiple of 2, or 4 with partial Fourier (PFF); interpolation makes the readout longer by
-- the same factor, as field maps show (https://github.com/rordenlab/dcm2niix/pull/725). Of UIH nothing is
-- said: the duration of a slice is no such time (https://github.com/rordenlab/dcm2niix/issues/531).
--
-- grain:   instance_id
-- depends: instances, elements, vendor_elements, phase_encoding, mosaic_geometry, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  effective_echo_spacing_s | DOUBLE | s, as BIDS has it
-- column:  total_readout_time_s | DOUBLE | s, as defined by BIDS: from the center of the first line to that of the last
-- column:  readout_source | VARCHAR | private creator that reserved the element, or should have
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view readout_times as
with
    -- Numbers: 0 bandwidth of Siemens; 1 echo spacing, 2 acceleration and 3 lines of GE.
    stated as (
        select
            instance_id, 1 as statement, source_tag as tag,
            coalesce(nullif(creator, ''), 'SIEMENS CSA HEADER') as creator, 0 as what, "real" as number
        from vendor_elements
        where
            name = 'BandwidthPerPixelPhaseEncode'
            and source_path = ''
            and "index" = 0
            and (creator = 'SIEMENS CSA HEADER' or creator = 'SIEMENS MR SDS 01' or creator = '')
        union all
        select instance_id, 2, tag, creator, 0, "real"
        from elements
        where
            path = '' and creator = 'SIEMENS MR HEADER' and tag between '00191000' and '0019FFFF'
            and tag[7:8] = '28' and "index" = 0
        union all
        select instance_id, 3, tag, creator, 0, "real"
        from elements
        where
            creator = 'SIEMENS MR SDI 02' and tag between '00211000' and '0021FFFF'
            and tag[7:8] = '53' and "index" = 0
        union all
        select instance_id, 4, tag, creator, if(tag[7:8] = '2C', 1, 2), coalesce("real", "integer")
        from elements
        where
            path = '' and creator = 'GEMS_PARM_01' and tag between '00431000' and '0043FFFF'
            and tag[7:8] in ('2C', '83') and "index" = 0
        union all
        -- Acquisition Matrix: frequency rows, columns, phase rows, columns; two of them are 0.
        select instance_id, 4, tag, null, 3, "integer"
        from elements
        where path = '' and tag = '00181310' and "index" in (2, 3) and "integer" > 0
    ),

    numbers as (
        select
            instance_id,
            arg_min(number, statement || tag) filter (where what = 0) as bandwidth,
            arg_min(number, tag) filter (where what = 1) as echo_us,
            coalesce(arg_min(number, tag) filter (where what = 2), 1) as skipped,
            max(number) filter (where what = 3) as acquired,
            arg_min(creator, statement || tag) filter (where what < 2) as source
        from stated
        where number > 0 and isfinite(number)
        group by instance_id
    ),

    lined as (
        select
            numbers.*,
            case phase_encoding.phase_encoding_axis
                when 'i' then coalesce(mosaic_geometry.tile_columns, instances."Columns")
                when 'j' then coalesce(mosaic_geometry.tile_rows, instances."Rows")
            end as lines,
            if(list_contains(instances.ScanOptions, 'PFF'), 4, 2) as multiple
        from numbers
        join instances on numbers.instance_id = instances.instance_id
        join phase_encoding on numbers.instance_id = phase_encoding.instance_id
        left join mosaic_geometry on numbers.instance_id = mosaic_geometry.instance_id
        where
            instances.Modality = 'MR'
            and (
                numbers.bandwidth is not null
                or numbers.echo_us is not null and list_contains(instances.ScanningSequence, 'EP')
            )
    ),

    timed as (
        select
            instance_id,
            lines,
            source,
            if(
                bandwidth is not null,
                1 / (bandwidth * lines),
                (ceil(round(acquired * skipped / multiple, 3)) * multiple - 1) * echo_us / 1e6
                / (acquired - 1)
            ) as spacing_s
        from lined
        where lines > 1 and (bandwidth is not null or acquired > 1)
    ),

    lacking as (
        select
            unread.instance_id,
            unread.not_read
        from unread
        join instances on unread.instance_id = instances.instance_id
        where instances.Modality = 'MR'
    )

select
    coalesce(timed.instance_id, lacking.instance_id) as instance_id,
    timed.spacing_s as effective_echo_spacing_s,
    timed.spacing_s * (timed.lines - 1) as total_readout_time_s,
    timed.source as readout_source,
    if(timed.instance_id is null, lacking.not_read, null) as not_read
from timed
full join lacking on timed.instance_id = lacking.instance_id
where timed.spacing_s is not null or lacking.not_read is not null;
