-- One row per distinct value of a socket, however many people or algorithms state it.
--
-- A value is a JSON value in this table, a file, an image in a file, or a series of the archive as DICOM
-- image set: `form` says which. Rows are never changed; the version of the socket by which the value was
-- checked is part of its identity. Who said it, when and about what is in `value_uses`; `values_about`
-- joins both.
--
-- grain:   value_id
-- table:   socket_values
-- column:  batch | VARCHAR | commit that added the row, or the first of those compacted together
-- column:  value_id | VARCHAR | identity: digest of socket, version and content, 32 hex digits
-- column:  slug | VARCHAR | socket
-- column:  socket_version | BIGINT | version of the socket by which it was checked
-- column:  form | VARCHAR | value, file, image or series
-- column:  value | VARCHAR | the JSON text of a value in this table, keys sorted; null for the other forms
-- column:  sha256 | VARCHAR | digest of the content, and the name of its file under values/; of a series, of its key
-- column:  size_in_storage | BIGINT | bytes of its file; 0 without one
-- column:  head | VARCHAR | of an annotation: type, version and name, as JSON text; its shapes are in `annotations`
-- column:  shape_count | BIGINT | shapes of an annotation; null for other kinds
-- column:  image_shape | BIGINT[] | voxels of an image by axis, the slowest first: t, z, y, x
-- column:  image_type | VARCHAR | type of its voxels, as NumPy names it
-- column:  image_labels | BIGINT[] | labels that occur in a segmentation; null for other kinds
-- column:  series_key | VARCHAR | key to `series`, of a DICOM image set; null for the other forms
-- column:  checked_at | TIMESTAMP | when it was found valid, UTC
create or replace view socket_values as
select
    batch,
    value_id,
    slug,
    socket_version,
    form,
    "value",
    sha256,
    size_in_storage,
    head,
    shape_count,
    image_shape,
    image_type,
    image_labels,
    series_key,
    checked_at
from read_parquet(
    getvariable('stored').socket_values, hive_partitioning = true, hive_types = {'batch': varchar}
);
