-- The long table: one row per value of one data element of one instance.
--
-- An empty element has one row with vm 0; a missing element has none; a value that cannot be read
-- strictly keeps its text or bytes and says why in `warning`. Pixel data have a row without bytes.
-- Stored sorted by tag, path, index and instance_id, so that asking for a tag reads only its rows.
--
-- grain:   instance_id, path, tag, index
-- example: select path, tag, vr, text from elements where keyword = 'EchoTime' limit 5
-- table:   elements
-- column:  batch | VARCHAR | ingest batch that read the row: the upper bits of its id
-- column:  instance_id | BIGINT | key to `instances`
-- column:  path | VARCHAR | '' at top level; in a sequence its path, such as RequestAttributesSequence[0], with items from 0
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  keyword | VARCHAR | DICOM keyword; null if the dictionary has none
-- column:  vr | VARCHAR | Value Representation
-- column:  creator | VARCHAR | private creator that reserved the block of a private element
-- column:  vm | INTEGER | number of values of the element; 0 if it is empty, 1 for a sequence with items
-- column:  index | INTEGER | position of this value, from 0
-- column:  text | VARCHAR | the value as written, padding removed; JSON of components for PN; tag for AT; exact decimal for UV
-- column:  integer | BIGINT | IS, US, SS, UL, SL, SV, UV, AT; number of items of a sequence
-- column:  real | DOUBLE | DS, FL, FD; AS in years
-- column:  date | DATE | DA
-- column:  time | TIME | TM
-- column:  timestamp | TIMESTAMP | DT; in UTC if the value has an offset, else as written
-- column:  bytes | BLOB | binary values of up to 256 bytes
-- column:  length | BIGINT | bytes of a binary value or of pixel data
-- column:  sha256 | VARCHAR | digest of a binary value; key to `blobs` if it is longer than 256 bytes
-- column:  warning | VARCHAR | why the typed value is missing or doubtful although a value was stored
create or replace view elements as
select
    printf('%06d', instance_id >> 24) as batch,
    instance_id,
    path,
    tag,
    keyword,
    vr,
    creator,
    vm,
    "index",
    text,
    "integer",
    "real",
    "date",
    cast(make_timestamp(time_us) as time) as "time",
    "timestamp",
    bytes,
    length,
    sha256,
    warning
from read_parquet(
    getvariable('stored').elements, hive_partitioning = false
);
