-- The rows of `files` that a batch adds: every staged file with its final status.
--
-- reads:     staged, verdict
select
    staged.path,
    verdict.status,
    staged.reason,
    staged.error_offset,
    staged.size_bytes,
    staged.modified_at,
    staged.mode,
    staged.reader,
    case when verdict.status = 'ingested' then staged.instance_id end as instance_id,
    staged.instance_key,
    staged.SOPInstanceUID,
    staged.TransferSyntaxUID,
    staged.pixel_offset,
    staged.pixel_length,
    staged.is_encapsulated
from staged
join verdict using (path)
where verdict.status is not null
order by staged.path
