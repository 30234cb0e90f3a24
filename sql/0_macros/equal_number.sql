-- A number, the same for all numbers that are equal: 0 for -0, and one NaN.
--
-- FL, FD and DS may hold any of these. DuckDB compares and hashes them as equal, but writes them
-- differently, so a group would show the one that happened to come first.
--
-- example: select equal_number(-0.0) as zero
create or replace macro equal_number(number) as
    case when isnan(number) then cast('nan' as double) else number + 0.0 end;
