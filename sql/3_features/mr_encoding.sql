-- How an MR instance was encoded: phase direction, plane, diffusion weighting and multiband.
--
-- Standard elements come first, then the Siemens CSA header, then Siemens private elements. What an
-- instance of many frames says per frame is not looked for. In mode minimal only the plane is known.
--
-- grain:   instance_id
-- depends: instances, elements, vendor_elements, siemens_private
-- column:  instance_id | BIGINT | key to `instances`
-- column:  series_key | VARCHAR | the series
-- column:  phase_encoding_direction | VARCHAR | i along a row, j along a column of the image; with - against it; Siemens only, since no standard element has the sign
-- column:  acquisition_plane | VARCHAR | axial, coronal or sagittal, from Image Orientation (Patient) rounded; null if it is oblique to all
-- column:  b_value | DOUBLE | s/mm²
-- column:  diffusion_gradient_direction | DOUBLE[] | unit vector in patient coordinates
-- column:  b_matrix | DOUBLE[][] | s/mm², symmetric, 3 × 3
-- column:  multiband_factor | BIGINT | slices excited at once, from the Siemens protocol; null if it does not say
create or replace view mr_encoding as
with standard as (
    select
        instance_id,
        max(text) filter (where tag = '00181312' and "index" = 0) as in_plane,
        max("real") filter (where tag = '00189087' and "index" = 0) as b_value,
        list("real" order by "index") filter (where tag = '00189089') as direction
    from elements
    where path = '' and vm > 0 and tag in ('00181312', '00189087', '00189089')
    group by instance_id
),

payload_values as (
    select instance_id, name, "index", "integer", "real"
    from vendor_elements
    where
        source_path = ''
        and "real" is not null
        and name in (
            'PhaseEncodingDirectionPositive', 'B_value', 'B_matrix', 'DiffusionGradientDirection',
            'sSliceAcceleration.lMultiBandFactor'
        )
        and (creator = 'SIEMENS CSA HEADER' or creator = 'SIEMENS MR SDS 01')
    qualify source_tag = min(source_tag) over (partition by instance_id, name)
),

siemens as (
    select
        instance_id,
        max("integer") filter (where name = 'PhaseEncodingDirectionPositive') as positive,
        max("real") filter (where name = 'B_value') as b_value,
        list("real" order by "index") filter (where name = 'B_matrix') as b_matrix,
        list("real" order by "index")
            filter (where name = 'DiffusionGradientDirection') as direction,
        max("integer")
            filter (where name = 'sSliceAcceleration.lMultiBandFactor') as multiband_factor
    from payload_values
    group by instance_id
),

gathered as (
    select
        instances.instance_id,
        instances.series_key,
        list_transform(
            instances.ImageOrientationPatient, lambda cosine: round(cosine)
        ) as orientation,
        standard.in_plane,
        siemens.positive,
        siemens.multiband_factor,
        coalesce(standard.b_value, siemens.b_value, siemens_private.B_value) as b_value,
        coalesce(
            standard.direction, siemens.direction, siemens_private.DiffusionGradientDirection
        ) as direction,
        coalesce(siemens.b_matrix, siemens_private.B_matrix) as b
    from instances
    left join standard on instances.instance_id = standard.instance_id
    left join siemens on instances.instance_id = siemens.instance_id
    left join siemens_private on instances.instance_id = siemens_private.instance_id
    where instances.Modality = 'MR'
)

select
    instance_id,
    series_key,
    case in_plane when 'ROW' then 'i' when 'COL' then 'j' end
    || case positive when 0 then '' when 1 then '-' end as phase_encoding_direction,
    case
        when orientation = [1, 0, 0, 0, 1, 0] then 'axial'
        when orientation = [1, 0, 0, 0, 0, -1] then 'coronal'
        when orientation = [0, 1, 0, 0, 0, -1] then 'sagittal'
    end as acquisition_plane,
    b_value,
    case when len(direction) = 3 then direction end as diffusion_gradient_direction,
    case
        when len(b) = 6 then [[b[1], b[2], b[3]], [b[2], b[4], b[5]], [b[3], b[5], b[6]]]
    end as b_matrix,
    multiband_factor
from gathered;
