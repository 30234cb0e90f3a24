-- What the CSA headers of the series $1 say of its mosaics: how many slices, and along which normal.
select
    vendor_elements.instance_id,
    vendor_elements.name,
    vendor_elements."index",
    vendor_elements."real"
from vendor_elements
semi join instances
    on vendor_elements.instance_id = instances.instance_id and instances.series_key = $1
where
    vendor_elements.name in ('NumberOfImagesInMosaic', 'SliceNormalVector')
    and vendor_elements.source_path = ''
    and vendor_elements."real" is not null
qualify
    vendor_elements.source_tag
    = min(vendor_elements.source_tag) over (partition by vendor_elements.instance_id, vendor_elements.name)
order by vendor_elements.instance_id, vendor_elements.name, vendor_elements."index"
