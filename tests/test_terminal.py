"""The command on any terminal: locales, closed pipes, full disks, narrow screens, help."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import patch

import pydicom.data
import pytest

import warehouse
from tests.asking import answer_of
from tests.command_line import COMMAND, ROOT, run, run_all_apart
from tests.forms import some
from tests.test_cli import commands
from warehouse.catalog import guide
from warehouse.catalog.guide import entries
from warehouse.catalog.statements import require_one
from warehouse.cli.app import app
from warehouse.cli.run import run as run_command

FILES = Path(pydicom.data.__path__[0]) / "test_files"

# Each is a locale in which Python does not write UTF-8.
LOCALES = [
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse without private elements but with a CSA header. Not to write to."""
    folder = tmp_path_factory.mktemp("terminal")
    made = warehouse.open(folder / "w", create=True)
    made.ingest(FILES / "CT_small.dcm", FILES / "MR_small.dcm", workers=1, mode="normal")
    return folder / "w"


@pytest.mark.parametrize(
    # POSIX is another name of C.
    "locale",
    some(LOCALES, always=LOCALES[:2]),
    ids=lambda locale: "-".join(locale.values()),
)
def test_tables_fall_back_to_ascii(read, locale):
    query = "select 'Müller 山田 …' as name"
    asked = ("sql", query, "-w", read)
    done = run_all_apart(asked, (*asked, "--format", "json"), **locale)
    assert (done.returncode, done.stderr) == (0, "")
    table, begins, rows = done.stdout.partition("\n[")
    assert table.startswith("+---")
    assert "\\u5c71" in table
    # Formats for programs are UTF-8 in any locale.
    assert json.loads(begins + rows) == [{"name": "Müller 山田 …"}]


@pytest.mark.long("test_tables_fall_back_to_ascii")
def test_no_command_fails_in_ascii(read):
    # chrH31.dcm has kanji in PatientName.
    asked = [
        (*arguments, *(() if "--help" in arguments else ("-w", read))) for arguments in PRINTING
    ]
    done = run_all_apart(*asked, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    done.stdout.encode("ascii")


PRINTING = [
    ("tags",), ("tables",), ("describe", "private_names"), ("cohort", "list"), ("rules", "list"),
    ("ingest", "--help"), ("select", "series", "-x"), ("header", FILES.parent / "charset_files" / "chrH31.dcm"),
]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    some(
        ["sql 'select 1'", "tables", "ingest --help", "rules list"],
        always=["tables", "ingest --help"],
    ),
)
def test_a_full_standard_output_is_an_error_of_one_line(read, arguments):
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full")
    place = "" if "--help" in arguments else f"-w {read}"
    done = subprocess.run(
        f"{sys.executable} -c '{COMMAND}' {arguments} {place} > /dev/full",
        shell=True, capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (
        1,
        "error: standard output: no space is left on the disk\n",
    )


@pytest.mark.parametrize("arguments", ["tables", "ingest --help"])
def test_a_reader_who_leaves_is_no_error(read, arguments):
    place = "" if "--help" in arguments else f"-w {read}"
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -c '{COMMAND}' {arguments} {place} | true; echo ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("0\n", "")


def on_terminal(*arguments: object, columns: int = 80, **environment: str) -> str:
    """Return what the command shows on a terminal of so many columns."""
    master, slave = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        # Until the other end has closed.
        with contextlib.suppress(OSError):
            while more := os.read(master, 1 << 16):
                shown.append(more)

    reader = threading.Thread(target=read)
    reader.start()
    size = {"COLUMNS": str(columns), "LINES": "24", "TERM": "xterm"}
    code: object = None
    try:
        with (
            open(slave, "w", encoding="utf-8") as terminal,
            patch.dict(os.environ, {**size, **environment}),
            contextlib.redirect_stdout(terminal),
            contextlib.redirect_stderr(terminal),
        ):
            run_command([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    finally:
        reader.join(20)
        os.close(master)
    assert code == 0
    return b"".join(shown).decode().replace("\r\n", "\n")


def test_select_fits_a_terminal_and_shows_what_was_asked(read):
    shown = on_terminal("select", "series", "EchoTime__min=1", "-w", read)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert re.match("│ +EchoTime +│ +PatientID +│", lines[1])
    assert "more columns: -x shows all" in lines[-2]
    assert "\x1b" in on_terminal("tables", "-w", read)
    assert "\x1b" not in on_terminal("tables", "-w", read, NO_COLOR="1", TERM="dumb")


def test_columns_are_chosen_by_name(read):
    done = run("select", "series", "--columns", "Modality, KVP,SeriesNumber", "-w", read, "--format", "csv")  # fmt: skip
    assert sorted(done.stdout.splitlines()) == ["CT,120.0,1", "MR,NULL,1".replace("NULL", ""), "Modality,KVP,SeriesNumber"]  # fmt: skip
    wrong = run("select", "series", "--columns", "Modalitee", "-w", read)
    assert (wrong.returncode, "not a column of series" in wrong.stderr) == (2, True)
    whole = run("select", "series", "-w", read, "--format", "csv").stdout.splitlines()[0]
    assert len(whole.split(",")) > 40


def test_one_column_per_line(read):
    done = run("sql", "select 1 as a, null as beta, E'x\\n\\x1b[2J' as c", "-x", "-w", read)
    assert done.stdout == "-[ RECORD 1 ]\na    | 1\nbeta | NULL\nc    | x\\n\\x1b[2J\n".replace(
        "-[ RECORD 1 ]", "-[ RECORD 1 ]+----"
    )
    many = run("sql", "from range(50)", "-x", "-w", read).stdout
    assert many.count("RECORD") == 40
    assert "the first 40 rows" in many
    assert run("sql", "from range(0)", "-x", "-w", read).stdout == "(0 rows)\n"


def test_a_query_from_a_file_or_standard_input(read, tmp_path):
    (tmp_path / "q.sql").write_text("-- how many\nselect count(*) as n from instances;\n")
    done = run("sql", "--file", tmp_path / "q.sql", "-w", read, "--format", "csv")
    assert (done.stdout, done.stderr) == ("n\n2\n", "")
    given = io.TextIOWrapper(io.BytesIO("select 'é' as x".encode()), "utf-8")
    with patch("sys.stdin", given):
        piped = run("sql", "-", "-w", read, "--format", "csv")
    assert piped.stdout == "x\né\n"
    assert run("sql", "-w", read).returncode == 2
    assert run("sql", "select 1", "--file", tmp_path / "q.sql", "-w", read).returncode == 2


@pytest.mark.parametrize(("query", "says"), [
    ("select 1; select 2", "2 statements"), ("", "no statement"), ("/* nothing */", "no statement"),
])  # fmt: skip
def test_one_statement_is_asked(read, query, says):
    done = run("sql", query, "-w", read)
    assert (done.returncode, done.stdout, says in done.stderr) == (2, "", True)
    pivot = "pivot (select 1 as a, 2 as b) on a using sum(b)"
    assert run("sql", pivot, "-w", read, "--format", "csv").stdout == "1\n2\n"


def test_the_hint_after_wrong_usage_names_the_command(read):
    assert "try: dicom-warehouse sql --help" in run("sql", "--nonsense").stderr
    assert "try: dicom-warehouse cohort run --help" in run("cohort", "run").stderr
    assert "try: dicom-warehouse --help" in run("nonsense").stderr


def test_tables_counts_a_view_only_when_asked(read, monkeypatch):
    few = tuple(entry for entry in entries() if entry.name in {"patients", "files"})
    monkeypatch.setattr(guide, "entries", lambda: few)
    for given, rows in (((), ""), (("--count",), "2")):
        shown = run("tables", *given, "-w", read).stdout
        (line,) = (line for line in shown.splitlines() if line.startswith("patients "))
        assert re.split(" {2,}", line)[1] == (
            rows or "One row per patient, identified by PatientID."
        )
        assert re.search("^files +2 ", shown, re.MULTILINE)


@pytest.mark.long("test_tables_counts_a_view_only_when_asked")
def test_tables_counts_views_only_when_asked(read, monkeypatch):
    listed = run("tables", "-w", read).stdout
    # That each view can be asked is shown by `test_every_view_answers`; to plan all takes seconds.
    some_views = {"patients", "series", "tags", "unread"}
    few = tuple(e for e in entries() if e.kind != "view" or e.name in some_views)
    assert {e.name for e in few if e.kind == "view"} == some_views
    monkeypatch.setattr(guide, "entries", lambda: few)
    counted = run("tables", "--count", "-w", read).stdout
    for name in some_views:
        (row,) = answer_of(warehouse.open(read), f"select count(*) from {name}")
        assert re.search(rf"^{name} +{row[0]:,} ", counted, re.MULTILINE)
    of_series = [next(line for line in text.splitlines() if line.startswith("series ")) for text in (listed, counted)]  # fmt: skip
    assert [re.split(" {2,}", line)[1] for line in of_series] == ["One row per series.", "2"]
    for name in ("elements", "instances", "files"):
        (row,) = json.loads(run("sql", f"select count(*) as n from {name}", "-w", read, "--format", "json").stdout)  # fmt: skip
        assert re.search(rf"^{name} +{row['n']:,} ", listed, re.MULTILINE)
    assert "attributes" in listed
    assert "ct_thin_slice" in listed


def test_a_narrow_terminal_lists_tables_without_keys(read):
    lines = on_terminal("tables", "-w", read, NO_COLOR="1", TERM="dumb").splitlines()
    assert max(map(len, lines)) <= 80
    assert re.fullmatch(r"name +rows  what it is *", lines[0])
    # Two lines each, and a few of macros and cohorts: keys made them four.
    tables = sum(entry.kind in {"table", "view"} for entry in entries())
    assert len(lines) < 2.2 * tables
    assert lines[-1].startswith("key, columns and an example")
    wide = on_terminal("tables", "-w", read, columns=140, NO_COLOR="1", TERM="dumb").splitlines()
    assert re.fullmatch(r"name +rows  what it is +key *", wide[0])


def test_a_narrow_terminal_cuts_no_name_of_tags(read):
    shown = on_terminal("tags", "--like", "instance", "-w", read, columns=60)
    assert "SOP" in shown
    assert "…" not in shown


def test_describe_fills_the_lines_of_a_terminal(read):
    lines = on_terminal(
        "describe", "attributes", "-w", read, NO_COLOR="1", TERM="dumb"
    ).splitlines()
    paragraph = lines[lines.index("", 1) + 1 : lines.index("", lines.index("", 1) + 1)]
    assert max(map(len, lines[: len(paragraph) + 3])) <= 80
    assert min(map(len, paragraph[:-1])) > 60


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_every_example_of_describe_runs(read, tables_of_sample, entry, tmp_path):
    """That the views answer is for their tests: to plan them takes longer than all the examples."""
    assert entry.example
    assert not set(entry.example) & {'"', "$", "`"}, "it stands between double quotes of a shell"
    require_one(entry.example)
    if entry.name == "outputs":
        # Of an algorithm that there is.
        wh = warehouse.open(shutil.copytree(read, tmp_path / "w"))
        wh.components.create_socket(title="Scan", kind="DCMIS", relative_path="images/scan")
        wh.components.create_socket(title="Mean value", kind="FLT", relative_path="mean.json")
        wh.algorithms.create("mean-value", "scan -> mean-value", api_method="external")
        answer_of(wh, entry.example)
    else:
        tables_of_sample.execute(entry.example).fetchall()


def test_describe_knows_macros_and_cohorts(read, tmp_path):
    done = run("describe", "attributes", "-w", read)
    assert "attributes(names)" in done.stdout
    assert '  dicom-warehouse sql "from attributes([' in done.stdout
    done = run("describe", "CT_thin_slice", "-w", read)
    assert "largest SliceThickness" in done.stdout
    assert "cohort run ct_thin_slice" in done.stdout
    assert "dot_product(a, b)" in run("describe", "dot_product", "-w", read).stdout
    assert "similar: attributes" in run("describe", "atributes", "-w", read).stderr


def test_why_there_are_no_private_tags(read):
    done = run("tags", "--private", "-w", read, "--format", "csv")
    assert "2 of 2 files were read without private elements (mode normal)" in done.stderr
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.long("test_why_there_are_no_private_tags")
def test_why_there_is_nothing_private(read, tmp_path):
    for arguments in (("tags", "--private"), ("sql", "from private('GEMS_ACQU_01', '0x9c')")):
        done = run(*arguments, "-w", read, "--format", "csv")
        assert "2 of 2 files were read without private elements (mode normal)" in done.stderr
        assert len(done.stdout.splitlines()) == 1
    assert run("tags", "--like", "Modality", "-w", read).stderr == ""
    made = warehouse.open(tmp_path / "w", create=True)
    made.ingest(FILES / "MR_small.dcm", workers=1, mode="full")
    assert "none of the 1 file" not in run("tags", "-w", made.root).stderr


def test_a_name_of_a_vendor_is_found_elsewhere(sample):
    done = run("tags", "--like", "protocolslicenumber", "-w", sample.root)
    assert "ProtocolSliceNumber" in done.stderr
    command = re.search(r"dicom-warehouse (sql .*)", done.stderr)[1]
    rows = run(*shlex.split(command), "-w", sample.root, "--format", "csv").stdout.splitlines()
    assert len(rows) > 1


@pytest.mark.parametrize("command", list(commands()))
def test_examples_of_help_stand_on_one_line_and_parse(command):
    shown = run(*command.split(), "--help", COLUMNS="80").stdout
    assert max(map(len, shown.splitlines())) <= 80
    examples = re.findall(r"^Example: (dicom-warehouse .+)$", shown, re.MULTILINE)
    assert examples, shown
    for example in examples:
        words = shlex.split(example)
        assert words[1:][: len(command.split())] == command.split()
        app.parse_args(words[1:], exit_on_error=False, print_error=False)
