"""Translate conditions on attributes into a DuckDB relation.

In: the name of an entity table and conditions, each an attribute, an operator and a value::

    {"Modality": "MR", "-Manufacturer__icontains": "ge", "EchoTime__max": 30, "(0018,0095)": 100}

Out: the rows that meet all conditions. ``query`` resolves attributes. If an attribute is not a
column of the table, a condition holds if it holds for at least one instance; its negation (``-``)
holds if at least one instance has a value and the condition holds for none. Without a value, both a
condition and its negation are false; only ``__null`` tests for missing values.

Values are bound as parameters and cast to the type of the attribute; they never become SQL text.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import duckdb

from warehouse.catalog.matching import AROUND_COMPONENTS
from warehouse.cohorts.query import Attribute, Query, element_tag
from warehouse.dicom.dictionary import LEADING_SPACES, elements, keyword_tags
from warehouse.errors import QueryFailed, UnknownFilter
from warehouse.given import plain
from warehouse.inputs import require_limit

if TYPE_CHECKING:
    from warehouse.catalog.connect import Catalog

_DICOM_DATE = re.compile(r"\d{8}")
_NAME = re.compile(r"(-?)(.+?)(?:__([a-z]+))?")

# SQL of each operator, for scalar and list attributes: c is the attribute, v the value, t its type.
_SCALAR = {
    "is": "{c} = cast({v} as {t})",
    "in": "list_contains(cast({v} as {t}[]), {c})",
    "min": "{c} >= cast({v} as {t})",
    "max": "{c} <= cast({v} as {t})",
    "contains": "contains({c}, cast({v} as varchar))",
    "icontains": "contains(lower({c}), lower(cast({v} as varchar)))",
    "any": "len(list_filter(cast({v} as varchar[]), lambda x: contains(lower({c}), lower(x)))) > 0",
}
_LIST = {
    "is": "{c} = cast({v} as {t}[])",
    "one": "list_contains({c}, cast({v} as {t}))",
    "in": "list_has_any({c}, cast({v} as {t}[]))",
    "set": "list_sort(list_distinct({c})) = list_sort(list_distinct(cast({v} as {t}[])))",
    "has": "list_has_all({c}, cast({v} as {t}[]))",
    "min": "len(list_filter({c}, lambda x: x >= cast({v} as {t}))) = len({c})",
    "max": "len(list_filter({c}, lambda x: x <= cast({v} as {t}))) = len({c})",
    "contains": "len(list_filter({c}, lambda x: contains(x, cast({v} as varchar)))) > 0",
    "icontains": "len(list_filter({c}, lambda x: contains(lower(x), lower(cast({v} as varchar))))) > 0",  # noqa: E501
    "any": (
        "len(list_filter({c}, lambda x: len(list_filter(cast({v} as varchar[]), "
        "lambda y: contains(lower(x), lower(y)))) > 0)) > 0"
    ),
}
_SYNONYMS = {"after": "min", "before": "max"}
_TEXT = frozenset({"contains", "icontains", "any"})
_SEVERAL = frozenset({"in", "any", "set", "has"})
PERIODS = ("today", "yesterday", "week", "month", "year")
OPERATORS = (
    "is", "in", "existing", "contains", "icontains", "any", "min", "max", "after", "before",
    "during", "set", "has", "null",
)  # fmt: skip


def select(
    catalog: Catalog, table: str, conditions: Mapping[str, Any], *, search: str | None = None,
    order: str | Iterable[str] = (), limit: int | None = None, offset: int = 0,
    columns: str | Iterable[str] = (), today: dt.date | None = None,
) -> duckdb.DuckDBPyRelation:  # fmt: skip
    """Return the rows of an entity table that meet every condition.

    Parameters
    ----------
    catalog
        Open catalog.
    table
        `patients`, `studies`, `series`, `instances`, or another view with one row per entity of
        these.
    conditions
        Attribute, ``__`` and operator → value; a leading ``-`` negates. Several values are given as
        a list or as one text with commas.

        - no operator: equal; a list attribute contains the value, or equals the given list
        - ``contains``, ``icontains``: substring, with and without regard to case
        - ``any``: contains one of these texts, ignoring case
        - ``in``: one of these values
        - ``min``, ``max``, ``after``, ``before``: inclusive bounds; all values of a list attribute
        - ``during``: today, yesterday, week (the last seven days), month, year
        - ``set``: the same values in any order
        - ``has``: all of these values
        - ``existing``: equal, and at least one row must have the value
        - ``null``: true or false
    search
        Text that a text column contains, ignoring case.
    order
        Attributes to sort by; a leading ``-`` means descending. Rows without a value come last, and
        equal rows are sorted by their key.
    limit, offset
        As in SQL.
    columns
        Attributes to return; by default every column of the table. If an attribute varies within an
        entity, the value is that of the instance with the smallest key among those that have one,
        as in the columns of the table.
    today
        The day that ``during`` is relative to.

    Raises
    ------
    UnknownTable, UnknownFilter
    """
    query = narrowed(catalog, table, conditions, search=search, today=today)
    require_limit(limit, offset)
    page = [f"limit {limit}" if limit is not None else "", f"offset {offset}"]
    shown = [columns] if isinstance(columns, str) else columns
    sql = query.sql(shown, [_order(query, name) for name in sorting(query, order)], page)
    return run_query(catalog, sql, query.values)


def narrowed(
    catalog: Catalog, table: str, conditions: Mapping[str, Any], *, search: str | None = None,
    today: dt.date | None = None,
) -> Query:  # fmt: skip
    """Return the query of ``select`` with its conditions, without columns, order and page."""
    query = Query(catalog, table)
    for name, value in conditions.items():
        query.where.append(_condition(query, name, value, today or dt.date.today()))  # noqa: DTZ011
    if search is not None:
        # Join texts with a character that none of them contains, so that no match spans two texts.
        texts = ", ".join(f't."{c.name}"' for c in query.model.columns if c.type == "VARCHAR")
        wanted = f"lower(cast({query.bind(search)} as varchar))"
        query.where.append(f"contains(lower(concat_ws(chr(0), {texts})), {wanted})")
    return query


def sorting(query: Query, order: str | Iterable[str]) -> list[str]:
    """Return the sort terms, with the grain appended for a total order."""
    listed = [order] if isinstance(order, str) else list(order)
    return [*listed, *(name for name in query.model.grain if name not in listed)]


def run_query(catalog: Catalog, sql: str, values: Mapping[str, Any]) -> duckdb.DuckDBPyRelation:
    """Return the relation of a query, in a new session.

    Raises
    ------
    QueryFailed
    """
    try:
        return catalog.session().sql(sql, params=values or None)
    except duckdb.Error as error:
        raise QueryFailed(str(error)) from error


def attribute_of(condition: str) -> str:
    """Return the attribute of a condition.

    >>> attribute_of("-EchoTime__max")
    'EchoTime'
    """
    match = _NAME.fullmatch(condition)
    return match[2] if match else condition


def values(catalog: Catalog, table: str, attribute: str) -> list[Any]:
    """Return the distinct values of an attribute, sorted; lists are flattened.

    Raises
    ------
    UnknownTable, UnknownFilter
    """
    query = Query(catalog, table)
    found = query.attribute(attribute)
    value = f"unnest({found.sql})" if found.is_list else found.sql
    sql = f"select distinct {value} as value from {found.source or f'{query.model.name} as t'}"
    rows = catalog.connection.execute(
        f"select value from ({sql}) where value is not null order by 1"
    )
    return [row[0] for row in rows.fetchall()]


def _condition(query: Query, name: str, value: object, today: dt.date) -> str:
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise UnknownFilter(f"a condition is NAME or NAME__operator, not {name!r}")
    minus, plain, operator = match[1], match[2], match[3] or "is"
    if operator not in OPERATORS:
        raise UnknownFilter(f"{name}: unknown operator; choose one of: {', '.join(OPERATORS)}")
    operator = _SYNONYMS.get(operator, operator)
    found = query.attribute(plain)
    if operator == "null":
        missing = f"{query.join(found, 'true') if found.source else found.sql} is null"
        return (
            missing if _cast(query, name, value, "BOOLEAN") != bool(minus) else f"not ({missing})"
        )
    test = _test(query, found, name, operator, value, today)
    if found.source:
        test = query.join(found, f"coalesce(bool_or({test}), false)")
        return f"not {test}" if minus else test
    # Some tests return false, not null, for a missing value, so their negation would be true.
    return f"({found.sql} is not null and {'not ' if minus else ''}({test}))"


def _test(
    query: Query, found: Attribute, name: str, operator: str, value: object, today: dt.date
) -> str:
    value = plain(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise _missing(name)
    if operator == "during":
        if found.type not in {"DATE", "TIMESTAMP"} or found.is_list:
            raise UnknownFilter(f"{name}: {found.type} is not a date")
        first, last = _period(str(value), today)
        return f"cast({found.sql} as date) between {query.bind(first)} and {query.bind(last)}"
    whole = found.is_list and operator == "is" and isinstance(value, list | tuple)
    several = operator in _SEVERAL or whole
    if not several and isinstance(value, Collection) and not isinstance(value, str):
        raise UnknownFilter(
            f"{name}: needs one value, not {type(value).__name__}; for one of several use "
            f"{name.split('__', maxsplit=1)[0]}__in"
        )
    kind = "VARCHAR" if operator in _TEXT else found.type
    _fits(found, name, operator)
    given = _listed(value) if several else value
    exact = operator not in _TEXT and _vr(name) not in LEADING_SPACES
    bound = _cast(query, name, given, f"{kind}[]" if several else kind, exact=exact)
    if operator == "existing":
        _must_exist(query, found, name, bound)
        operator = "is"
    if found.is_list:
        forms, operator = _LIST, "one" if operator == "is" and not several else operator
    else:
        forms = _SCALAR
    test = forms[operator].format(c=found.sql, v=query.bind(bound), t=found.type)
    if operator == "min" and found.type == "DOUBLE":
        # DuckDB sorts NaN above all numbers.
        values = found.sql if found.is_list else f"[{found.sql}]"
        test += f" and not list_contains({values}, 'nan'::double)"
    return test


def _fits(found: Attribute, name: str, operator: str) -> None:
    """Raise for operators that a type does not support, rather than return no rows."""
    if operator in _TEXT and found.type != "VARCHAR":
        raise UnknownFilter(f"{name}: {found.type} is not text; use =, __min and __max")
    if operator in {"min", "max"} and found.type in {"VARCHAR", "BOOLEAN", "BLOB"}:
        raise UnknownFilter(f"{name}: {found.type} has no range; use =, __in or __icontains")
    if operator in {"set", "has"} and not found.is_list:
        raise UnknownFilter(f"{name}: has one value only; use = or __in")


def _must_exist(query: Query, found: Attribute, name: str, value: object) -> None:
    test = f"list_contains({found.sql}, $1)" if found.is_list else f"{found.sql} = $1"
    sql = f"select count(*) from {found.source or f'{query.model.name} as t'} where {test}"
    if query.catalog.connection.execute(sql, [value]).fetchall()[0][0] == 0:
        attribute = name.lstrip("-").split("__")[0]
        raise UnknownFilter(f"{name}: no row of {query.model.name} has that {attribute}")


def _cast(query: Query, name: str, value: object, kind: str, *, exact: bool = False) -> Any:
    """Return a value cast to its type, so that an invalid one is an error rather than no rows.

    With ``exact``, text is compared without insignificant spaces, as entities are stored.
    """
    given = _dates(value) if kind.startswith("DATE") else value
    if exact:
        given = _without_spaces(given, is_name=_vr(name) == "PN")
    # DuckDB would round 1.6 to 2 and so change the query.
    wider = kind.replace("BIGINT", "DOUBLE")
    sql = f"select cast($1 as {kind}) as typed, cast($1 as {wider}) = typed"
    try:
        cast, same = query.catalog.connection.execute(sql, [given]).fetchall()[0]
    except duckdb.Error:
        same = False
    if same is False:
        hint = ", as in 2024-12-31 or 20241231" if kind.startswith("DATE") else ""
        raise UnknownFilter(f"{name}: the value is not a valid {kind}{hint}")
    # pandas' missing values are recognized after conversion; NaN sorts above all numbers in DuckDB.
    if cast is None or (isinstance(cast, float) and math.isnan(cast)):
        raise _missing(name)
    return cast


def _missing(name: str) -> UnknownFilter:
    return UnknownFilter(
        f"{name}: a value cannot be compared with None or NaN; for missing values use "
        f"{name.split('__', maxsplit=1)[0]}__null"
    )


def _vr(name: str) -> str | None:
    """Return the VR of the attribute of a condition in the dictionary."""
    match = _NAME.fullmatch(name)
    tag = keyword_tags().get(match[2]) or element_tag(match[2]) if match else None
    number = int(tag, 16) if isinstance(tag, str) else tag
    known = None if number is None else elements().get(number)
    return None if known is None else known[0]


def _without_spaces(value: Any, *, is_name: bool) -> Any:
    """Return text without insignificant spaces (PS3.5 6.2), in a name around each component."""
    if isinstance(value, list):
        return [_without_spaces(each, is_name=is_name) for each in value]
    if not isinstance(value, str):
        return value
    return AROUND_COMPONENTS.sub(r"\1", value.strip(" ")) if is_name else value.strip(" ")


def _dates(value: Any) -> Any:
    """Return dates in the format of DuckDB; DICOM dates have no hyphens."""
    if isinstance(value, list):
        return [_dates(each) for each in value]
    if isinstance(value, str) and _DICOM_DATE.fullmatch(value):
        return f"{value[:4]}-{value[4:6]}-{value[6:]}"
    return value


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    is_several = isinstance(value, Iterable) and not isinstance(value, bytes | Mapping)
    return [plain(each) for each in value] if is_several else [value]


def _period(name: str, today: dt.date) -> tuple[dt.date, dt.date]:
    """Return the first and the last day of a period, both inclusive.

    >>> _period("week", dt.date(2024, 3, 1))
    (datetime.date(2024, 2, 24), datetime.date(2024, 3, 1))
    """
    day = dt.timedelta(days=1)
    if name == "today":
        return today, today
    if name == "yesterday":
        return today - day, today - day
    if name == "week":
        return today - 6 * day, today
    if name == "month":
        return today.replace(day=1), (today.replace(day=1) + 31 * day).replace(day=1) - day
    if name == "year":
        return today.replace(month=1, day=1), today.replace(month=12, day=31)
    raise UnknownFilter(f"no period {name!r}; choose one of: {', '.join(PERIODS)}")


def _order(query: Query, name: str) -> str:
    sql = query.value(name.removeprefix("-"))
    return f"{sql} {'desc' if name.startswith('-') else 'asc'} nulls last"
