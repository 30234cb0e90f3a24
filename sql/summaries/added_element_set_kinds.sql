-- Kinds of the sets of several sets of parts → those of all together, of sets that instances of any have.
select distinct
    kind_set,
    tag,
    creator,
    vr
from pieces
where sign > 0
