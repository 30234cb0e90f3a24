-- What Siemens MR scanners say in private elements, one row per instance that has any.
--
-- Found by private creator, in whatever block it reserved: elements of other vendors at the same
-- tags are not taken. Where two blocks hold one element, the first block counts. Private elements
-- are stored in mode full only.
--
-- grain:   instance_id
-- depends: elements
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
create or replace view siemens_private as
with siemens as (
    select
        instance_id,
        creator[9:11] || tag[7:8] as element,
        "index",
        text,
        "integer",
        coalesce("real", "integer") as number,
        sha256
    from elements
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
    qualify tag = min(tag) over (partition by instance_id, creator, tag[7:8])
)

select
    instance_id,
    max(text) filter (where element = 'CSA08') as CSAImageHeaderType,
    max(text) filter (where element = 'CSA09') as CSAImageHeaderVersion,
    max(sha256) filter (where element = 'CSA10') as CSAImageHeaderInfo,
    max(text) filter (where element = 'CSA18') as CSASeriesHeaderType,
    max(text) filter (where element = 'CSA19') as CSASeriesHeaderVersion,
    max(sha256) filter (where element = 'CSA20') as CSASeriesHeaderInfo,
    max("integer") filter (where element = 'MR 0A') as NumberOfImagesInMosaic,
    max(number) filter (where element = 'MR 0B') as SliceMeasurementDuration,
    max("integer") filter (where element = 'MR 0C') as B_value,
    max(text) filter (where element = 'MR 0D') as DiffusionDirectionality,
    list(number order by "index") filter (where element = 'MR 0E') as DiffusionGradientDirection,
    max(text) filter (where element = 'MR 0F') as GradientMode,
    list(number order by "index") filter (where element = 'MR 27') as B_matrix,
    max(number) filter (where element = 'MR 28') as BandwidthPerPixelPhaseEncode,
    list(number order by "index") filter (where element = 'MR 29') as MosaicRefAcqTimes
from siemens
where element[1:3] = 'CSA' and element[4:5] in ('08', '09', '10', '18', '19', '20')
    or element[1:3] = 'MR ' and element[4:5] not in ('08', '09', '10', '18', '19', '20')
group by instance_id;
