-- One row per series with instances whose import mode left out elements.
--
-- grain:   series_key
-- depends: unread, instances
-- column:  series_key | VARCHAR | key to `series`
-- column:  elements_not_read | VARCHAR | why elements of an instance are missing; null if only private ones are
-- column:  private_not_read | VARCHAR | why private elements of an instance are missing
create or replace view unread_series as
select
    instances.series_key,
    min(unread.not_read) filter (where unread.is_without_elements) as elements_not_read,
    min(unread.not_read) as private_not_read
from unread
join instances on unread.instance_id = instances.instance_id
where instances.series_key is not null
group by instances.series_key;
