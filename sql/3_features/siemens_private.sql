-- One row per instance with private elements of Siemens MR scanners.
--
-- Found by private creator, in whatever block it reserved: elements of other vendors at the same
-- tags are not taken. Where two blocks hold one element, the first block counts. Private elements
-- are stored in mode full only: otherwise each instance of Siemens, or of no named manufacturer, has
-- a row that says so.
--
-- grain:   instance_id
-- depends: normal_elements, instances, unread
-- column:  instance_id | BIGINT | key to `instances`
-- column:  CSAImageHeaderType | VARCHAR | SIEMENS CSA HEADER (0029,xx08)
-- column:  CSAImageHeaderVersion | VARCHAR | SIEMENS CSA HEADER (0029,xx09)
-- column:  CSAImageHeaderInfo | VARCHAR | SIEMENS CSA HEADER (0029,xx10), digest of the payload: key to `blobs`; its values are in `vendor_elements`
-- column:  CSASeriesHeaderType | VARCHAR | SIEMENS CSA HEADER (0029,xx18)
-- column:  CSASeriesHeaderVersion | VARCHAR | SIEMENS CSA HEADER (0029,xx19)
-- column:  CSASeriesHeaderInfo | VARCHAR | SIEMENS CSA HEADER (0029,xx20), digest of the payload: key to `blobs`; its values are in `vendor_elements`
-- column:  NumberOfImagesInMosaic | BIGINT | SIEMENS MR HEADER (0019,xx0A)
-- column:  SliceMeasurementDuration | DOUBLE | SIEMENS MR HEADER (0019,xx0B), ms
-- column:  B_value | BIGINT | SIEMENS MR HEADER (0019,xx0C), s/mm²
-- column:  DiffusionDirectionality | VARCHAR | SIEMENS MR HEADER (0019,xx0D)
-- column:  DiffusionGradientDirection | DOUBLE[] | SIEMENS MR HEADER (0019,xx0E), unit vector in patient coordinates
-- column:  GradientMode | VARCHAR | SIEMENS MR HEADER (0019,xx0F)
-- column:  B_matrix | DOUBLE[] | SIEMENS MR HEADER (0019,xx27), s/mm²: xx, xy, xz, yy, yz, zz
-- column:  BandwidthPerPixelPhaseEncode | DOUBLE | SIEMENS MR HEADER (0019,xx28), Hz
-- column:  MosaicRefAcqTimes | DOUBLE[] | SIEMENS MR HEADER (0019,xx29), ms of each slice since the first
-- column:  not_read | VARCHAR | what this row needs and the import mode did not store, so that columns are null; null if nothing
create or replace view siemens_private as
with siemens as (
    select
        instance_id,
        creator[9:11] || tag[7:8] as element,
        "index",
        text,
        "integer",
        coalesce("real", "integer") as number,
        vm,
        tag,
        sha256
    from normal_elements
    where
        path = ''
        and vm > 0
        and (
            creator = 'SIEMENS CSA HEADER' and tag between '00291000' and '0029FFFF'
            or creator = 'SIEMENS MR HEADER' and tag between '00191000' and '0019FFFF'
        )
        and tag[7:8] in (
            '08', '09', '10', '18', '19', '20', '0A', '0B', '0C', '0D', '0E', '0F', '27', '28', '29'
        )
),

stated as (
    select
        instance_id,
        arg_min(text, tag) filter (where element = 'CSA08' and "index" = 0) as CSAImageHeaderType,
        arg_min(text, tag) filter (where element = 'CSA09' and "index" = 0) as CSAImageHeaderVersion,
        arg_min(sha256, tag) filter (where element = 'CSA10' and "index" = 0) as CSAImageHeaderInfo,
        arg_min(text, tag) filter (where element = 'CSA18' and "index" = 0) as CSASeriesHeaderType,
        arg_min(text, tag) filter (where element = 'CSA19' and "index" = 0) as CSASeriesHeaderVersion,
        arg_min(sha256, tag) filter (where element = 'CSA20' and "index" = 0) as CSASeriesHeaderInfo,
        arg_min("integer", tag) filter (where element = 'MR 0A' and "index" = 0) as NumberOfImagesInMosaic,
        arg_min(number, tag) filter (where element = 'MR 0B' and "index" = 0) as SliceMeasurementDuration,
        arg_min("integer", tag) filter (where element = 'MR 0C' and "index" = 0) as B_value,
        arg_min(text, tag) filter (where element = 'MR 0D' and "index" = 0) as DiffusionDirectionality,
        list_slice(
            list(number order by tag, "index") filter (where element = 'MR 0E'),
            1, arg_min(vm, tag) filter (where element = 'MR 0E')
        ) as DiffusionGradientDirection,
        arg_min(text, tag) filter (where element = 'MR 0F' and "index" = 0) as GradientMode,
        list_slice(
            list(number order by tag, "index") filter (where element = 'MR 27'),
            1, arg_min(vm, tag) filter (where element = 'MR 27')
        ) as B_matrix,
        arg_min(number, tag) filter (where element = 'MR 28' and "index" = 0) as BandwidthPerPixelPhaseEncode,
        list_slice(
            list(number order by tag, "index") filter (where element = 'MR 29'),
            1, arg_min(vm, tag) filter (where element = 'MR 29')
        ) as MosaicRefAcqTimes
    from siemens
    where element[1:3] = 'CSA' and element[4:5] in ('08', '09', '10', '18', '19', '20')
        or element[1:3] = 'MR ' and element[4:5] not in ('08', '09', '10', '18', '19', '20')
    group by instance_id
),

lacking as (
    select
        unread.instance_id,
        unread.not_read
    from unread
    join instances on unread.instance_id = instances.instance_id
    where coalesce(contains(lower(instances.Manufacturer), 'siemens'), true)
)

select
    coalesce(stated.instance_id, lacking.instance_id) as instance_id,
    stated.* exclude (instance_id),
    lacking.not_read
from stated
full join lacking on stated.instance_id = lacking.instance_id;
