-- What a table of series with thumbnails shows, in the order of the archive.
select
    series_key,
    Modality,
    SeriesNumber,
    SeriesDescription,
    image_count,
    frame_count,
    count(*) over () as series_count
from series
where image_count > 0 and (len($1) = 0 or list_contains($1, series_key))
order by StudyInstanceUID, SeriesNumber, series_key
limit $2
