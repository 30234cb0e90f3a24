-- When the slices of the images of the series $1, with ids from $2 to $3, were acquired: ms after the
-- begin of its volume of each tile of a mosaic (MosaicRefAcqTimes of the Siemens CSA header).
select
    instance_id,
    list("real" order by "index") as tile_times_ms
from vendor_elements
where
    instance_id between $2 and $3
    and instance_id in (select instances.instance_id from instances where instances.series_key = $1)
    and name = 'MosaicRefAcqTimes'
    and source_path = ''
    and (creator = 'SIEMENS CSA HEADER' or creator = 'SIEMENS MR SDS 01')
    and "real" is not null
group by instance_id
order by instance_id
limit 1
