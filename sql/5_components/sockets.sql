-- One row per socket: its newest version, with the properties of its kind.
--
-- The seven default sockets are there in every warehouse.
--
-- grain:   slug
-- depends: socket_versions, kinds
-- column:  slug | VARCHAR | identity: the title as part of an address
-- column:  pk | BIGINT | number of the socket
-- column:  title | VARCHAR | name for people, unique
-- column:  description | VARCHAR | what it is for
-- column:  kind | VARCHAR | code of its kind
-- column:  kind_label | VARCHAR | name of its kind
-- column:  super_kind | VARCHAR | kind of its values: Value, File or Image
-- column:  relative_path | VARCHAR | where its values lie below /input and /output of an algorithm
-- column:  store_in_database | BOOLEAN | values lie in the table itself; else each is a file
-- column:  schema | VARCHAR | JSON Schema besides the kind, as JSON text; {} asks nothing
-- column:  default_value | VARCHAR | value where none is given, as JSON text; null if there is none
-- column:  example_value | VARCHAR | a value to copy, as JSON text; null if there is none
-- column:  overlay_segments | VARCHAR | voxel values of a segmentation with name and visibility, as JSON text
-- column:  look_up_table | VARCHAR | how it is colored, as JSON text; null without one
-- column:  version | BIGINT | number of the version; 0 for a default socket
-- column:  is_default | BOOLEAN | one of the seven that every warehouse has
-- column:  is_reserved | BOOLEAN | not offered as input or output of algorithms
-- column:  is_retired | BOOLEAN | takes no new values
-- column:  listing_rank | BIGINT | sort order in listings, then by slug
-- column:  edited_at | TIMESTAMP | when the version was made, UTC; null for a default socket
-- column:  edited_by | VARCHAR | who created it, as stated
create or replace view sockets as
with
given as (
    select string_split(unnest(string_split(default_sockets(), chr(10))), chr(9)) as cells
),
every as (
    select * exclude batch
    from socket_versions
    union all by name
    select
        cells[1] as slug,
        0 as "version",
        cast(cells[2] as bigint) as pk,
        cells[3] as title,
        '' as description,
        cells[4] as kind,
        cells[5] as relative_path,
        cells[6] = 'true' as store_in_database,
        '{}' as "schema",
        '[]' as overlay_segments,
        false as is_retired,
        '' as edited_by
    from given
),
newest as (
    select * from every
    qualify row_number() over (partition by slug order by "version" desc) = 1
),
reserved as (
    select list(cells[1]) filter (cells[7] = 'true') as slugs from given
)
select
    newest.slug,
    newest.pk,
    newest.title,
    newest.description,
    newest.kind,
    kinds.label as kind_label,
    if(
        newest.store_in_database, kinds.super_kind_in_database, kinds.super_kind_otherwise
    ) as super_kind,
    newest.relative_path,
    newest.store_in_database,
    newest."schema",
    newest.default_value,
    newest.example_value,
    newest.overlay_segments,
    newest.look_up_table,
    newest."version",
    newest.pk <= 7 as is_default,
    list_contains(reserved.slugs, newest.slug) as is_reserved,
    newest.is_retired,
    kinds.listing_rank,
    newest.edited_at,
    newest.edited_by
from newest
inner join kinds on newest.kind = kinds.code
cross join reserved;
