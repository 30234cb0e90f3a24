-- One row per version of a socket of users; an edit adds a version.
--
-- `sockets` has the newest version of each, and the default sockets too.
--
-- grain:   slug, version
-- table:   socket_versions
-- column:  batch | VARCHAR | commit that added the row, or the first of those compacted together
-- column:  slug | VARCHAR | identity: the title as part of an address
-- column:  version | BIGINT | number of the version, from 1; the default sockets have 0
-- column:  pk | BIGINT | number of the socket, the same in all versions
-- column:  title | VARCHAR | name for people, unique
-- column:  description | VARCHAR | what it is for
-- column:  kind | VARCHAR | code of its kind, as in `kinds`
-- column:  relative_path | VARCHAR | where its values lie below /input and /output of an algorithm
-- column:  store_in_database | BOOLEAN | values lie in the table itself; else each is a file
-- column:  schema | VARCHAR | JSON Schema that values must be valid for besides their kind, as JSON text; {} asks nothing
-- column:  default_value | VARCHAR | value where none is given, as JSON text; null if there is none
-- column:  example_value | VARCHAR | a value to copy, as JSON text; null if there is none
-- column:  overlay_segments | VARCHAR | voxel values of a segmentation with name and visibility, as JSON text
-- column:  look_up_table | VARCHAR | how it is colored, as JSON text; null without one
-- column:  is_retired | BOOLEAN | takes no new values
-- column:  edited_at | TIMESTAMP | when the version was made, UTC
-- column:  edited_by | VARCHAR | who created it, as stated
create or replace view socket_versions as
select
    batch,
    slug,
    "version",
    pk,
    title,
    description,
    kind,
    relative_path,
    store_in_database,
    "schema",
    default_value,
    example_value,
    overlay_segments,
    look_up_table,
    is_retired,
    edited_at,
    edited_by
from read_parquet(
    getvariable('stored').socket_versions, hive_partitioning = true, hive_types = {'batch': varchar}
);
