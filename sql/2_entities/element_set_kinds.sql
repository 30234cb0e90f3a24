-- One row per set of kinds of element of an instance, and kind in it.
--
-- grain:   kind_set, tag, creator, vr
-- kept:    at 5,000 instances or 1,000,000 rows of elements and more, by the ingest
-- depends: element_segments
-- column:  kind_set | VARCHAR | digest of the kinds, as in `element_sets`
-- column:  tag | VARCHAR | group and element, eight upper-case hex digits
-- column:  creator | VARCHAR | private creator; null for standard elements and unreserved blocks
-- column:  vr | VARCHAR | Value Representation
create or replace view element_set_kinds as
with
    named as (
        select
            sha256(kinds) as kind_set,
            unnest(from_json(kinds, '[{"tag": "VARCHAR", "creator": "VARCHAR", "vr": "VARCHAR"}]')) as kind
        from (select distinct kinds from element_segments)
    )

select
    kind_set,
    kind.tag,
    kind.creator,
    kind.vr
from named;
