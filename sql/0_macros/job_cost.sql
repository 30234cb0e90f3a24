-- The cost of a machine for a number of seconds, in 1000ths of a euro cent, rounded up: with 21 % tax.
--
-- As Grand Challenge computes it: hours, US cents per hour with tax, and its exchange rate of 0.92472705.
--
-- example: select job_cost(3600, 12.1)
create or replace macro job_cost(seconds, usd_cents_per_hour) as
    cast(ceil(seconds / 3600 * usd_cents_per_hour * 1.21 * 1000 * 0.92472705) as bigint);
