"""Describe every table, view, macro and cohort of ``sql/``, with an example query for each.

In: the models. Out: ``Entry``, which ``describe`` prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from warehouse.errors import UnknownTable
from warehouse.sqlfiles import LAYERS, Column, Model, Param, read_models

_MACRO = re.compile(r"^create or replace macro (\w+)\((.*?)\) as\b", re.MULTILINE | re.DOTALL)

_PLAIN = frozenset({"batch", "bytes"})
"""Columns that are left out of examples because they say little about a row."""
_RESERVED = frozenset({"index"})
"""SQL keywords, which need quotes as names; a shell would remove the quotes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A table, view, macro or cohort."""

    name: str
    kind: str
    """``table`` (stored), ``view``, ``macro`` or ``cohort``."""
    layer: str
    summary: str
    description: str
    grain: tuple[str, ...]
    columns: tuple[Column, ...]
    params: tuple[Param, ...]
    calls: tuple[str, ...]
    """For macros: each call with its parameters."""
    example: str
    """A query that can be run."""


def entries() -> list[Entry]:
    """Return all entries, tables first, sorted by name within each kind."""
    order = (*LAYERS[1:], LAYERS[0])
    return sorted(
        map(_entry, read_models()), key=lambda found: (order.index(found.layer), found.name)
    )


def find_entry(name: str, more: tuple[Entry, ...] = ()) -> Entry:
    """Return the entry with a name, ignoring case; find a macro also by the name of its file.

    Parameters
    ----------
    name
        Name as typed by a user.
    more
        Further entries, such as saved cohorts; they hide none of the package.

    Raises
    ------
    UnknownTable
    """
    known = {entry.name.lower(): entry for entry in (*more, *entries())}
    for entry in [*known.values()]:
        for call in entry.calls:
            known.setdefault(call.partition("(")[0].lower(), entry)
    if name.lower() not in known:
        raise UnknownTable(name, known)
    return known[name.lower()]


def cohort_example(name: str, params: tuple[Param, ...]) -> str:
    """Return a call of a cohort with the default value of its first parameter."""
    given = [p for p in params if p.default != "null"][:1]
    return f"from {name}({', '.join(f'{p.name} := {_literal(p)}' for p in given)})"


def _literal(param: Param) -> str:
    if param.type.endswith("[]"):
        items = param.default.strip("[]").split(",")
        quote = "'" if param.type == "VARCHAR[]" else ""
        return "[" + ", ".join(f"{quote}{item.strip()}{quote}" for item in items) + "]"
    if param.type in {"DOUBLE", "BIGINT", "INTEGER", "BOOLEAN"}:
        return param.default
    return f"'{param.default}'"


def _entry(model: Model) -> Entry:
    if model.layer == LAYERS[4]:
        kind, example = "cohort", cohort_example(model.name, model.params)
    elif model.is_view:
        kind, example = "table" if model.table else "view", _view_example(model)
    else:
        kind, example = "macro", ""
    calls = [f"{name}({' '.join(given.split())})" for name, given in _MACRO.findall(model.sql)]
    return Entry(
        model.name, kind, model.layer, model.summary, model.description, model.grain,
        model.columns, model.params, tuple(calls) if kind == "macro" else (),
        model.example or example,
    )  # fmt: skip


def _view_example(model: Model) -> str:
    """Return a query for the columns that identify a row, and the first other columns."""
    telling = [
        column.name for column in model.columns
        if not column.name.endswith(("_key", "_id", "UID")) and column.name not in _PLAIN
    ]  # fmt: skip
    names = dict.fromkeys(name for name in (*model.grain, *telling) if name not in _RESERVED)
    shown = [*names][:4]
    return f"select {', '.join(shown)} from {model.name} limit 5"
