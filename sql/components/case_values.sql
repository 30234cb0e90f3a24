-- What was said about series, or else about their studies, or patients: of each socket the newest value.
select
    series.series_key,
    values_about.slug,
    values_about.value_id
from series
inner join values_about
    on
        (values_about.about = 'series' and values_about.series_key = series.series_key)
        or (values_about.about = 'study' and values_about.study_key = series.study_key)
        or (values_about.about = 'patient' and values_about.patient_key = series.patient_key)
where series.series_key in (select unnest($1))
qualify
    row_number() over (
        partition by series.series_key, values_about.slug
        order by
            array_position(['series', 'study', 'patient'], values_about.about) asc,
            values_about.added_at desc, values_about.use_id asc
    ) = 1
