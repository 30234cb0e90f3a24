-- One row per frame with a diffusion b-value or gradient direction; an image of one frame is one.
--
-- Of several statements the first counts: standard elements in the functional groups of the frame,
-- in the shared ones, of the whole object; then the Siemens CSA header; then private elements of
-- Siemens, Philips, United Imaging and GE, found by creator. Private elements are stored in mode
-- full only: an MR instance read in another has a row that says so, unless all is stated elsewhere. UIH states directions along row, column and slice, which are turned into the patient.
-- GE writes b-values with an offset of 1e9, states the largest b-value of a series for its weaker
-- shells and for its images without weighting too, and directions along the axes of its gradients.
-- Here the weaker ones are scaled by the squared length of their direction and rounded to 5, as
-- dcm2niix does. Canon's directions stand in comments and are not taken.
--
-- grain:   instance_id, frame_number
-- depends: elements, vendor_elements, instances, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  frame_number | BIGINT | from 1; 1 for an instance of one frame; null if nothing of an instance was read
-- column:  series_key | VARCHAR | the series
-- column:  b_value | DOUBLE | s/mm²; null if none between 0 and 1e6 is stated
-- column:  b_value_source | VARCHAR | private creator that reserved the element, or `standard`
-- column:  diffusion_gradient_direction | DOUBLE[] | unit vector in patient coordinates, LPS; null without direction, as in isotropic images, and if only gradient axes are known
-- column:  gradient_axes_direction | DOUBLE[] | GE: unit vector along frequency, phase and slice gradients; how they lie in the patient depends on the order of slices
-- column:  b_matrix | DOUBLE[][] | s/mm², symmetric, 3 × 3, patient coordinates
-- column:  not_read | VARCHAR | what the import mode left out of what this row needs; null if nothing
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
            and (creator = 'SIEMENS CSA HEADER' or creator = 'SIEMENS MR SDS 01')
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

    parts as (
        select instance_id, item, statement, tag, part, value from standard
        union all
        select instance_id, null, 4, source_tag, part, value from csa
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

    item_counts as (
        select instance_id, max("integer") as items
        from elements
        where tag = '52009230' and path = ''
        group by instance_id
    ),

    understood as (
        select
            instances.instance_id,
            instances.series_key,
            stated.statement,
            unnest(if(
                stated.item is null,
                range(greatest(
                    1,
                    coalesce(item_counts.items, 0),
                    least(coalesce(instances.NumberOfFrames, 0), coalesce(instances.pixel_length, 0))
                )),
                [stated.item]
            )) as item,
            case
                when stated.statement < 8 then stated.b
                when stated.length = 0 and stated.directions > 0 then 0
                when stated.length > 0.03 and stated.length < 0.97 and stated.b % 1e9 > 0
                    then greatest(5, round(stated.b % 1e9 * stated.length ** 2 / 5) * 5)
                else stated.b % 1e9
            end as b_value,
            -- What is no unit vector says that there is no direction: zero, or Philips' 7.23e75.
            case
                when not coalesce(stated.length between 0.5 and 1.5, false) or stated.statement = 8 then null
                when stated.statement = 7
                    then list_transform(
                        list_zip(
                            instances.ImageOrientationPatient[1:3],
                            instances.ImageOrientationPatient[4:6],
                            cross_product(
                                instances.ImageOrientationPatient[1:3],
                                instances.ImageOrientationPatient[4:6]
                            )
                        ),
                        lambda axis: stated.x * axis[1] + stated.y * axis[2] + stated.z * axis[3]
                    )
                else [stated.x, stated.y, stated.z]
            end as direction,
            if(
                stated.statement = 8 and stated.length > 0.03,
                [stated.x / stated.length, stated.y / stated.length, stated.z / stated.length],
                null
            ) as axes_direction,
            if(
                stated.xx + stated.xy + stated.xz + stated.yy + stated.yz + stated.zz is null,
                null,
                [
                    [stated.xx, stated.xy, stated.xz],
                    [stated.xy, stated.yy, stated.yz],
                    [stated.xz, stated.yz, stated.zz]
                ]
            ) as b_matrix
        from stated
        join instances on stated.instance_id = instances.instance_id
        left join item_counts on stated.instance_id = item_counts.instance_id
    ),

    answered as (
        select
            instance_id,
            item + 1 as frame_number,
            any_value(series_key) as series_key,
            arg_min(b_value, statement) filter (where b_value between 0 and 1e6) as b_value,
            [
                'standard', 'standard', 'standard', 'SIEMENS CSA HEADER', 'SIEMENS MR HEADER',
                'Philips Imaging DD 001', 'Image Private Header', 'GEMS_PARM_01'
            ][min(statement) filter (where b_value between 0 and 1e6)] as b_value_source,
            arg_min(direction, statement) as diffusion_gradient_direction,
            if(
                arg_min(direction, statement) is null, arg_min(axes_direction, statement), null
            ) as gradient_axes_direction,
            arg_min(b_matrix, statement) as b_matrix
        from understood
        group by instance_id, item
        having
            count(b_value) filter (where b_value between 0 and 1e6) > 0
            or count(direction) + count(axes_direction) > 0
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
    coalesce(answered.instance_id, lacking.instance_id) as instance_id,
    answered.frame_number,
    coalesce(answered.series_key, lacking.series_key) as series_key,
    answered.b_value,
    answered.b_value_source,
    answered.diffusion_gradient_direction,
    answered.gradient_axes_direction,
    answered.b_matrix,
    if(
        answered.b_value = 0
        or answered.b_value > 0 and coalesce(
            answered.diffusion_gradient_direction, answered.gradient_axes_direction
        ) is not null,
        null, lacking.not_read
    ) as not_read
from answered
full join lacking on answered.instance_id = lacking.instance_id;
