"""Views specified by small drawn tables: ``given`` some rows, ``expect`` others.

A cell is what DuckDB casts to the type of its column: ``[CT, MR]`` is a list. An empty cell is
null, ``''`` the empty text.
"""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import finalize

from warehouse.catalog.dictionaries import make_dictionaries, private_dictionary, sequence_rules
from warehouse.sqlfiles import LAYERS, Model, by_name, read_models
from warehouse.store.duck import connect, set_variables
from warehouse.store.rules import read_rules

if TYPE_CHECKING:
    import duckdb

THROUGH = {
    "normal_elements", "utc_offsets", "group_elements", "element_runs", "element_segments", "element_set_kinds", "element_summaries", "element_sketches", "element_sets",
    "element_counts",
}  # fmt: skip
"""Views that are made over a given table, because they are that table in another form."""


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Return the one database of this process, with dictionaries and macros that stand alone."""
    connection = connect()
    make_dictionaries(connection)
    for model in read_models():
        if model.layer == LAYERS[0] and not model.depends:
            connection.execute(model.sql)
    return connection


_numbers = count(1)


class View:
    """A DuckDB connection in which the tables that a view reads are drawn by hand.

    Each has a schema of its own before that of the macros, which take longer to make than a test.
    """

    def __init__(self) -> None:
        self.connection = _database().cursor()
        self._given: set[str] = set()
        schema = f"view_{next(_numbers)}"
        self.connection.execute(f"create schema {schema}")
        self.connection.execute(f"set search_path = '{schema},main'")
        variables = {
            "private_dictionary": private_dictionary({}),
            "sequence_rules": sequence_rules(read_rules()),
        }
        set_variables(self.connection, variables)
        # The database is there for all tests: what one has drawn goes with its connection.
        finalize(self.connection, _drop, _database(), schema).atexit = False

    def given(self, name: str, drawing: str) -> None:
        """Make a table with all columns of the model; those not drawn are null."""
        model = by_name(name)
        self._make(model, is_given=True)
        names, rows = parse(drawing)
        types = {column.name: column.type for column in model.columns}
        unknown = set(names) - set(types)
        assert not unknown, f"{name} has no column {unknown}"
        if rows:
            cells = ", ".join(f"cast(? as {types[column]})" for column in names)
            columns = ", ".join(f'"{column}"' for column in names)
            lines = ", ".join(f"({cells})" for _ in rows)
            self.connection.execute(
                f'insert into "{name}" ({columns}) values {lines}',
                [cell for row in rows for cell in row],
            )

    def make(self, name: str) -> None:
        """Make a view over the given tables, for others to read."""
        self.connection.execute(by_name(name).sql)
        self._given.add(name)

    def expect(self, name: str, drawing: str) -> None:
        """Compare the drawn columns of a view, rows in any order."""
        names, rows = parse(drawing)
        answer = self.rows(name, names)
        types = {column.name: column.type for column in by_name(name).columns}
        wanted = []
        if rows:
            cells = ", ".join(f"cast(? as {types[column]})" for column in names)
            lines = ", ".join(f"({cells})" for _ in rows)
            given = [cell for row in rows for cell in row]
            wanted = self.connection.execute(f"values {lines}", given).fetchall()
        assert sorted(answer, key=repr) == sorted(wanted, key=repr)

    def rows(self, name: str, columns: list[str]) -> list[tuple[Any, ...]]:
        """Return these columns of a view over the given tables."""
        model = by_name(name)
        for read in model.depends:
            dependency = by_name(read)
            if read not in self._given and dependency.is_view:
                self._make(dependency)
        listed = ", ".join(f'"{column}"' for column in columns)
        # Not through the view: to make one plans it as well.
        return self.connection.execute(f"select {listed} from ({model.query}\n)").fetchall()

    def ask(self, macro: str, question: str) -> list[tuple[Any, ...]]:
        """Return the answer of a question that uses a table macro over the given tables."""
        model = by_name(macro)
        for read in model.depends:
            if by_name(read).is_view and read not in self._given:
                self._make(by_name(read))
        self.connection.execute(model.sql)
        return self.connection.execute(question).fetchall()

    def _make(self, model: Model, *, is_given: bool = False) -> None:
        if not is_given and model.name in THROUGH and "elements" in self._given:
            for read in set(model.depends) - self._given:
                self._make(by_name(read))
            self.make(model.name)
            return
        columns = ", ".join(f'"{column.name}" {column.type}' for column in model.columns)
        self.connection.execute(f'create table "{model.name}" ({columns})')
        self._given.add(model.name)


def _drop(database: duckdb.DuckDBPyConnection, schema: str) -> None:
    database.execute(f"drop schema {schema} cascade")


def parse(drawing: str) -> tuple[list[str], list[list[str | None]]]:
    """Return column names and cells of a drawn table.

    >>> parse("a | b\\n1 | ''\\n | x")
    (['a', 'b'], [['1', ''], [None, 'x']])
    """
    lines = [line for line in drawing.splitlines() if line.strip()]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    names, rows = cells[0], cells[1:]
    for row in rows:
        assert len(row) == len(names), row
    return names, [[_cell(cell) for cell in row] for row in rows]


def _cell(text: str) -> str | None:
    return {"": None, "''": ""}.get(text, text)
