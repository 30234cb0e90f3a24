-- Every long binary value is in `blobs`, unless the ingest was told not to keep them or a warning says
-- that it is too long.
--
-- depends: elements, blobs
-- severity: warn
select elements.sha256, count(*) as n
from elements
left join blobs on elements.sha256 = blobs.sha256
where
    elements.length > 256
    and elements.sha256 is not null
    and blobs.sha256 is null
    and coalesce(elements.warning not like '% bytes: not kept', true)
    and exists (select 1 from blobs)
group by elements.sha256
