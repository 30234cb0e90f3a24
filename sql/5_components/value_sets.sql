-- One row per value that is in a set: an archive of items, or a reader study of display sets.
--
-- grain:   set_name, item, slug
-- depends: value_set_entries, socket_values, sockets
-- column:  set_name | VARCHAR | the set: an archive, a reader study
-- column:  item | VARCHAR | item of the set
-- column:  slug | VARCHAR | socket; an item has one value of each
-- column:  value_id | VARCHAR | key to `socket_values`
-- column:  form | VARCHAR | value, file, image or series
-- column:  value | VARCHAR | the JSON text of a value that lies in the table
-- column:  relative_path | VARCHAR | where the value lies in the folder of its item
-- column:  listing_rank | BIGINT | sort order of the item in listings, then by slug
-- column:  changed_at | TIMESTAMP | when it was put in, UTC
-- column:  changed_by | VARCHAR | who added it
create or replace view value_sets as
with
newest as (
    select * from value_set_entries
    qualify row_number() over (partition by set_name, item, slug order by entry desc) = 1
)
select
    newest.set_name,
    newest.item,
    newest.slug,
    newest.value_id,
    socket_values.form,
    socket_values."value",
    sockets.relative_path,
    sockets.listing_rank,
    newest.changed_at,
    newest.changed_by
from newest
inner join socket_values on newest.value_id = socket_values.value_id
inner join sockets on newest.slug = sockets.slug;
