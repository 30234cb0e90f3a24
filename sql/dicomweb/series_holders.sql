-- The first instance of a series with a value of an attribute, where the first one of all has none.
--
-- A row per series and attribute; the attributes are those of `qido_series` that are always returned.
with firsts as (
    select
        arg_min(instance_id, instance_key) as holder,
        unnest([
            {
                'tag': '00080021',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where SeriesDate is not null)
            },
            {
                'tag': '00080031',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where SeriesTime is not null)
            },
            {
                'tag': '00080060',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where Modality is not null)
            },
            {
                'tag': '0008103E',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where SeriesDescription is not null)
            },
            {
                'tag': '00200011',
                'instance_id':
                    arg_min(instance_id, instance_key) filter (where SeriesNumber is not null)
            }
        ]) as first
    from instances
    where study_key is not null
    group by study_key, series_key
)

select
    holder,
    first.tag,
    first.instance_id
from firsts
where first.instance_id <> holder
