-- One row per instance whose import mode left out elements; none in mode full.
--
-- Views that need such elements say so in `not_read`, with null where else an answer would be: a
-- smaller number, or no row, would look like a fact.
--
-- grain:   instance_id
-- depends: files
-- column:  instance_id | BIGINT | key to `instances`
-- column:  is_without_elements | BOOLEAN | read in mode minimal, so that no element was stored; otherwise private elements only were not stored
-- column:  not_read | VARCHAR | the import mode and what it did not store, as text
create or replace view unread as
select
    instance_id,
    mode = 'minimal' as is_without_elements,
    if(
        mode = 'minimal', 'read in mode minimal: elements were not stored',
        'read in mode normal: private elements were not stored'
    ) as not_read
from files
where status = 'ingested' and mode in ('minimal', 'normal');
