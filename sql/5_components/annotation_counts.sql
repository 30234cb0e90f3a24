-- One row per series, socket, reader and kind of shape: how many shapes there are.
--
-- grain:   series_key, slug, added_by, kind
-- depends: annotations_about
-- column:  series_key | VARCHAR | key to `series`
-- column:  slug | VARCHAR | socket
-- column:  added_by | VARCHAR | who added the value, as stated
-- column:  kind | VARCHAR | code of the kind of the shapes
-- column:  shape_count | BIGINT | shapes
-- column:  mean_probability | DOUBLE | mean of the stated probabilities; null without one
-- column:  area_mm2 | DOUBLE | sum of the areas, mm²; null if one of them is null
create or replace view annotation_counts as
select
    series_key,
    slug,
    added_by,
    kind,
    count(*) as shape_count,
    avg(probability) as mean_probability,
    if(count(*) = count(area_mm2), sum(area_mm2), null) as area_mm2
from annotations_about
where series_key is not null
group by series_key, slug, added_by, kind;
