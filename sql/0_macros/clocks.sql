-- The time zone of a date-time, and the date-time in the time zone of the dates and times beside it.
--
-- DA and TM have no offset from UTC: Timezone Offset From UTC (0008,0201) of their instance is
-- theirs, and that of each DT that writes none (PS3.3 C.12.1.1.8). `utc_offset_minutes` reads &ZZXX
-- (-1200 to +1400); `local_timestamp` turns a DT into the clock of DA and TM, and is null where the
-- DT writes an offset and its instance states none: which clock DA and TM are in is then unknown.
-- `first_time` is an aggregate: the first of timestamps. Some scanners state the date of the first image
-- in all, also after midnight: timestamps of one date with a gap of more than half a day begin after it.
--
-- example: select utc_offset_minutes('+0900') as minutes
create or replace macro utc_offset_minutes(stated) as
    if(
        regexp_full_match(stated, '(\+(0\d|1[0-3])|-(0\d|1[01]))[0-5]\d|\+1400|-1200'),
        if(stated[1] = '-', -1, 1)
        * (60 * try_cast(stated[2:3] as integer) + try_cast(stated[4:5] as integer)),
        null
    );
create or replace macro has_utc_offset(written) as
    coalesce(regexp_matches(written, '[+-]\d{4}$'), false);
create or replace macro local_timestamp(written, instant, offset_minutes) as
    if(has_utc_offset(written), instant + to_minutes(offset_minutes), instant);
create or replace macro first_time(stamp) as if(
    cast(min(stamp) as date) = cast(max(stamp) as date)
    and coalesce(min(stamp) filter (hour(stamp) >= 12) - max(stamp) filter (hour(stamp) < 12) > interval 12 hours, false),
    min(stamp) filter (hour(stamp) >= 12), min(stamp)
);
