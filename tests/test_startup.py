"""What a command does not need is not imported: help, questions and the package itself.

Nothing is timed here; `benchmarks/startup.py` is for that.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys

import pytest

import warehouse
from tests.command_line import ROOT, run
from tests.dicom_files import write
from warehouse.cli.run import app
from warehouse.cohorts.asking import SECONDS
from warehouse.store.vacuum import RETENTION

HEAVY = ("duckdb", "pyarrow", "polars", "numpy", "pydicom", "deltalake", "pandas")

PROGRAM = """
import contextlib, io, json, sys
from warehouse.cli import main
for arguments in json.loads(sys.stdin.read()):
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(out):
        try:
            main(arguments)
        except SystemExit as end:
            if end.code:
                sys.exit(f"{arguments}: {end.code}")
print(json.dumps(sorted(set(sys.modules))))
"""
"""Runs commands one after another, then prints what was imported for them."""


def imported(*commands: list[str], program: str = PROGRAM) -> set[str]:
    """Return the names of modules that commands import in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(commands), text=True, check=False,
        capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def words(group=app, *before: str):
    """Yield every command and group of commands as its words."""
    for name in [each for each in group if not each.startswith("-")]:
        yield [*before, name]
        yield from words(group[name], *before, name)


EVERY_COMMAND = """
import json, sys
from warehouse.cli.run import app

def load(group):
    for name in [each for each in group if not each.startswith("-")]:
        load(group[name])

load(app)
print(json.dumps(sorted(set(sys.modules))))
"""
"""Imports the modules of all commands, without writing the help of each."""


def test_modules_of_commands_import_nothing_that_takes_long() -> None:
    loaded = imported(program=EVERY_COMMAND)
    assert {"warehouse.cli.volume", "warehouse.cli.cohort", "warehouse.cli.ask"} <= loaded
    assert loaded & set(HEAVY) == set()


@pytest.mark.long("test_modules_of_commands_import_nothing_that_takes_long")
def test_help_and_completion_import_nothing_that_takes_long() -> None:
    named = list(words())
    assert len(named) > 70
    asked = [["--help"], ["--version"], [], ["completion", "bash"]]
    asked += [[*command, "--help"] for command in named]
    assert imported(*asked) & set(HEAVY) == set()


def test_a_command_imports_its_own_module_alone() -> None:
    loaded = imported(["volume", "--help"])
    assert "warehouse.cli.volume" in loaded
    assert not loaded & {"warehouse.cli.cohort", "warehouse.cli.ask", "warehouse.api"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A warehouse of one file."""
    folder = tmp_path_factory.mktemp("startup")
    write(folder / "in" / "a", Modality="MR")
    warehouse.open(folder / "w", create=True).ingest(folder / "in", workers=1)
    return str(folder / "w")


def test_a_question_does_without_pydicom_polars_and_what_reads(root: str) -> None:
    loaded = imported(["sql", "select * from elements", "-w", root])
    assert {"duckdb", "pyarrow"} <= loaded
    assert not loaded & NOT_ASKED


NOT_ASKED = {
    "pydicom", "polars", "pandas", "sqlglot", "scipy", "nibabel", "warehouse.ingest",
    "warehouse.reading", "warehouse.pixels.volume", "warehouse.algorithms.facade",
}  # fmt: skip
"""What no question needs."""


@pytest.mark.long("test_a_question_does_without_pydicom_polars_and_what_reads")
def test_questions_do_without_pydicom_polars_and_what_reads(root: str) -> None:
    asked = (
        ["sql", "select * from elements"], ["sql", "from tags", "--format", "json"], ["info"],
        ["tables"], ["describe", "series"],
        ["select", "series", "Modality=MR", "PatientName__icontains=a", "EchoTime__null=true"],
    )  # fmt: skip
    loaded = imported(*([*command, "-w", root] for command in asked))
    assert {"duckdb", "pyarrow"} <= loaded
    assert not loaded & NOT_ASKED


def test_the_package_is_imported_by_name() -> None:
    program = "import json, sys, warehouse\nprint(json.dumps(sorted(sys.modules)))"
    assert not imported(program=program) & {*HEAVY, "warehouse.api", "warehouse.errors"}
    assert set(dir(warehouse)) == set(warehouse.__all__)
    assert all(getattr(warehouse, name) is not None for name in warehouse.__all__)


def test_the_list_of_commands_has_the_first_line_of_each_docstring() -> None:
    """Commands are imported when they are named; the list names all of them."""
    shown = " ".join(run("--help", COLUMNS="200").stdout.replace("│", " ").split())
    for name in [each for each in app if not each.startswith("-")]:
        said = app[name].help.split("\n\n")[0].replace("`", "").replace("\n", " ")
        assert f"{name} {said}" in shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell: str) -> None:
    done = run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "dicom-warehouse" in done.stdout
    assert "ct_thin" not in done.stdout
    for word in ("sql", "cohort", "export", "deidentify", "batch-files"):
        assert word in done.stdout


def test_bash_completes_what_is_begun() -> None:
    script = run("completion", "bash").stdout
    function = next(
        line.split("-F ")[1].split()[0] for line in script.splitlines() if "complete" in line and "-F " in line
    )  # fmt: skip
    program = f"{script}\nCOMP_WORDS=(dicom-warehouse sq); COMP_CWORD=1; {function}; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["sql"], done.stderr


def test_defaults_in_help_are_those_of_the_library() -> None:
    """They are repeated: what has them takes long to import."""
    timeout = inspect.signature(app["cohort"]["run"].default_command).parameters["timeout"]
    assert timeout.default == SECONDS
    days = inspect.signature(app["vacuum"].default_command).parameters["retention_days"]
    assert days.default == RETENTION.days
