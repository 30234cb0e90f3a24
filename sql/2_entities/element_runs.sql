-- One row per run of equal values of an element, in instances with consecutive ids.
--
-- Instances of a series agree in most of their elements, so this is a small part of `elements`, and
-- found in one pass over its rows, in whatever order they come. What is counted or compared for all
-- instances is counted here, with `run_length` as the weight.
--
-- grain:   first_id, path, tag, index
-- depends: elements
-- column:  first_id | BIGINT | the first `instance_id` of the run
-- column:  run_length | BIGINT | instances of the run: each has the id of the one before and 1
-- column:  path | VARCHAR | '' at top level; in a sequence its path, such as RequestAttributesSequence[0], with items from 0
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  keyword | VARCHAR | DICOM keyword; null if the dictionary has none
-- column:  vr | VARCHAR | Value Representation
-- column:  creator | VARCHAR | private creator that reserved the block of a private element
-- column:  vm | INTEGER | number of values of the element; 0 if it is empty, 1 for a sequence with items
-- column:  index | INTEGER | position of this value, from 0
-- column:  text | VARCHAR | the value without insignificant spaces; JSON of components for PN; tag for AT; exact decimal for UV
-- column:  integer | BIGINT | IS, US, SS, UL, SL, SV, UV, AT; number of items of a sequence
-- column:  real | DOUBLE | DS, FL, FD; AS in years; -0 is 0, and every NaN is the same
-- column:  date | DATE | DA
-- column:  timestamp | TIMESTAMP | DT; in UTC if the value has an offset, else as written
-- column:  length | BIGINT | bytes of a binary value or of pixel data
-- column:  sha256 | VARCHAR | digest of a binary value; key to `blobs` if it is longer than 256 bytes
-- column:  has_warning | BOOLEAN | the typed value is missing or doubtful although a value was stored
create or replace view element_runs as
with
    -- Numbered, and compared with the row before: whatever the order of rows is, it is one for all of these.
    numbered as (
        select
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
            equal_number("real") as "real",
            "date",
            "timestamp",
            length,
            sha256,
            warning is not null as has_warning,
            row_number() over () as place,
            lag(instance_id) over () as id_before,
            hash(
                path, tag, vr, creator, vm, "index", "integer", "real", "date", "timestamp", length, sha256, warning
            ) as others,
            lag(others) over () as others_before,
            lag(text) over () as text_before
        from elements
    ),

    begun as (
        select * exclude (id_before, others, others_before, text_before)
        from numbered
        where
            instance_id is distinct from id_before + 1
            or others is distinct from others_before
            or text is distinct from text_before
    )

select
    instance_id as first_id,
    coalesce(lead(place) over (), (select count(*) + 1 from elements)) - place as run_length,
    path,
    tag,
    keyword,
    vr,
    creator,
    vm,
    "index",
    normal_text(vr, text) as text,
    "integer",
    "real",
    "date",
    "timestamp",
    length,
    sha256,
    has_warning
from begun;
