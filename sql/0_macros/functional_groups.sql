-- Where attributes of multi-frame objects are stored, and how several values are reduced to one.
--
-- `is_stated_at(path)` is true at top level and in a standard functional group: an item one level below
-- that of a frame, or below the shared one. `statement_order(path)` puts them in order: the groups of
-- the first frame, the shared ones, the object, the groups of later frames; the first that has a value
-- decides, as in `frame_values`. `different_values(singles, lists)` makes one list of the values of
-- instances and of lists of them, ascending, null if there is none.
--
-- example: select statement_order('SharedFunctionalGroupsSequence[0].MREchoSequence[0]') as place
create or replace macro is_stated_at(path) as
    path = ''
    or path between 'PerFrameFunctionalGroupsSequence[' and 'SharedFunctionalGroupsSequence]'
    and regexp_full_match(
        path,
        '(PerFrameFunctionalGroupsSequence\[\d+\]|SharedFunctionalGroupsSequence\[0\])\.[A-Za-z]+\[\d+\]'
    );
create or replace macro statement_order(path) as
    case
        when path = '' then 2
        when starts_with(path, 'SharedFunctionalGroupsSequence[') then 1
        when starts_with(path, 'PerFrameFunctionalGroupsSequence[0]') then 0
        else 3 + try_cast(regexp_extract(path, '^PerFrameFunctionalGroupsSequence\[(\d+)\]', 1) as bigint)
    end;
create or replace macro different_values(singles, lists) as
    nullif(
        list_sort(list_distinct(coalesce(singles, []) || coalesce(flatten(lists), []))), []
    );
