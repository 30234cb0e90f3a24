-- The most complete mode in which files of a batch were read.
--
-- reads:     files
-- variables: batch
select mode
from files
where batch = getvariable('batch') and mode is not null
order by list_position(['minimal', 'normal', 'full'], mode) desc
limit 1
