-- Images whose samples do not lie in the lowest bits of their words: High Bit is not one less than
-- Bits Stored. Few ever; asked once of a version.
select
    instances.instance_id,
    elements."integer" as high_bit
from elements
inner join instances on elements.instance_id = instances.instance_id
where
    elements.tag = '00280102'
    and elements.path = ''
    and elements."index" = 0
    and instances.BitsStored < instances.BitsAllocated
    and elements."integer" <> instances.BitsStored - 1
