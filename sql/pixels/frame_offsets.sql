-- How many frames of its concatenation come before those of an image. Few images are part of one; asked
-- once of a version.
select
    elements.instance_id,
    elements."integer" as frame_offset
from elements
inner join instances on elements.instance_id = instances.instance_id
where
    elements.tag = '00209228'
    and elements.path = ''
    and elements."index" = 0
    and elements."integer" > 0
