"""What is written: complete or not there, never in the place of another, in the format of its name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pydicom.data
import pytest

import warehouse
from tests.command_line import run
from warehouse import outputs
from warehouse.errors import ExportFailed, TargetExists, UsageError, WriteFailed, cause_of

QUERY = "select Modality, Rows from instances order by all"


FILES = Path(pydicom.data.__path__[0]) / "test_files"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse of two files and a run of a cohort. Not to write to."""
    root = tmp_path_factory.mktemp("outputs") / "w"
    warehouse.open(root, create=True).ingest(
        FILES / "CT_small.dcm", FILES / "MR_small.dcm", workers=1
    )
    warehouse.open(root, create=True).cohort("ct_thin_slice", max_slice_mm=5)
    return root


# Every command with an output of text or rows, and what its name must end in.
COMMANDS = [
    (("sql", QUERY, "-o"), ".csv"),
    (("select", "series", "-o"), ".json"),
    (("tags", "-o"), ".txt"),
    (("header", str(FILES / "CT_small.dcm"), "-o"), ".json"),
    (("rules", "list", "-o"), ".csv"),
    (("cohort", "export", "ct_thin_slice"), ".csv"),
]


@pytest.mark.parametrize(("arguments", "suffix"), COMMANDS, ids=lambda case: str(case)[:24])
def test_a_file_is_replaced_only_by_force(asked, tmp_path, arguments, suffix):
    target = tmp_path / f"a{suffix}"
    target.write_text("mine")
    refused = run(*arguments, target, "-w", asked)
    assert (refused.returncode, target.read_text()) == (2, "mine")
    assert "--force" in refused.stderr
    done = run(*arguments, target, "-w", asked, "--force")
    assert done.returncode == 0, done.stderr
    assert target.read_text() != "mine"
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == []


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("a.xlsx", (), "spreadsheet"),
        ("a.xlsx", ("--format", "csv"), "spreadsheet"),
        ("a", (), "does not give a format"),
        ("a.doc", (), "does not give a format"),
        ("a.csv", ("--format", "json"), "its suffix is that of csv"),
        ("a.csv", ("-x",), "-x draws a table"),
        ("none/a.csv", (), "there is no folder"),
        ("file/a.csv", (), "is a file, not a folder"),
        ("folder.csv", ("--force",), "it is a folder"),
        ("a" * 300 + ".csv", (), "name is too long"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_asked(asked, tmp_path, name, more, says):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.csv").mkdir()
    # The query would fail if it ran.
    done = run("sql", "select error('asked')", "-w", asked, "-o", tmp_path / name, *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "asked" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.csv"]


def test_every_suffix_holds_what_it_says(asked, tmp_path):
    for suffix in ("csv", "tsv", "json", "jsonl", "ndjson", "parquet", "txt"):
        done = run("sql", QUERY, "-w", asked, "-o", tmp_path / f"a.{suffix}")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / "a.csv").read_text().startswith("Modality,Rows\n")
    assert (tmp_path / "a.tsv").read_text().startswith("Modality\tRows\n")
    rows = json.loads((tmp_path / "a.json").read_text())
    for name in ("a.jsonl", "a.ndjson"):
        assert [json.loads(line) for line in (tmp_path / name).read_text().splitlines()] == rows
    assert (tmp_path / "a.parquet").read_bytes()[:4] == b"PAR1"
    assert (tmp_path / "a.txt").read_text().startswith("┌")


def test_a_query_that_fails_leaves_the_old_file(asked, tmp_path):
    (tmp_path / "a.csv").write_text("mine")
    done = run("sql", "select cast(Modality as int) from instances", "-w", asked, "-o", tmp_path / "a.csv", "--force")  # fmt: skip
    assert done.returncode == 1
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.csv", "mine")]


def test_force_replaces_behind_a_link_and_no_device(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    with pytest.raises(TargetExists):
        outputs.write_bytes(b"new", tmp_path / "link.txt")
    outputs.write_bytes(b"new", tmp_path / "link.txt", force=True)
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TargetExists, match="not a regular file"):
        outputs.refuse_existing(tmp_path / "pipe", force=True)


def test_without_hard_links_a_file_appears_once(tmp_path, monkeypatch):
    # exFAT and some network file systems have none: link(2) gives EPERM.
    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    outputs.write_bytes(b"new", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == b"new"
    (tmp_path / "draft").write_bytes(b"other")
    with pytest.raises(TargetExists):
        outputs.place(tmp_path / "draft", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == b"new"


def test_two_outputs_of_one_name_are_refused(asked, tmp_path):
    done = run("volume", "1", "--png", tmp_path / "a.png", "--montage", tmp_path / "a.png", "-w", asked)  # fmt: skip
    assert (done.returncode, "two outputs have the same name" in done.stderr) == (2, True)
    done = run("volume", "1", "--png", tmp_path / "a.jpg", "-w", asked)
    assert (done.returncode, "must end in .png" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("code", "wrong"),
    [(28, "no space"), (2, "no such folder"), (13, "permission denied"), (21, "it is a folder"),
     (36, "name is too long"), (30, "read-only")],
)  # fmt: skip
def test_each_cause_has_its_own_words(tmp_path, code, wrong):
    error = OSError(code, os.strerror(code))
    assert wrong in str(WriteFailed("rows", error))
    assert ("free space" in str(WriteFailed("rows", error))) == (code == 28)
    # DuckDB and Arrow say it in a message alone.
    assert wrong in cause_of(ValueError(f'IO Error: Could not write "a": {os.strerror(code)}'))[0]
    with pytest.raises(ExportFailed, match=wrong), outputs.draft_of(tmp_path / "a"):
        raise error


@pytest.mark.parametrize("command", [("sql", "--file"), ("rules", "add"), ("dictionary", "add")])
def test_files_that_cannot_be_read(asked, tmp_path, command):
    (tmp_path / "text").write_bytes(b"\xff\xfe")
    for name, says in (("none", "no such file"), ("", "it is a folder"), ("text", "not UTF-8")):
        done = run(*command, tmp_path / name, "-w", asked)
        assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def test_the_suffix_is_read_in_any_case():
    assert outputs.format_of(Path("A.CSV"), None, {".csv": "csv"}) == "csv"
    with pytest.raises(UsageError, match=r"end it in \.a or \.b"):
        outputs.format_of(Path("x"), None, {".a": "a", ".b": "b"})
