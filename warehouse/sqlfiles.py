"""Find the files of ``sql/`` and parse their headers.

In: a folder. Out: one ``Model`` per file, in an order in which they can be created.
``warehouse.catalog`` executes them for queries, ``warehouse.store`` during an ingest.

A header is the comment at the top of the file::

    -- What a row is, in a sentence. More paragraphs may follow.
    --
    -- grain:   columns that identify a row
    -- depends: views and macros that it reads; a macro that reads a table is created after it
    -- table:   stored table that it reads (layer 1 only)
    -- stores:  view whose rows that table stores
    -- kept:    when its rows are stored as Parquet (warehouse/catalog/materialized.py)
    -- example: a query to copy; not needed where one can be generated from the columns
    -- severity: error or warn (checks only; error by default)
    -- param:   name | TYPE | default | meaning (cohorts only)
    -- column:  name | TYPE | meaning

Statements, such as those of ``ingest/``, declare what they need and what they create::

    -- reads:     tables and views that must exist
    -- makes:     tables that it creates or changes
    -- variables: variables of the connection that it reads
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIELDS = (
    "grain", "depends", "table", "stores", "kept", "example", "severity", "param", "column",
    "reads", "makes", "variables",
)  # fmt: skip
_FIELD = re.compile(rf"^-- ({'|'.join(_FIELDS)}): *(.*)$")

LAYERS = ("0_macros", "1_long", "2_entities", "3_features", "4_cohorts", "5_components")
"""Folders whose files define the catalog; a view reads only its own layer or lower ones."""


@dataclass(frozen=True, slots=True)
class Column:
    """One documented column."""

    name: str
    type: str
    """DuckDB's name of the type."""
    description: str


@dataclass(frozen=True, slots=True)
class Param:
    """One documented parameter of a cohort."""

    name: str
    type: str
    """DuckDB's name of the type."""
    default: str
    """Text that can be cast to the type, or ``null``."""
    description: str


@dataclass(frozen=True, slots=True)
class Model:
    """One file of ``sql/`` (view, macro, check or statement) with its parsed header."""

    name: str
    layer: str
    description: str
    grain: tuple[str, ...]
    depends: tuple[str, ...]
    table: str | None
    """Stored table behind a view of layer 1."""
    stores: str | None
    """View whose rows the stored table has; they are derived batch by batch."""
    is_kept: bool
    """Whether the view is materialized for each version."""
    example: str
    """Example query; empty if it is generated from the columns."""
    severity: str
    """Of a check: ``error`` for a contradiction in the store, ``warn`` for unusual source data."""
    columns: tuple[Column, ...]
    params: tuple[Param, ...]
    reads: tuple[str, ...]
    """Of a statement: tables and views that must exist."""
    makes: tuple[str, ...]
    """Of a statement: tables that it creates or changes, in this order."""
    variables: tuple[str, ...]
    """Of a statement: variables of the connection that it reads."""
    sql: str
    path: Path

    @property
    def is_view(self) -> bool:
        """Whether the file creates a view, rather than macros."""
        return bool(self.columns)

    @property
    def query(self) -> str:
        """SELECT of a view, to run without creating the view, which would plan it twice."""
        return self.sql.split(f"create or replace view {self.name} as", 1)[1].rstrip().rstrip(";")

    @property
    def is_plain_macro(self) -> bool:
        """Whether the file creates macros that read no table and no dictionary."""
        known = any(name in self.sql for name in ("keyword_dictionary()", "is_confidential("))
        return self.layer == LAYERS[0] and not self.depends and not known

    @property
    def summary(self) -> str:
        """First sentence of the description."""
        return self.description.split("\n\n", 1)[0].replace("\n", " ")


@cache
def sql_folder() -> Path:
    """Return the folder of the SQL files: beside this module in a wheel, else in the checkout."""
    package = Path(__file__).parent
    for folder in (package / "_sql", package.parent / "sql"):
        if folder.is_dir():
            return folder
    raise ModelError("the sql/ folder is missing from this installation; install the package again")


def read_model(path: Path) -> Model:
    """Read one file and its header.

    Raises
    ------
    ModelError
        A header line is malformed, or the file has no description.
    """
    prose: list[str] = []
    fields: dict[str, list[str]] = {name: [] for name in _FIELDS}
    sql = path.read_text(encoding="utf-8")
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        match = _FIELD.match(line)
        if match:
            fields[match[1]].append(match[2].strip())
        else:
            prose.append(line.removeprefix("--").strip())
    description = "\n".join(prose).strip()
    if not description:
        raise ModelError(f"{path}: the header has no description")
    columns = []
    for text in fields["column"]:
        parts = [part.strip() for part in text.split(" | ", 2)]
        if len(parts) != 3 or not all(parts):
            raise ModelError(f"{path}: a column line needs name | TYPE | meaning, found {text!r}")
        columns.append(Column(*parts))
    params = []
    for text in fields["param"]:
        parts = [part.strip() for part in text.split(" | ", 3)]
        if len(parts) != 4 or not all(parts):
            raise ModelError(
                f"{path}: a param line needs name | TYPE | default | meaning, found {text!r}"
            )
        params.append(Param(*parts))
    severity = fields["severity"][0] if fields["severity"] else "error"
    if severity not in {"error", "warn"}:
        raise ModelError(f"{path}: severity is error or warn, found {severity!r}")
    return Model(
        name=path.stem,
        layer=path.parent.name,
        description=description,
        grain=_words(fields["grain"]),
        depends=_words(fields["depends"]),
        table=fields["table"][0] if fields["table"] else None,
        stores=fields["stores"][0] if fields["stores"] else None,
        is_kept=bool(fields["kept"]),
        example=" ".join(fields["example"]),
        severity=severity,
        columns=tuple(columns),
        params=tuple(params),
        reads=_words(fields["reads"]),
        makes=_words(fields["makes"]),
        variables=_words(fields["variables"]),
        sql=sql,
        path=path,
    )


def _words(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(word for line in lines for word in re.split(r"[,\s]+", line) if word)


def read_models(folder: Path | None = None) -> list[Model]:
    """Return the models of the catalog, each after the models it depends on.

    Raises
    ------
    ModelError
        Two files have the same name, a dependency does not exist, or models form a cycle.
    """
    return list(_read_models(folder or sql_folder()))


@cache
def _read_models(folder: Path) -> tuple[Model, ...]:
    models: dict[str, Model] = {}
    for layer in LAYERS:
        for path in sorted((folder / layer).glob("*.sql")):
            if path.stem in models:
                raise ModelError(f"{path}: a model named {path.stem} exists already")
            models[path.stem] = read_model(path)
    for model in models.values():
        unknown = [name for name in model.depends if name not in models]
        if unknown:
            raise ModelError(f"{model.path}: depends on {', '.join(unknown)}, which does not exist")
    sorter = TopologicalSorter({name: model.depends for name, model in models.items()})
    try:
        order = list(sorter.static_order())
    except CycleError as error:
        raise ModelError(f"models form a cycle: {' → '.join(error.args[1])}") from error
    # In a stable order: macros first, then by layer, each model after its dependencies.
    rank = {name: number for number, name in enumerate(models)}
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = max((depth[d] + 1 for d in models[name].depends), default=0)
    return tuple(sorted(models.values(), key=lambda m: (depth[m.name], rank[m.name])))


_MACRO = re.compile(r"^create or replace macro (\w+)", re.MULTILINE)


@cache
def macros_for(*names: str) -> tuple[Model, ...]:
    """Return the plain macros (``Model.is_plain_macro``) that these models call, even indirectly.

    Views that the models read are not followed; pass their names, too. Creating all macros would
    take as long as a query for a few instances.
    """
    left = [model for model in read_models() if model.is_plain_macro]
    calling = [by_name(name) for name in names]
    found = []
    while calling:
        words = set(re.findall(r"\w+", calling.pop().sql))
        called = [model for model in left if words.intersection(_MACRO.findall(model.sql))]
        left = [model for model in left if model not in called]
        calling += called
        found += called
    return tuple(model for model in read_models() if model in found)


def read_checks(folder: Path | None = None) -> list[Model]:
    """Return the data tests in ``sql/checks/``: SELECTs that return the rows that are wrong."""
    folder = folder or sql_folder()
    return [read_model(path) for path in sorted((folder / "checks").glob("*.sql"))]


def statement(name: str, folder: str = "ingest") -> str:
    """Return the text of a statement by its name and folder, such as ``ingest`` or ``runs``."""
    return (sql_folder() / folder / f"{name}.sql").read_text(encoding="utf-8")


def by_name(name: str, folder: Path | None = None) -> Model:
    """Return the model with this name, which must exist."""
    return next(model for model in read_models(folder) if model.name == name)
