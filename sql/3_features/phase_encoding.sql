-- One row per MR instance: its phase encoding direction.
--
-- Only instances that say anything about it, or whose elements were not read.
-- The axis is In-plane Phase Encoding Direction (0018,1312), of the object or of all its frames. The
-- sign is 1 (positive) or 0 in PhaseEncodingDirectionPositive of the Siemens CSA header or, since XA,
-- in (0021,xx1C) by SIEMENS MR SDI 02; of GE's echo-planar images Rectilinear Phase Encode Reordering
-- (0018,9034): REVERSE_LINEAR is positive, LINEAR is not. Others state the axis only. Positive is towards higher
-- numbers of columns (i) or rows (j).
--
-- BIDS counts along the axes of the NIfTI file. That of `volume --nifti` has columns and rows in the
-- order of the image, so that both columns agree. dcm2niix turns the rows over: its j has the other
-- sign, its i the same.
--
-- grain:   instance_id
-- depends: instances, elements, normal_elements, vendor_elements, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  phase_encoding_axis | VARCHAR | i along a row, j along a column of the image
-- column:  phase_encoding_direction | VARCHAR | in the stored image: i towards the last column, j towards the last row; with - towards the first
-- column:  bids_phase_encoding_direction | VARCHAR | as defined by BIDS, for the NIfTI file that this warehouse writes; dcm2niix flips the rows, so that j has the opposite sign there
-- column:  sign_source | VARCHAR | private creator that reserved the element with the sign, or should have; or `standard`
-- column:  why_not | VARCHAR | why the direction is null, if all was read
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view phase_encoding as
with
    in_groups as (
        select
            instance_id,
            if(min(text) = max(text), min(text), null) as of_frames
        from normal_elements
        where
            tag = '00181312'
            and "index" = 0
            and path between 'PerFrameFunctionalGroupsSequence[' and 'SharedFunctionalGroupsSequence]'
            and regexp_full_match(
                path,
                '(PerFrameFunctionalGroupsSequence\[\d+\]|SharedFunctionalGroupsSequence\[0\])'
                || '\.MRFOVGeometrySequence\[0\]'
            )
        group by instance_id
    ),

    sign_statements as (
        select
            instance_id, 1 as statement, source_tag as tag,
            coalesce(nullif(creator, ''), 'SIEMENS CSA HEADER') as creator, "integer" as positive
        from vendor_elements
        where
            name = 'PhaseEncodingDirectionPositive'
            and source_path = ''
            and "index" = 0
            and (creator = 'SIEMENS CSA HEADER' or creator = 'SIEMENS MR SDS 01' or creator = '')
        union all
        select instance_id, 2, tag, creator, "integer"
        from elements
        where
            creator = 'SIEMENS MR SDI 02' and tag between '00211000' and '0021FFFF'
            and tag[7:8] = '1C' and "index" = 0
        union all
        select
            normal_elements.instance_id, 3, normal_elements.tag, 'standard',
            case normal_elements.text when 'LINEAR' then 0 when 'REVERSE_LINEAR' then 1 end
        from normal_elements
        join instances on normal_elements.instance_id = instances.instance_id
        where
            normal_elements.tag = '00189034' and normal_elements."index" = 0
            and manufacturer_name(instances.Manufacturer) = 'GE'
            and list_contains(instances.ScanningSequence, 'EP')
    ),

    -- Where two blocks hold one element, the first counts; frames that disagree have no one sign.
    signs as (
        select
            instance_id,
            statement,
            any_value(creator) as source,
            if(min(positive) = max(positive), min(positive), null) as positive
        from sign_statements
        where positive is not null
        group by instance_id, statement, tag
        qualify row_number() over (partition by instance_id order by statement, tag) = 1
    ),

    gathered as (
        select
            instances.instance_id,
            coalesce(instances.InPlanePhaseEncodingDirection, in_groups.of_frames) as stated_axis,
            case stated_axis when 'ROW' then 'i' when 'COL' then 'j' when 'COLUMN' then 'j' end as axis,
            case signs.positive when 1 then '' when 0 then '-' end as sign,
            signs.source,
            unread.not_read
        from instances
        left join in_groups on instances.instance_id = in_groups.instance_id
        left join signs on instances.instance_id = signs.instance_id
        -- Of what is private only Siemens needs more than its CSA header.
        left join unread
            on
                instances.instance_id = unread.instance_id
                and signs.positive is null
                and (
                    unread.is_without_elements
                    or coalesce(contains(lower(instances.Manufacturer), 'siemens'), true)
                )
        where instances.Modality = 'MR'
    )

select
    instance_id,
    axis as phase_encoding_axis,
    axis || sign as phase_encoding_direction,
    axis || sign as bids_phase_encoding_direction,
    if(axis || sign is null, null, source) as sign_source,
    case
        when axis is not null and sign is not null or not_read is not null then null
        when stated_axis is null then 'InPlanePhaseEncodingDirection is not stated'
        when axis is null then 'the phase is encoded along no row or column'
        else 'no element that is known states the sign'
    end as why_not,
    not_read
from gathered
where axis is not null or sign is not null or not_read is not null;
