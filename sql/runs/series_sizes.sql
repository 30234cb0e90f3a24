-- How many instances the series of each member has; `members` is the table of the run.
select
    instances.instance_key,
    series.instance_count
from members
inner join instances on members.instance_key = instances.instance_key
inner join series on instances.series_key = series.series_key
