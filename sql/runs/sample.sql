-- Members of a sample: of each stratum the series with the smallest sha256('SEED:SERIES_KEY').
--
-- Reads `strata`, the stratum of every series of `members`, and maybe of others, as text. With the variable `count_per_stratum` that
-- many of each stratum; with `fraction` those whose first 52 bits of the digest fall below it.
with drawn as (
    select
        strata.series_key,
        cast('0x' || sha256(getvariable('seed') || ':' || strata.series_key)[:13] as ubigint)
        / 4503599627370496.0 as place,
        row_number() over (
            partition by strata.stratum
            order by sha256(getvariable('seed') || ':' || strata.series_key)
        ) as rank
    from strata
    semi join members on strata.series_key = members.series_key
)

select members.*
from members
semi join (
    select series_key
    from drawn
    where
        rank <= coalesce(getvariable('count_per_stratum'), rank)
        and place < coalesce(getvariable('fraction'), 1)
) as chosen on members.series_key = chosen.series_key
order by members.instance_key
