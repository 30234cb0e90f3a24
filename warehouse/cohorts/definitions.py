"""Cohorts by name: those in ``sql/4_cohorts/`` and those saved in a warehouse.

In: a name and parameters. Out: ``Definition``, and its query with typed values. Saved cohorts are
files ``cohorts/NAME.sql`` in the folder of the warehouse. They have the same header as the files of
``sql/``, with ``-- param: name | TYPE | default | meaning``, and use ``$name`` in the SELECT.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from warehouse.cohorts.asking import require_key
from warehouse.cohorts.guard import Question, check
from warehouse.errors import (
    ModelError,
    QueryFailed,
    TargetExists,
    UnknownCohort,
    UnknownParameter,
    UnsafeCohort,
    UsageError,
    WriteFailed,
)
from warehouse.given import plain
from warehouse.sqlfiles import LAYERS, Param, read_model, read_models
from warehouse.store.duck import literal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from warehouse.catalog.connect import Catalog

FOLDER = "cohorts"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DICOM_DATE = re.compile(r"\d{8}")
_TYPE = re.compile(r"(VARCHAR|DOUBLE|BIGINT|INTEGER|BOOLEAN|DATE|TIME|TIMESTAMP)(\[\])?")


@dataclass(frozen=True, slots=True)
class Definition:
    """A cohort that can be run."""

    name: str
    kind: str
    """``shipped`` (part of the package) or ``saved`` (in the warehouse)."""
    description: str
    params: tuple[Param, ...]
    text: str
    """Content of the file that defines it."""

    @property
    def statement(self) -> str:
        """The SQL: the text itself if saved, or a call of the table macro if shipped."""
        if self.kind == "saved":
            return self.text
        given = ", ".join(f"{p.name} := ${p.name}" for p in self.params)
        return f"from {self.name}({given})"


def definitions(root: Path) -> dict[str, Definition]:
    """Return all cohorts by name, shipped ones first."""
    found = {
        model.name: Definition(
            model.name, "shipped", model.description, model.params, model.sql,
        )
        for model in read_models() if model.layer == LAYERS[4]
    }  # fmt: skip
    for path in sorted((root / FOLDER).glob("*.sql")):
        found.setdefault(path.stem, _saved(path))
    return found


def definition(root: Path, name: str) -> Definition:
    """Return one cohort.

    Raises
    ------
    UnknownCohort
        There is none; the message suggests cohorts with similar names.
    """
    known = definitions(root)
    if name not in known:
        raise UnknownCohort(name, known)
    return known[name]


def _saved(path: Path) -> Definition:
    try:
        model = read_model(path)
    except (ModelError, OSError, UnicodeError) as error:
        raise UnsafeCohort(f"{path}: {error}") from None
    return Definition(path.stem, "saved", model.description, model.params, model.sql)


def valid_name(name: str) -> str:
    """Check that a name is valid as a file name, table macro and shell word.

    Raises
    ------
    UsageError
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"a cohort name has lower-case letters, digits and _, from a letter: not {name!r}"
        )
    return name


def save(catalog: Catalog, name: str, sql: str) -> Definition:
    """Store a SELECT as a cohort of this warehouse.

    Raises
    ------
    UnsafeCohort, UnknownTable, UnknownParameter, MembersUnclear
        The SQL is not allowed, see ``warehouse.cohorts.guard``, or returns no key.
    UsageError
        The name is that of a table, view, macro or cohort of the package.
    TargetExists
        The name is taken; a saved cohort is never replaced.
    """
    root = catalog.snapshot.root
    valid_name(name)
    if name in {model.name for model in read_models()}:
        raise UsageError(
            f"{name!r} is a table, view, macro or cohort of the package; choose another name"
        )
    if name in definitions(root):
        raise TargetExists(root / FOLDER / f"{name}.sql")
    text = sql if sql.lstrip().startswith("--") else f"-- Cohort {name}.\n{sql}"
    target = root / FOLDER / f"{name}.sql"
    draft = root / FOLDER / f".{name}.{os.getpid()}"
    try:
        target.parent.mkdir(exist_ok=True)
        draft.write_text(text.strip() + "\n", encoding="utf-8")
        made = Definition(name, "saved", *_header(draft), text.strip() + "\n")
        asked = question(catalog, made)
        require_key(catalog.connection, asked.sql, values(catalog, made, {}))
        os.link(draft, target)
    except QueryFailed as error:
        # The rest shows a line of the query that DuckDB was asked, not of the file.
        why = str(error).partition("\n\nLINE ")[0]
        raise UnsafeCohort(f"it cannot be run: {'; '.join(why.splitlines())}") from None
    except FileExistsError:
        raise TargetExists(target) from None
    except OSError as error:
        raise WriteFailed(f"the cohort {name}", error) from error
    finally:
        draft.unlink(missing_ok=True)
    return made


def _header(path: Path) -> tuple[str, tuple[Param, ...]]:
    made = _saved(path)
    return made.description, made.params


def question(catalog: Catalog, cohort: Definition) -> Question:
    """Return the checked SQL of a cohort, which may use only the parameters that it declares.

    Raises
    ------
    UnsafeCohort, UnknownTable, UnknownParameter
    """
    for param in cohort.params:
        if not _TYPE.fullmatch(param.type):
            raise UnsafeCohort(
                f"${param.name} has a type that is invalid for parameters: {param.type}"
            )
    asked = check(catalog, cohort.statement)
    declared = {param.name for param in cohort.params}
    for name in sorted(asked.parameters - declared):
        raise UnknownParameter(
            f"${name} is not declared; write at the top: -- param: {name} | DOUBLE | 1.5 | meaning"
        )
    for name in sorted(declared - asked.parameters):
        raise UnknownParameter(f"${name} is declared but never used")
    return asked


def values(catalog: Catalog, cohort: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters, cast to their types; parameters not given have their default.

    Raises
    ------
    UnknownParameter
        A name is not a parameter of the cohort, or a value does not have its type.
    """
    params = {param.name: param for param in cohort.params}
    for name in given:
        if name not in params:
            known = ", ".join(params) or "none"
            raise UnknownParameter(f"{cohort.name} has no parameter {name!r}; it has: {known}")
    typed: dict[str, Any] = {}
    for name, param in params.items():
        default = None if param.default == "null" else param.default
        value = given.get(name, default)
        # Of a text whose default is a value, null may be meant as text.
        may_be_null = param.type != "VARCHAR" or default is None
        if isinstance(value, str) and value == "null" and may_be_null:
            value = None
        if isinstance(value, str) and param.type.endswith("[]") and not value.startswith("["):
            value = [part.strip() for part in value.split(",")]
        typed[name] = _typed(catalog, cohort, param, value)
    return typed


def _typed(catalog: Catalog, cohort: Definition, param: Param, value: object) -> Any:
    value = plain(value)
    if param.type == "DATE" and isinstance(value, str) and _DICOM_DATE.fullmatch(value):
        value = f"{value[:4]}-{value[4:6]}-{value[6:]}"
    # DuckDB would round 1.6 to 2 and so change the query.
    wider = re.sub("BIGINT|INTEGER", "DOUBLE", param.type)
    sql = f"select cast($1 as {param.type}) as typed, cast($1 as {wider}) = typed"
    try:
        typed, same = catalog.connection.execute(sql, [value]).fetchall()[0]
    except duckdb.Error:
        same = False
    # NaN is rejected, too: it equals nothing when the cohort is run again, and is not valid JSON.
    numbers = typed if same and isinstance(typed, list) else [typed] if same else []
    if same is False or any(isinstance(x, float) and not math.isfinite(x) for x in numbers):
        raise UnknownParameter(
            f"{param.name} of {cohort.name} is {param.type}; the value given is not"
        )
    return typed


def call(name: str, given: Mapping[str, Any]) -> str:
    """Return a call of a cohort with these parameters, as text."""
    shown = ", ".join(f"{name} := {_displayed(value)}" for name, value in given.items())
    return f"{name}({shown})"


def _displayed(value: object) -> str:
    return literal(value) if isinstance(value, str) else str(value)
