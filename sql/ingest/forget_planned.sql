-- A file that is planned already, and has not changed since, is not planned again.
--
-- reads:     planned, unseen
-- makes:     unseen
delete from unseen
where exists (
    select 1
    from planned
    where
        planned.path = unseen.path
        and planned.size_bytes is not distinct from unseen.size_bytes
        and planned.modified_us is not distinct from unseen.modified_us
)
