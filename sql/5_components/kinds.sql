-- One row per kind of socket.
--
-- The table `sql/rules/kinds.csv`: 25 kinds of JSON, 5 of images, 10 of files.
--
-- grain:   code
-- column:  code | VARCHAR | short name, as Grand Challenge stores it
-- column:  label | VARCHAR | name for people
-- column:  family | VARCHAR | json, image or file
-- column:  extension | VARCHAR | how the relative path of a socket ends; null for images
-- column:  upload_types | VARCHAR[] | media types and suffixes of uploads; empty for images
-- column:  may_be_in_database | BOOLEAN | values may lie in the table itself
-- column:  super_kind_in_database | VARCHAR | kind of values in the table: Value; null if values cannot be stored there
-- column:  super_kind_otherwise | VARCHAR | kind of values that are not in the table: File or Image
-- column:  is_shown_alone | BOOLEAN | mandatory isolation: never shown together with others
-- column:  is_undisplayable | BOOLEAN | no viewer shows it
-- column:  is_previewable | BOOLEAN | a value in the table is short enough for a list
-- column:  is_thumbnail | BOOLEAN | a small picture
-- column:  is_panimg | BOOLEAN | an image in a file, rather than DICOM
-- column:  in_old_edition | BOOLEAN | among the 39 kinds of the older edition
-- column:  item_kind | VARCHAR | for a list of shapes: the kind of each; null otherwise
-- column:  items_key | VARCHAR | for a list of shapes: its key in the value; null otherwise
-- column:  is_annotation | BOOLEAN | its shapes are rows of `annotations`
-- column:  listing_rank | BIGINT | sort order in listings: JSON, thumbnails, charts, other files, images; then by slug
create or replace view kinds as
select
    cells[1] as code,
    cells[2] as label,
    cells[3] as family,
    nullif(cells[4], '') as extension,
    list_filter(string_split(cells[5], '|'), lambda word: word <> '') as upload_types,
    cells[6] = 'true' as may_be_in_database,
    if(cells[6] = 'true', 'Value', null) as super_kind_in_database,
    if(cells[3] = 'image', 'Image', 'File') as super_kind_otherwise,
    cells[7] = 'true' as is_shown_alone,
    cells[8] = 'true' as is_undisplayable,
    cells[9] = 'true' as is_previewable,
    cells[10] = 'true' as is_thumbnail,
    cells[11] = 'true' as is_panimg,
    cells[12] = 'true' as in_old_edition,
    nullif(cells[13], '') as item_kind,
    nullif(cells[14], '') as items_key,
    coalesce(nullif(cells[13], ''), cells[1])
    in ('2DBB', 'DIST', 'POIN', 'POLY', 'LINE', 'ANGL', 'ELLI', '3ANG') as is_annotation,
    cast(case
        when cells[1] = 'CHART' then 3
        when cells[3] = 'json' then 1
        when cells[10] = 'true' then 2
        when cells[3] = 'file' then 4
        else 5
    end as bigint) as listing_rank
from (
    select string_split(unnest(string_split(component_kinds(), chr(10))), chr(9)) as cells
);
