-- When the slices of the images of the series $1, with ids from $2 to $3, were acquired: ms after the
-- begin of its volume of each tile of a mosaic (MosaicRefAcqTimes of the Siemens CSA header), as most
-- volumes have it. The first volume of a multiband series may be a reference without acceleration:
-- among as many, the later ones count.
with stated as (
    select
        instances.InstanceNumber,
        vendor_elements.instance_id,
        list(round(vendor_elements."real" * 0.4) / 0.4 order by vendor_elements."index") as tile_times_ms
    from vendor_elements
    join instances on vendor_elements.instance_id = instances.instance_id
    where
        vendor_elements.instance_id between $2 and $3
        and instances.series_key = $1
        and vendor_elements.name = 'MosaicRefAcqTimes'
        and vendor_elements.source_path = ''
        and vendor_elements.creator in ('SIEMENS CSA HEADER', 'SIEMENS MR SDS 01', '')
        and vendor_elements."real" is not null
    group by instances.InstanceNumber, vendor_elements.instance_id
)

select tile_times_ms
from stated
group by tile_times_ms
order by count(*) desc, max(InstanceNumber) desc, max(instance_id) desc
limit 1
