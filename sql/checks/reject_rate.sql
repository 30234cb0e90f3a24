-- At most one DICOM file in ten of a batch is rejected; files that are not DICOM do not count.
--
-- depends: files
-- severity: warn
with judged as (
    select
        batch,
        count(*) as files,
        count(*) filter (where status = 'rejected') as rejected
    from files
    where not coalesce(status = 'rejected' and starts_with(reason, 'not DICOM'), false)
    group by batch
)

select batch, files, rejected
from judged
where rejected >= 5 and rejected * 10 > files
