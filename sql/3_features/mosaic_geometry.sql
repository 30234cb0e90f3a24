-- One row per Siemens mosaic: the volume whose slices are the tiles of one image.
--
-- Tiles fill a square grid row by row; those after the last slice are black. A mosaic states the
-- position that a single slice of its own size would have, so the corner of the first tile lies half
-- the difference of both sizes further in. Slices follow each other along the normal of the CSA
-- header, which may be opposite to that of rows and columns. Their distance is
-- SpacingBetweenSlices, else that of the first two slices in the protocol; never SliceThickness,
-- which leaves out the gap. Needs mode normal or full.
--
-- grain:   instance_id
-- depends: instances, vendor_elements, siemens_private
-- column:  instance_id | BIGINT | key to `instances`
-- column:  series_key | VARCHAR | key to `series`
-- column:  tile_count | BIGINT | slices: NumberOfImagesInMosaic of the CSA header, else of (0019,xx0A)
-- column:  tiles_per_side | BIGINT | tiles in a row and in a column of the grid
-- column:  tile_rows | BIGINT | rows of a slice
-- column:  tile_columns | BIGINT | columns of a slice
-- column:  position | DOUBLE[] | center of the first voxel of the first slice, mm, LPS
-- column:  slice_normal | DOUBLE[] | SliceNormalVector of the CSA header: direction in which slices follow each other
-- column:  slice_spacing_mm | DOUBLE | distance of slice centers
-- column:  extent_mm | DOUBLE[] | along columns, rows and slices, outer edges
-- column:  affine | DOUBLE[] | 4 × 4, row-major: maps (column, row, slice, 1), from 0, to the voxel center in mm, LPS
-- column:  is_volume | BOOLEAN | the tiles make a volume
-- column:  why_not | VARCHAR | why it is not a volume; null if it is
create or replace view mosaic_geometry as
with mosaics as (
    select
        instance_id,
        series_key,
        if(is_placed, ImagePositionPatient, null) as corner,
        if(is_placed, ImageOrientationPatient[1:3], null) as along_row,
        if(is_placed, ImageOrientationPatient[4:6], null) as along_column,
        if(is_placed, PixelSpacing, null) as spacing,
        "Rows" as row_count,
        "Columns" as column_count,
        if(SpacingBetweenSlices > 0, SpacingBetweenSlices, null) as stated_spacing_mm,
        is_placed
    from (
        select
            *,
            coalesce(
                len(ImagePositionPatient) = 3
                and len(ImageOrientationPatient) = 6
                and len(PixelSpacing) = 2
                and list_min(PixelSpacing) > 0
                and not list_contains(list_transform(
                    ImagePositionPatient || ImageOrientationPatient || PixelSpacing,
                    lambda number: number is null or not isfinite(number)
                ), true)
                and "Rows" > 0 and "Columns" > 0,
                false
            ) as is_placed
        from instances
        where pixel_offset is not null and Modality = 'MR' and list_contains(ImageType, 'MOSAIC')
    )
),

payload_values as (
    select instance_id, name, "index", "integer", "real"
    from vendor_elements
    where
        source_path = ''
        and creator in ('SIEMENS CSA HEADER', 'SIEMENS MR SDS 01', '')
        and "real" is not null
        and name in (
            'NumberOfImagesInMosaic', 'SliceNormalVector',
            'sSliceArray.asSlice[0].sPosition.dSag', 'sSliceArray.asSlice[0].sPosition.dCor',
            'sSliceArray.asSlice[0].sPosition.dTra', 'sSliceArray.asSlice[1].sPosition.dSag',
            'sSliceArray.asSlice[1].sPosition.dCor', 'sSliceArray.asSlice[1].sPosition.dTra'
        )
    qualify source_tag = min(source_tag) over (partition by instance_id, name)
),

-- A protocol leaves out coordinates that are 0; a slice without any coordinate lies at the origin.
siemens as (
    select
        instance_id,
        max("integer") filter (where name = 'NumberOfImagesInMosaic') as tile_count,
        list("real" order by "index") filter (where name = 'SliceNormalVector') as slice_normal,
        if(count(*) filter (where name like 'sSliceArray%') > 0, sqrt(
            power(sum(case name
                when 'sSliceArray.asSlice[1].sPosition.dSag' then "real"
                when 'sSliceArray.asSlice[0].sPosition.dSag' then -"real" else 0
            end), 2)
            + power(sum(case name
                when 'sSliceArray.asSlice[1].sPosition.dCor' then "real"
                when 'sSliceArray.asSlice[0].sPosition.dCor' then -"real" else 0
            end), 2)
            + power(sum(case name
                when 'sSliceArray.asSlice[1].sPosition.dTra' then "real"
                when 'sSliceArray.asSlice[0].sPosition.dTra' then -"real" else 0
            end), 2)
        ), null) as protocol_spacing_mm
    from payload_values
    group by instance_id
),

tiled as (
    select
        mosaics.*,
        coalesce(siemens.tile_count, siemens_private.NumberOfImagesInMosaic) as tile_count,
        if(
            len(siemens.slice_normal) = 3
            and abs(dot_product(siemens.slice_normal, siemens.slice_normal) - 1) <= 1e-3,
            siemens.slice_normal, null
        ) as slice_normal,
        coalesce(
            mosaics.stated_spacing_mm, nullif(siemens.protocol_spacing_mm, 0)
        ) as slice_spacing_mm
    from mosaics
    left join siemens on mosaics.instance_id = siemens.instance_id
    left join siemens_private on mosaics.instance_id = siemens_private.instance_id
),

cut as (
    select
        *,
        if(tile_count > 0, cast(ceil(sqrt(tile_count)) as bigint), null) as tiles_per_side,
        row_count // tiles_per_side as tile_rows,
        column_count // tiles_per_side as tile_columns
    from tiled
),

explained as (
    select
        *,
        list_filter([
            if(tiles_per_side is null, 'the number of tiles is unknown', null),
            if(tile_count = 1, 'a single tile', null),
            if(not is_placed, 'no position, orientation, spacing or size', null),
            if(
                row_count % tiles_per_side != 0 or column_count % tiles_per_side != 0
                or tile_rows = 0 or tile_columns = 0,
                row_count || ' x ' || column_count || ' cannot be cut into '
                || tiles_per_side || ' x ' || tiles_per_side || ' tiles',
                null
            ),
            if(slice_normal is null, 'no slice normal in a CSA header', null),
            if(slice_spacing_mm is null, 'no distance between slices', null),
            if(
                abs(dot_product(along_row, along_column)) > 1e-3,
                'directions not at right angles', null
            ),
            if(
                greatest(
                    abs(dot_product(slice_normal, along_row)),
                    abs(dot_product(slice_normal, along_column))
                ) > 1e-3,
                'the slice normal is not that of the image', null
            )
        ], lambda reason: reason is not null) as reasons,
        if(tiles_per_side is null or not is_placed, null, list_transform(
            range(1, 4),
            lambda axis: corner[axis]
            + along_row[axis] * spacing[2] * (column_count - column_count / tiles_per_side) / 2
            + along_column[axis] * spacing[1] * (row_count - row_count / tiles_per_side) / 2
        )) as position
    from cut
)

select
    instance_id,
    series_key,
    tile_count,
    tiles_per_side,
    tile_rows,
    tile_columns,
    position,
    slice_normal,
    slice_spacing_mm,
    [
        tile_columns * spacing[2], tile_rows * spacing[1], tile_count * slice_spacing_mm
    ] as extent_mm,
    if(len(reasons) = 0, [
        along_row[1] * spacing[2], along_column[1] * spacing[1],
        slice_normal[1] * slice_spacing_mm, position[1],
        along_row[2] * spacing[2], along_column[2] * spacing[1],
        slice_normal[2] * slice_spacing_mm, position[2],
        along_row[3] * spacing[2], along_column[3] * spacing[1],
        slice_normal[3] * slice_spacing_mm, position[3],
        0, 0, 0, 1
    ], null) as affine,
    len(reasons) = 0 as is_volume,
    nullif(array_to_string(reasons, '; '), '') as why_not
from explained;
