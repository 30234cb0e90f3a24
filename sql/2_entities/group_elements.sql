-- One row per value in a standard functional group of a multi-frame object.
--
-- Of the attributes that frames and entities have.
-- A group is an item one level below the item of a frame in the Per-Frame Functional Groups Sequence,
-- or of the Shared Functional Groups Sequence; gradient directions lie one level deeper. So do the
-- Unassigned Converted Attributes of Legacy Converted Enhanced objects. What vendors nest in private
-- sequences is not looked into.
--
-- grain:   instance_id, item, sequence, sequence_item, tag, index
-- depends: elements, utc_offsets
-- column:  instance_id | BIGINT | key to `instances`
-- column:  item | BIGINT | frame that the group describes, from 0; null for a group shared by all frames
-- column:  sequence | VARCHAR | sequence of the group, such as PixelMeasuresSequence; with the one below for gradient directions
-- column:  sequence_item | BIGINT | item of that sequence, from 0; most groups have one
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  index | INTEGER | position of this value, from 0
-- column:  text | VARCHAR | the value as text, in its normal form
-- column:  integer | BIGINT | IS, US, UL
-- column:  real | DOUBLE | DS, FL, FD
-- column:  timestamp | TIMESTAMP | DT, in the clock of the dates and times of the object
-- column:  is_clock_unknown | BOOLEAN | a DT has an offset from UTC, and the object no TimezoneOffsetFromUTC: timestamp is null
create or replace view group_elements as
select
    elements.instance_id,
    try_cast(regexp_extract(path, '^PerFrameFunctionalGroupsSequence\[(\d+)\]', 1) as bigint) as item,
    regexp_extract(path, '^\w+\[\d+\]\.([A-Za-z]+)', 1)
    || if(ends_with(path, '.DiffusionGradientDirectionSequence[0]'), '.DiffusionGradientDirectionSequence', '')
        as sequence,
    try_cast(regexp_extract(path, '^\w+\[\d+\]\.[A-Za-z]+\[(\d+)\]', 1) as bigint) as sequence_item,
    tag,
    "index",
    normal_text(vr, text) as text,
    "integer",
    "real",
    local_timestamp(text, "timestamp", utc_offset_minutes) as "timestamp",
    vr = 'DT' and has_utc_offset(text) and utc_offset_minutes is null as is_clock_unknown
from elements
left join utc_offsets
    on elements.instance_id = utc_offsets.instance_id and elements.vr = 'DT'
where
    tag in (
        '00089007', '00089208', '00180010', '00180020', '00180021', '00180022', '00180023', '00180024',
        '00180050', '00180060', '00180080', '00180081', '00180082', '00180083', '00180087', '00180088',
        '00180091', '00180095', '00181120', '00181151', '00181152', '00181210', '00181312', '00181314',
        '00189074', '00189079', '00189082', '00189087', '00189089', '00189151', '00189220', '00189330',
        '00189332', '00189342', '00200032', '00200037', '00209056', '00209057', '00209128', '00209153',
        '00209156', '00209157', '00209241', '00209245', '00209255', '00209301', '00209302', '0020930D',
        '00280030', '00281050', '00281051', '00281052', '00281053', '0040072A', '0040073A', '0040074A',
        '00480106', '0048021E', '0048021F', '0062000B'
    )
    -- Of the sorted table only the rows between both names are read.
    and path between 'PerFrameFunctionalGroupsSequence[' and 'SharedFunctionalGroupsSequence]'
    and regexp_full_match(
        path,
        '(PerFrameFunctionalGroupsSequence\[\d+\]|SharedFunctionalGroupsSequence\[0\])\.[A-Za-z]+\[\d+\]'
        || '(\.DiffusionGradientDirectionSequence\[0\])?'
    )
    and vm > 0;
