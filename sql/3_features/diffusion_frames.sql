-- One row per frame with a b-value or gradient direction; a single-frame image has one frame.
--
-- Of several statements the first counts: standard elements in the functional groups of the frame,
-- in the shared ones, of the whole object; then the Siemens CSA header; then private elements of
-- Siemens, Philips, United Imaging and GE, found by creator. Private elements are stored in mode
-- full only: an MR instance read in another has a row that says so, unless all is stated elsewhere. UIH states directions along row, column and slice, which are turned into the patient.
-- GE writes b-values with an offset of 1e9, states the largest b-value of a series for its weaker
-- shells and for its images without weighting too, and directions along the axes of its gradients.
-- Here the weaker ones are scaled by the squared length of their direction and rounded to 5, as
-- dcm2niix does. Canon writes `b=1500(0.6,0.64,0.48)` into Image Comments, phase before frequency.
-- How these axes lie in the patient follows from the plane, the axis of phase encoding and Patient
-- Position HFS, as dcm2niix has it; without them they are gradient axes only.
--
-- Anonymizers drop private creators. Elements without one are taken where several facts agree: the
-- manufacturer, the usual block, type and number of values, b-values up to 10,000 in the whole series,
-- and a direction of length one in it. `without_creator` says so. Scanners leave out the b-value of
-- images without weighting: an image without one in the series of weighted images, of the same Image
-- Type, at the position of one, has 0 and the source `inferred`.
--
-- grain:   instance_id, frame_number
-- depends: elements, vendor_elements, instances, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  frame_number | BIGINT | from 1; 1 for an instance of one frame; null if nothing of an instance was read
-- column:  series_key | VARCHAR | the series
-- column:  b_value | DOUBLE | s/mm²; null if none between 0 and 1e6 is stated
-- column:  b_value_source | VARCHAR | private creator that reserved the element, or should have; `standard`, `Image Comments` of Canon, or `inferred`
-- column:  without_creator | BOOLEAN | read from private elements without a creator
-- column:  diffusion_gradient_direction | DOUBLE[] | unit vector in patient coordinates, LPS; null without direction, as in isotropic images, and if only gradient axes are known
-- column:  gradient_axes_direction | DOUBLE[] | GE and Canon: unit vector along frequency, phase and slice gradients, where it is not known how they lie in the patient
-- column:  direction_frame | VARCHAR | reference frame of the direction: patient, image (row, column, slice) or gradient axes
-- column:  b_matrix | DOUBLE[][] | s/mm², symmetric, 3 × 3, patient coordinates
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store; null if nothing
create or replace view diffusion_frames as
with
    -- Parts of a statement: 0 b-value, 1 to 3 direction, 4 to 9 matrix, 10 GE's count of directions.
    standard as (
        select
            instance_id,
            try_cast(regexp_extract(path, '^PerFrameFunctionalGroupsSequence\[(\d+)\]', 1) as bigint) as item,
            case path[:6] when 'PerFra' then 1 when 'Shared' then 2 else 3 end as statement,
            tag,
            case tag
                when '00189087' then 0
                when '00189089' then 1 + "index"
                else 2 + try_cast(tag[8] as integer)
            end as part,
            "real" as value
        from elements
        where
            tag between '00189087' and '00189607'
            and tag in (
                '00189087', '00189089', '00189602', '00189603', '00189604', '00189605', '00189606',
                '00189607'
            )
            and "index" < 3
            and regexp_full_match(
                path,
                '((PerFrameFunctionalGroupsSequence\[\d+\]|SharedFunctionalGroupsSequence\[0\])\.)?'
                || '(MRDiffusionSequence\[0\])?'
                || '(\.?(DiffusionGradientDirectionSequence|DiffusionBMatrixSequence)\[0\])?'
            )
    ),

    csa as (
        select
            instance_id,
            if(creator = '', 14, 4) as statement,
            source_tag,
            case name
                when 'B_value' then 0
                when 'DiffusionGradientDirection' then 1 + "index"
                else 4 + "index"
            end as part,
            "real" as value
        from vendor_elements
        where
            name in ('B_value', 'DiffusionGradientDirection', 'B_matrix')
            and "index" < if(name = 'B_matrix', 6, 3)
            and source_path = ''
            and (creator = 'SIEMENS CSA HEADER' or creator = 'SIEMENS MR SDS 01' or creator = '')
    ),

    -- One scan per creator, each with a range of tags: of the sorted table only these are read.
    private_parts as (
        select
            instance_id, 5 as statement, tag,
            case tag[7:8]
                when '0C' then if("index" = 0, 0, null)
                when '0E' then if("index" < 3, 1 + "index", null)
                when '27' then if("index" < 6, 4 + "index", null)
            end as part,
            coalesce("real", "integer") as value
        from elements
        where path = '' and creator = 'SIEMENS MR HEADER' and tag between '00191000' and '0019FFFF'
        union all
        select instance_id, 6, tag, 0, "real"
        from elements
        where
            path = '' and creator = 'Philips Imaging DD 001' and tag between '20011000' and '2001FFFF'
            and tag[7:8] = '03' and "index" = 0
        union all
        select instance_id, 6, tag, 1 + try_cast(tag[8] as integer), "real"
        from elements
        where
            path = '' and creator = 'Philips MR Imaging DD 001' and tag between '20051000' and '2005FFFF'
            and tag[7:8] in ('B0', 'B1', 'B2') and "index" = 0
        union all
        select
            instance_id, 7, tag,
            case tag[7:8]
                when '09' then if("index" = 0, 0, null)
                when '37' then if("index" < 3, 1 + "index", null)
            end,
            "real"
        from elements
        where path = '' and creator = 'Image Private Header' and tag between '00651000' and '0065FFFF'
        union all
        select instance_id, 8, tag, 0, "integer"
        from elements
        where
            path = '' and creator = 'GEMS_PARM_01' and tag between '00431000' and '0043FFFF'
            and tag[7:8] = '39' and "index" = 0
        union all
        select
            instance_id, 8, tag,
            case tag[7:8] when 'BB' then 1 when 'BC' then 2 when 'BD' then 3 when 'E0' then 10 end,
            "real"
        from elements
        where
            path = '' and creator = 'GEMS_ACQU_01' and tag between '00191000' and '0019FFFF'
            and "index" = 0
    ),

    -- The same elements where nobody reserved their block, 10 higher; facts are weighed below.
    without_creator as (
        select
            instance_id,
            10 + case
                when tag in ('0019100C', '0019100E', '00191027') then 5
                when tag[:4] in ('2001', '2005') then 6
                when tag[:4] = '0065' then 7
                else 8
            end as statement,
            tag,
            case
                when tag in ('0019100C', '20011003', '00651009', '00431039') then if("index" = 0, 0, null)
                when tag in ('0019100E', '00651037') then 1 + "index"
                when tag = '00191027' then 4 + "index"
                when tag[:4] = '2005' then 1 + try_cast(tag[8] as integer)
                when tag = '001910BB' then 1
                when tag = '001910BC' then 2
                when tag = '001910BD' then 3
                when tag = '001910E0' then 10
            end as part,
            coalesce("real", "integer") as value
        from elements
        where
            path = '' and creator is null
            and tag in (
                '0019100C', '0019100E', '00191027', '001910BB', '001910BC', '001910BD', '001910E0',
                '00431039', '00651009', '00651037', '20011003', '200510B0', '200510B1', '200510B2'
            )
            and case
                when tag = '0019100C' then vr = 'IS' and vm = 1
                when tag = '00191027' then vr = 'FD' and vm = 6
                when tag in ('0019100E', '00651037') then vr = 'FD' and vm = 3
                when tag = '00651009' then vr = 'FD' and vm = 1
                when tag[:2] = '20' then vr = 'FL' and vm = 1
                when tag = '00431039' then vr = 'IS' and vm >= 4
                else vr = 'DS' and vm = 1
            end
    ),

    comments as (
        select
            elements.instance_id,
            regexp_extract(elements.text, '^\s*b=([0-9.]+)\(([0-9.+-]+),([0-9.+-]+),([0-9.+-]+)\)\s*$',
                ['b', 'phase', 'frequency', 'slice']) as said
        from elements
        join instances on elements.instance_id = instances.instance_id
        where
            elements.tag = '00204000' and elements.path = '' and elements."index" = 0
            and elements.text like '%b=%(%'
            and manufacturer_name(instances.Manufacturer) = 'Canon'
    ),

    parts as (
        select instance_id, item, statement, tag, part, value from standard
        union all
        select instance_id, null, statement, tag, part, value from without_creator
        where part is not null
        union all
        select
            instance_id, null, 9, '00204000', unnest(range(0, 4)),
            unnest([
                try_cast(said.b as double), try_cast(said.frequency as double),
                try_cast(said.phase as double), try_cast(said.slice as double)
            ])
        from comments
        union all
        select instance_id, null, statement, source_tag, part, value from csa
        union all
        select instance_id, null, statement, tag, part, value from private_parts
        where part is not null
    ),

    -- Where two blocks or payloads hold one element, the first counts.
    stated as (
        select
            instance_id,
            item,
            statement,
            arg_min(value, tag) filter (where part = 0) as b,
            arg_min(value, tag) filter (where part = 1) as x,
            arg_min(value, tag) filter (where part = 2) as y,
            arg_min(value, tag) filter (where part = 3) as z,
            sqrt(x * x + y * y + z * z) as length,
            arg_min(value, tag) filter (where part = 4) as xx,
            arg_min(value, tag) filter (where part = 5) as xy,
            arg_min(value, tag) filter (where part = 6) as xz,
            arg_min(value, tag) filter (where part = 7) as yy,
            arg_min(value, tag) filter (where part = 8) as yz,
            arg_min(value, tag) filter (where part = 9) as zz,
            arg_min(value, tag) filter (where part = 10) as directions
        from parts
        where value is not null
        group by instance_id, item, statement
    ),

    trusted as (
        select
            instances.series_key,
            stated.statement
        from stated
        join instances on stated.instance_id = instances.instance_id
        where stated.statement > 10
        group by instances.series_key, stated.statement
        having
            bool_and(manufacturer_name(instances.Manufacturer) is not distinct from case
                stated.statement when 14 then 'Siemens' when 15 then 'Siemens' when 16 then 'Philips' when 17 then 'UIH'
                when 18 then 'GE'
            end)
            and bool_and(stated.b % 1e9 between 0 and 10000)
            and bool_or(stated.b % 1e9 > 0 and stated.length between 0.97 and 1.03)
            and max(stated.length) <= 1.03
    ),

    item_counts as (
        select instance_id, max("integer") as items
        from elements
        where tag = '52009230' and path = ''
        group by instance_id
    ),

    -- Step by step: a macro repeats what it is given at each number, and what it repeats is planned
    -- again each time.
    scaled as (
        select
            stated.*,
            instances.series_key,
            instances.ImageOrientationPatient,
            if(
                instances.PatientPosition = 'HFS', instances.InPlanePhaseEncodingDirection, null
            ) as phase,
            if(
                stated.item is null,
                range(greatest(
                    1,
                    coalesce(item_counts.items, 0),
                    least(coalesce(instances.NumberOfFrames, 0), coalesce(instances.pixel_length, 0))
                )),
                [stated.item]
            ) as items,
            -- Some writers state vectors that are no unit vectors.
            if(
                stated.length > 0,
                [stated.x / stated.length, stated.y / stated.length, stated.z / stated.length],
                null
            ) as direction,
            if(
                stated.statement % 10 in (8, 9) and stated.length > 0.03,
                [stated.x / stated.length, stated.y / stated.length, stated.z / stated.length],
                null
            ) as axes_direction
        from stated
        join instances on stated.instance_id = instances.instance_id
        left join item_counts on stated.instance_id = item_counts.instance_id
        left join trusted
            on
                instances.series_key = trusted.series_key
                and stated.statement = trusted.statement
        where stated.statement < 10 or trusted.statement is not null
    ),

    turned as (
        select
            *,
            if(
                axes_direction is null, direction,
                in_image(axes_direction, ImageOrientationPatient, phase)
            ) as in_image
        from scaled
    ),

    understood as (
        select
            instance_id,
            series_key,
            statement,
            unnest(items) as item,
            case
                when statement % 10 <> 8 then b
                when length = 0 and directions > 0 then 0
                when length > 0.03 and length < 0.97 and b % 1e9 > 0
                    then greatest(5, round(b % 1e9 * length ** 2 / 5) * 5)
                else b % 1e9
            end as b_value,
            -- What is far from a unit vector says that there is no direction: zero, or Philips' 7.23e75.
            case
                when axes_direction is null and not coalesce(length between 0.5 and 1.5, false) then null
                when axes_direction is null and statement % 10 <> 7 then direction
                else in_patient(ImageOrientationPatient, in_image)
            end as direction,
            axes_direction,
            case statement % 10
                when 7 then 'image' when 8 then 'gradient axes' when 9 then 'gradient axes'
                else 'patient'
            end as direction_frame,
            if(
                xx + xy + xz + yy + yz + zz is null,
                null,
                [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
            ) as b_matrix
        from turned
    ),

    answered as (
        select
            instance_id,
            item + 1 as frame_number,
            any_value(series_key) as series_key,
            arg_min(b_value, statement) filter (where b_value between 0 and 1e6) as b_value,
            [
                'standard', 'standard', 'standard', 'SIEMENS CSA HEADER', 'SIEMENS MR HEADER',
                'Philips Imaging DD 001', 'Image Private Header', 'GEMS_PARM_01', 'Image Comments'
            ][min(statement) filter (where b_value between 0 and 1e6) % 10] as b_value_source,
            min(statement) > 10 as without_creator,
            arg_min(direction, statement) as diffusion_gradient_direction,
            if(
                arg_min(direction, statement) is null, arg_min(axes_direction, statement), null
            ) as gradient_axes_direction,
            arg_min(direction_frame, statement)
                filter (where direction is not null or axes_direction is not null) as direction_frame,
            arg_min(b_matrix, statement) as b_matrix
        from understood
        group by instance_id, item
        having
            count(b_value) filter (where b_value between 0 and 1e6) > 0
            or count(direction) + count(axes_direction) > 0
    ),

    -- Images without a b-value at the positions of weighted ones.
    weighted as (
        select distinct
            instances.series_key,
            instances.ImageType,
            instances.ImagePositionPatient
        from answered
        join instances on answered.instance_id = instances.instance_id
        where answered.b_value > 0 and coalesce(nullif(instances.NumberOfFrames, 0), 1) = 1
    ),

    inferred as (
        select
            instances.instance_id,
            instances.series_key
        from instances
        join weighted
            on
                instances.series_key = weighted.series_key
                and instances.ImageType = weighted.ImageType
                and instances.ImagePositionPatient = weighted.ImagePositionPatient
        anti join answered on instances.instance_id = answered.instance_id
        where
            instances.Modality = 'MR'
            and instances.pixel_offset is not null
            and coalesce(nullif(instances.NumberOfFrames, 0), 1) = 1
            and not list_contains(instances.ImageType, 'DERIVED')
    ),

    known as (
        select * from answered
        union all by name
        select
            instance_id,
            cast(1 as bigint) as frame_number,
            series_key,
            cast(0 as double) as b_value,
            'inferred' as b_value_source,
            false as without_creator
        from inferred
        anti join unread on inferred.instance_id = unread.instance_id
    ),

    -- A CSA header that was read says all that Siemens says.
    lacking as (
        select
            unread.instance_id,
            instances.series_key,
            unread.not_read
        from unread
        join instances on unread.instance_id = instances.instance_id
        anti join csa on unread.instance_id = csa.instance_id and csa.part = 0
        where instances.Modality = 'MR'
    )

select
    coalesce(known.instance_id, lacking.instance_id) as instance_id,
    known.frame_number,
    coalesce(known.series_key, lacking.series_key) as series_key,
    known.b_value,
    known.b_value_source,
    known.without_creator,
    known.diffusion_gradient_direction,
    known.gradient_axes_direction,
    known.direction_frame,
    known.b_matrix,
    if(
        known.b_value = 0
        or known.b_value > 0 and coalesce(
            known.diffusion_gradient_direction, known.gradient_axes_direction
        ) is not null,
        null, lacking.not_read
    ) as not_read
from known
full join lacking on known.instance_id = lacking.instance_id;
