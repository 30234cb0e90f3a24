"""The rules of the tree: which module may import which, how long one may be, where SQL stands."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).parents[1]
MODULES = sorted((CHECKOUT / "warehouse").rglob("*.py"))
LONGEST = 450
"""Lines of a module: more, and it holds two things."""


def sources() -> dict[str, str]:
    """Read every module. Each test looks at all of them and names those that break its rule."""
    return {
        path.relative_to(CHECKOUT / "warehouse").as_posix(): path.read_text(encoding="utf-8")
        for path in MODULES
    }


def test_imports_follow_the_data() -> None:
    if not (CHECKOUT / "pipelines").is_dir():
        pytest.skip(
            "the contracts of pyproject.toml name pipelines/, which is not in this checkout"
        )
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()", "--no-cache"],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_workers_load_what_they_need_and_no_more() -> None:
    program = (
        "import sys; import warehouse.executors, warehouse.reading;"
        "print(*{'duckdb', 'deltalake', 'polars', 'dagster'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"


def test_a_module_says_what_it_is_for() -> None:
    says_nothing = []
    for name, source in sources().items():
        # Each module begins with it: to parse all of them takes more than a second.
        found = re.match(r'[rR]?"""(.+?)"""', source, re.DOTALL)
        lines = found[1].strip().splitlines() if found else []
        if not lines or not (lines[0].endswith((".", ":", "…")) or len(lines) > 1):
            says_nothing.append(name)
    assert says_nothing == []


def test_a_module_can_be_held_in_the_head() -> None:
    lengths = {name: len(source.splitlines()) for name, source in sources().items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


_BEGIN = r"(?:\\n|\\|\s)*(?!from [\w.]+ import)(?:select|with|from|create)\s"
_GOES_ON = r"[^\n]*[\"'][ ]*(?:#[^\n]*|\\)?\n\s*[frb]*[\"']"
MAY_BE_LONG = re.compile(
    rf"""(?:\"\"\"|'''){_BEGIN}|["'}}]{_BEGIN}(?:[^\n]{{190}}|{_GOES_ON})""", re.IGNORECASE
)
"""What may begin such a string: to parse every module takes more than a second."""


def test_no_select_is_longer_than_a_line() -> None:
    """What the tables mean stands in sql/. Strings put together from parts count as one."""
    assert [
        long
        for name, source in sources().items()
        if MAY_BE_LONG.search(source)
        for long in long_selects(name, ast.parse(source))
    ] == []


def long_selects(name: str, tree: ast.Module) -> Iterator[str]:
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        ):
            text = node.value.strip().lower()
            is_query = text.startswith(("select ", "with ", "from ", "create "))
            if is_query and "from" in text.split() and (len(text) > 200 or "\n" in text):
                yield f"{name}:{node.lineno}: {text[:60]}…"


def test_the_library_does_not_know_its_orchestrator() -> None:
    knows = []
    for name, source in sources().items():
        if not re.search("dagster|pipelines", source):
            continue
        for node in ast.walk(ast.parse(source)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            knows += [
                f"{name}: {one}" for one in names
                if one.split(".")[0] in {"dagster", "pipelines"}
            ]  # fmt: skip
    assert knows == []


def test_no_module_is_a_place_for_anything() -> None:
    vague = {"utils", "helpers", "common", "base", "core", "misc"}
    assert not vague & {path.stem for path in MODULES}


def test_every_module_stands_on_the_walk() -> None:
    """docs/architecture.md names it, or its folder; what it names is there."""
    page = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named: set[str] = set()
    for row in re.findall(r"^\| .+ \| (.+) \| .+ \|$", page, re.MULTILINE):
        folder = ""
        for name in re.findall(r"`([^`]+\.(?:py|sql)|[^`]+/)`", row):
            folder = name.rpartition("/")[0] if "/" in name else folder
            named.add(name if "/" in name else f"{folder}/{name}")
    code = {name for name in named if name.startswith(("warehouse/", "pipelines/"))}
    assert [name for name in sorted(code) if not (CHECKOUT / name).exists()] == []
    modules = {
        path.relative_to(CHECKOUT).as_posix()
        for path in (CHECKOUT / "warehouse").rglob("*.py") if not path.name.startswith("__")
    }  # fmt: skip
    folders = tuple(name for name in code if name.endswith("/"))
    assert sorted(name for name in modules - code if not name.startswith(folders)) == []


TESTS = sorted((CHECKOUT / "tests").rglob("test_*.py"))
LATER = ("long", "slow", "soak")
"""Markers of tests that `make test` leaves out."""


def test_a_long_test_has_a_short_form() -> None:
    """`@pytest.mark.long("test_name")` names a test of the same module that `make test` runs."""
    wrong = []
    for path in TESTS:
        text = path.read_text(encoding="utf-8")
        if "mark.long" in text:
            wrong += [f"{path.name}: {what}" for what in without_short_form(ast.parse(text))]
    assert wrong == []


def test_what_is_no_short_form_is_found() -> None:
    program = """
@pytest.mark.long("test_missing")
def test_a(): ...
@pytest.mark.long("test_a")
def test_b(): ...
@pytest.mark.long
def test_c(): ...
@pytest.mark.long("test_e")
def test_d(): ...
@pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.long("test_e"))])
def test_e(): ...
"""
    assert {*without_short_form(ast.parse(program))} == {"test_missing", "test_a", "no name"}


def without_short_form(tree: ast.Module) -> Iterator[str]:
    """Yield the names in `long` marks that are no test of the module, or are left out themselves."""
    tests = {
        node.name: {ast.unparse(mark).partition("(")[0] for mark in node.decorator_list}
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    left_out = {f"pytest.mark.{marker}" for marker in LATER}
    short = {name for name, marks in tests.items() if not marks & left_out}
    is_called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.long":
            call = is_called.get(id(node))
            names = [ast.literal_eval(given) for given in call.args] if call else []
            if len(names) != 1:
                yield "no name"
            elif names[0] not in short:
                yield names[0]
