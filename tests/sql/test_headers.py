"""Every header in sql/ is true: what it says about grain, columns and dependencies."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from warehouse.errors import ModelError
from warehouse.sqlfiles import LAYERS, Model, read_checks, read_model, read_models, sql_folder

if TYPE_CHECKING:
    import warehouse

MODELS = read_models()
VIEWS = [model for model in MODELS if model.is_view]
CHECKS = read_checks()
STATEMENTS = [read_model(path) for path in sorted((sql_folder() / "ingest").glob("*.sql"))]
NAMES_OF_IDC = {
    "segmentations": {
        "AnatomicRegion", "AnatomicRegionModifier", "SegmentedPropertyCategory", "SegmentedPropertyType",
    },
    "quantitative_measurements": {"Quantity", "Value", "Units"},
    "qualitative_measurements": {"Quantity", "Value"},
}  # fmt: skip
"""Columns that are called as in the tables of the Imaging Data Commons, and are no keywords here."""
EMPTY_IN_MODE_FULL = {"unread", "unread_series"}
VENDORS_NAME = re.compile(r"^[A-Z][A-Z0-9 _]+ \([0-9A-F]{4},xx[0-9A-F]{2}\)")
"""How the description of a column named by a vendor begins: creator and place in its block."""


def each(models: list[Model]) -> Any:
    return pytest.mark.parametrize("model", models, ids=lambda model: model.name)


@pytest.fixture(scope="module")
def catalog(sample: warehouse.Warehouse) -> dict[str, list[tuple[str, str, str | None]]]:
    """What the catalog says of each view: name, type and comment of its columns."""
    found: dict[str, list[tuple[str, str, str | None]]] = {}
    asked = sample.catalog.connection.execute(
        "select table_name, column_name, data_type, comment from duckdb_columns() "
        "order by table_name, column_index"
    )
    for view, *column in asked.fetchall():
        found.setdefault(view, []).append(tuple(column))
    return found


@each(VIEWS)
def test_columns_types_and_grain_are_those_of_the_view(
    model: Model,
    catalog: dict[str, list[tuple[str, str, str | None]]],
    tables_of_sample: duckdb.DuckDBPyConnection,
) -> None:
    """DuckDB refuses a view whose columns are not those of the catalog when it is asked."""
    described = [(name, kind) for name, kind, _ in catalog[model.name]]
    assert [(column.name, column.type) for column in model.columns] == described
    answer = tables_of_sample.execute(f"from {model.name}")
    assert [name for name, *_ in answer.description or ()] == [name for name, _ in described]
    rows = answer.fetchall()
    assert model.grain
    names = [name for name, _ in described]
    places = [names.index(column) for column in model.grain]
    # As text, because a part of a key may be a list.
    assert len({repr([row[place] for place in places]) for row in rows}) == len(rows)
    if model.name not in EMPTY_IN_MODE_FULL:
        assert rows


@each([*VIEWS, *CHECKS])
def test_depends_are_the_tables_that_the_sql_reads(model: Model) -> None:
    assert set(model.depends) == tables_read(model)


MACROS = [model for model in MODELS if not model.is_view]


@each([macro for macro in MACROS if "as table" in macro.sql])
def test_depends_of_a_table_macro_are_the_tables_and_macros_it_needs(model: Model) -> None:
    known = {macro.name for macro in MACROS}
    body = model.sql.split(" as table\n", 1)[1]
    tables = {view.name for view in VIEWS if re.search(rf"(from|join) {view.name}\b", body)}
    assert {name for name in model.depends if name not in known} == tables
    used = body
    # A macro may be needed by another one that is named too: those used directly come first.
    for macro in sorted(set(model.depends) & known, key=lambda name: not _is_used(name, body)):
        assert _is_used(macro, used)
        used += _sql_of(macro)


def _sql_of(macro: str) -> str:
    return next(model.sql for model in MACROS if model.name == macro)


def _is_used(macro: str, sql: str) -> bool:
    return any(f"{name}(" in sql for name in re.findall(r"macro (\w+)\(", _sql_of(macro)))


def tables_read(model: Model) -> set[str]:
    """Return what DuckDB's parser finds in FROM, without names defined inside."""
    select = model.sql
    if model.is_view:
        select = select[select.index(f"create or replace view {model.name} as") :]
        select = select.split(" as\n", 1)[1]
    return tables_in(select)


@cache
def parser() -> duckdb.DuckDBPyConnection:
    """Return a database without tables: to open one takes longer than to parse."""
    return duckdb.connect()


def tables_in(select: str) -> set[str]:
    parsed = parser().execute("select json_serialize_sql(?)", [select.rstrip().rstrip(";")])
    tree = json.loads(parsed.fetchall()[0][0])
    assert not tree["error"], tree
    tables, defined = set[str](), set[str]()

    def visit(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("type") == "BASE_TABLE":
                tables.add(node["table_name"])
            if node.get("function_name") == "geometry_of":  # it reads the table that it is told
                tables.add(node["arguments"][0]["expression"]["literal"]["text"])
            for entry in (node.get("cte_map") or {}).get("map", []):
                defined.add(entry["key"])
            for child in node.values():
                visit(child)
        elif isinstance(node, list):
            for child in node:
                visit(child)

    visit(tree)
    return tables - defined


@each(STATEMENTS)
def test_a_statement_says_what_it_reads_makes_and_asks_for(model: Model) -> None:
    reads, makes = set[str](), list[str]()
    for text in re.sub(r"^--.*$", "", model.sql, flags=re.MULTILINE).split(";"):
        select = text.strip()
        made = re.match(r"create or replace temp table (\w+) as\s", select)
        if changed := re.match(r"delete from (\w+)\s+(?=where\s)", select):
            select = f"from {changed[1]} {select[changed.end() :]}"
        elif made:
            select = select[made.end() :]
        if select:
            reads |= tables_in(select) - set(makes)
        makes += [match[1] for match in (made, changed) if match]
    assert (set(model.reads), list(model.makes)) == (reads, makes)
    # What the ingest gives away by the way of variables: no other way leads into a statement.
    assert set(model.variables) == set(re.findall(r"getvariable\('(\w+)'\)", model.sql))
    assert not model.depends


LIBRARY = "".join(
    path.read_text() for path in (Path(__file__).parents[2] / "warehouse").rglob("*.py")
)


@each(STATEMENTS)
def test_what_a_statement_needs_somebody_brings(model: Model) -> None:
    """And the statement is run at all."""
    assert re.search(rf"[\"']{model.name}[\"']", LIBRARY)
    made = {name for other in STATEMENTS for name in other.makes}
    # `view_files` makes the view, of the parts that it is given.
    for name in set(model.reads) - made - {"files"}:
        brought = rf"(table|view) {name} as|create (temp )?table {name}\b|register\(\s*\"{name}\""
        assert re.search(brought, LIBRARY), name
    for name in model.variables:
        assert re.search(rf"set variable {name} = ", LIBRARY), name


@each(VIEWS)
def test_a_view_reads_its_own_layer_or_lower_ones(model: Model) -> None:
    layers = {other.name: LAYERS.index(other.layer) for other in MODELS}
    assert all(layers[read] <= LAYERS.index(model.layer) for read in model.depends)
    assert (model.table is not None) == (model.layer == "1_long")


@each(VIEWS)
def test_descriptions_stand_in_the_catalog(
    model: Model,
    sample: warehouse.Warehouse,
    catalog: dict[str, list[tuple[str, str, str | None]]],
) -> None:
    (view,) = sample.catalog.connection.execute(
        "select comment from duckdb_views() where view_name = ?", [model.name]
    ).fetchall()
    assert view[0] == model.summary
    described = [(name, comment) for name, _, comment in catalog[model.name]]
    assert described == [(column.name, column.description) for column in model.columns]


@each([*MODELS, *CHECKS])
def test_a_model_says_what_it_is_and_makes_what_its_name_says(model: Model) -> None:
    assert model.summary.endswith(".")
    assert model.summary[0].isupper()
    if model.is_view:
        assert f"create or replace view {model.name} as" in model.sql


def test_a_dicom_column_has_one_type_and_one_meaning_everywhere() -> None:
    seen: dict[str, tuple[str, str]] = {}
    for model in VIEWS:
        for column in model.columns:
            if column.name in NAMES_OF_IDC.get(model.name, ()):
                continue
            if column.name[0].isupper():
                meaning = column.type, column.description.split(")")[0]
                assert seen.setdefault(column.name, meaning) == meaning, (model.name, column.name)


def test_the_keyword_and_tag_in_a_description_are_those_of_the_column() -> None:
    from pydicom.datadict import tag_for_keyword

    for model in VIEWS:
        for column in model.columns:
            tag = tag_for_keyword(column.name)
            is_of_idc = column.name in NAMES_OF_IDC.get(model.name, ())
            if is_of_idc or VENDORS_NAME.search(column.description):
                continue
            assert (tag is not None) == column.name[0].isupper(), column.name
            if tag is not None:
                assert f"({tag >> 16:04X},{tag & 0xFFFF:04X})" in column.description, column.name


# -- mistakes that reading the headers finds ------------------------------------------------------


def folder_with(tmp_path: Path, **files: str) -> Path:
    for name, content in files.items():
        path = tmp_path / "1_long" / f"{name}.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return tmp_path


def test_a_file_without_description_is_an_error(tmp_path: Path) -> None:
    folder_with(tmp_path, a="-- grain: x\nselect 1")
    with pytest.raises(ModelError, match=r"a\.sql: the header has no description"):
        read_models(tmp_path)


def test_a_malformed_column_line_is_an_error(tmp_path: Path) -> None:
    folder_with(tmp_path, a="-- A.\n-- column: x | INTEGER\nselect 1")
    with pytest.raises(ModelError, match=r"needs name \| TYPE \| meaning"):
        read_models(tmp_path)


def test_an_unknown_dependency_is_an_error(tmp_path: Path) -> None:
    folder_with(tmp_path, a="-- A.\n-- depends: b\nselect 1")
    with pytest.raises(ModelError, match="depends on b, which does not exist"):
        read_models(tmp_path)


def test_a_cycle_is_an_error_that_names_its_members(tmp_path: Path) -> None:
    folder_with(tmp_path, a="-- A.\n-- depends: b\nselect 1", b="-- B.\n-- depends: a\nselect 1")
    with pytest.raises(ModelError, match="models form a cycle: .*a → b|b → a"):
        read_models(tmp_path)


def test_one_name_in_two_layers_is_an_error(tmp_path: Path) -> None:
    folder_with(tmp_path, a="-- A.\nselect 1")
    (tmp_path / "2_entities").mkdir()
    (tmp_path / "2_entities" / "a.sql").write_text("-- A.\nselect 1")
    with pytest.raises(ModelError, match="a model named a exists already"):
        read_models(tmp_path)


def test_models_come_after_what_they_depend_on() -> None:
    names = [model.name for model in MODELS]
    for model in MODELS:
        assert all(names.index(read) < names.index(model.name) for read in model.depends)


def test_every_file_of_sql_is_a_model_a_check_or_a_statement() -> None:
    statements = {
        path
        for folder in (
            "bids",
            "components",
            "dicomweb",
            "ingest",
            "network",
            "pixels",
            "reports",
            "runs",
            "summaries",
        )
        for path in (sql_folder() / folder).glob("*.sql")
    }
    known = {model.path for model in [*MODELS, *CHECKS]} | statements
    assert set(sql_folder().rglob("*.sql")) == known
    for path in statements:
        assert read_model(path).description
