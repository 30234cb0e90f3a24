"""The command line: what it prints, where, and with which exit code."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import polars as pl
import pydicom.data
import pytest

import warehouse
from tests.command_line import COMMAND, ROOT, run
from warehouse.catalog.header_lines import lines
from warehouse.cli.app import app
from warehouse.dicom import scan

FILES = Path(pydicom.data.__path__[0]) / "test_files"


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli") / "w"
    done = run(
        "ingest", FILES / "CT_small.dcm", FILES / "MR_small.dcm", "-w", root, "--mode", "full"
    )
    assert done.returncode == 0, done.stderr
    return root


def test_ingest_prints_a_report(tmp_path):
    done = run("ingest", FILES / "CT_small.dcm", "-w", tmp_path / "w")
    assert done.returncode == 0
    assert done.stdout.startswith("1 file: 1 created")
    assert done.stderr == "", "no progress bar off a terminal"


@pytest.mark.acceptance("D5")
def test_ingest_prints_one_json_object_that_accounts_for_every_file(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.dcm").write_bytes((FILES / "CT_small.dcm").read_bytes())
    (tmp_path / "src" / "b").write_bytes((FILES / "CT_small.dcm").read_bytes())
    (tmp_path / "src" / "notes.dcm").write_text("not an image")
    first = json.loads(run("ingest", tmp_path / "src", "-w", tmp_path / "w", "--json").stdout)
    assert (first["created"], first["duplicate"], first["rejected"], first["files"]) == (1, 1, 1, 3)
    again = json.loads(run("ingest", tmp_path / "src", "-w", tmp_path / "w", "--json").stdout)
    assert (again["created"], again["existing"], again["duplicate"], again["rejected"]) == (
        0,
        1,
        1,
        1,
    )


@pytest.mark.acceptance("D8")
def test_strict_exits_with_1_and_names_the_reject(tmp_path):
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(bytes(1000))
    done = run("ingest", FILES / "CT_small.dcm", bad, "-w", tmp_path / "w", "--strict")
    assert done.returncode == 1
    assert f"{bad}: not DICOM" in done.stderr
    assert run("ingest", bad, "-w", tmp_path / "w").returncode == 0, (
        "without --strict rejects are rows"
    )


@pytest.mark.acceptance("D7")
def test_quiet_prints_nothing(tmp_path):
    done = run("ingest", FILES / "CT_small.dcm", "-w", tmp_path / "w", "--quiet")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_an_empty_folder_and_a_folder_without_dicom_are_no_failures(tmp_path):
    (tmp_path / "empty").mkdir()
    done = run("ingest", tmp_path / "empty", "-w", tmp_path / "w")
    assert (done.returncode, done.stdout) == (0, "no files found\n")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("hello")
    done = run("ingest", tmp_path / "texts", "-w", tmp_path / "w")
    assert done.returncode == 0
    assert "1 rejected" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ingest", "no/such/folder"], "no such file or folder"),
        (["ingest", "."], "the folder exists and holds other files"),
        (["ingest", ".", "--mode", "everything"], "minimal, normal, full"),
        (["ingest"], "SOURCES"),
        (["ingest", ".", "--batch", "3"], "--batch"),
        (["frobnicate"], "frobnicate"),
        (["sql", "select 1"], "is not a warehouse"),
        (["header", "1.2.3.4"], "neither a file nor the SOPInstanceUID"),
    ],
)  # fmt: skip
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(tmp_path, arguments, says):
    (tmp_path / "warehouse-data").mkdir()
    (tmp_path / "warehouse-data" / "thesis.tex").write_text("mine")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in (tmp_path / "warehouse-data").iterdir()] == ["thesis.tex"]


@pytest.mark.acceptance("D1")
def test_the_mode_can_come_from_the_environment(tmp_path):
    done = run("ingest", FILES / "CT_small.dcm", "-w", tmp_path / "w", DICOM_WAREHOUSE_MODE="FULL")
    assert done.returncode == 0
    odd = "select count(*) n from elements where tag[4] in ('1','3','5','7','9','B','D','F')"
    (row,) = json.loads(run("sql", odd, "-w", tmp_path / "w", "--format", "json").stdout)
    assert row["n"] > 0


def test_the_warehouse_can_come_from_the_environment(ingested):
    done = run(
        "sql", "select count(*) n from instances", "--format", "csv", DICOM_WAREHOUSE=str(ingested)
    )
    assert done.stdout == "n\n2\n"


def test_sql_answers_in_every_format(ingested, tmp_path):
    query = "select Modality, Rows from instances order by all"
    assert "│ CT" in run("sql", query, "-w", ingested).stdout
    assert json.loads(run("sql", query, "-w", ingested, "--format", "json").stdout) == [
        {"Modality": "CT", "Rows": 128}, {"Modality": "MR", "Rows": 64},
    ]  # fmt: skip
    assert (
        run("sql", query, "-w", ingested, "--format", "csv").stdout
        == "Modality,Rows\nCT,128\nMR,64\n"
    )
    for name in ("a.parquet", "a.csv", "a.json"):
        assert run("sql", query, "-w", ingested, "-o", tmp_path / name).returncode == 0
    assert pl.read_parquet(tmp_path / "a.parquet").rows() == [("CT", 128), ("MR", 64)]
    assert pl.read_csv(tmp_path / "a.csv").rows() == [("CT", 128), ("MR", 64)]
    assert len(json.loads((tmp_path / "a.json").read_text())) == 2
    assert run("sql", query, "-w", ingested, "--format", "parquet").returncode == 2


def test_sql_of_no_rows_is_an_empty_array(ingested):
    done = run("sql", "from series where Modality = 'XX'", "-w", ingested, "--format", "json")
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("query", ["selec 1", "select nonsense from series", "from no_such_table"])
def test_sql_that_fails_says_why_without_a_traceback(ingested, query):
    done = run("sql", query, "-w", ingested)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_sql_does_not_change_the_warehouse(ingested):
    before = json.loads(run("info", "-w", ingested, "--json").stdout)
    for query in ("drop view series", "delete from instances", "insert into files values (1)"):
        run("sql", query, "-w", ingested)
    assert json.loads(run("info", "-w", ingested, "--json").stdout) == before


@pytest.mark.parametrize(
    "query",
    [
        "copy (select 1 as a) to '{}'",
        "/* für mich */ copy (pivot series on Modality) to '{}'",
        "export database '{}'",
        "attach '{}'",
        "create table mine as select 1",
        "set threads = 1",
    ],
)
def test_sql_refuses_what_does_more_than_return_rows(ingested, tmp_path, query):
    # README: "No command replaces a file without --force"; of the others nothing would remain.
    kept = tmp_path / "outcomes.csv"
    kept.write_text("PatientID,outcome\n")
    done = run("sql", query.format(kept), "-w", ingested)
    assert done.returncode == 2
    assert "a statement must only return rows" in done.stderr
    assert kept.read_text() == "PatientID,outcome\n"


@pytest.mark.parametrize(
    "query",
    [
        "-- by kind\npivot series on Modality using count(*)",
        "summarize series",
        "explain from series",
        "pragma version",
        "values (1)",
        "select '…………' as \"ä\"",
    ],
)
def test_sql_takes_everything_that_returns_rows(ingested, query):
    assert run("sql", query, "-w", ingested, "--format", "csv").returncode == 0


def test_tables_lists_every_view_with_its_meaning(ingested):
    done = run("tables", "-w", ingested)
    assert "One row per series." in done.stdout
    for name in ("files", "elements", "instances", "series", "studies", "patients", "images"):
        assert f"\n{name} " in "\n" + done.stdout


def test_describe_shows_columns_and_names_similar_tables(ingested):
    done = run("describe", "SERIES", "-w", ingested)
    assert "SeriesInstanceUID" in done.stdout
    assert "(0020,000E)" in done.stdout
    wrong = run("describe", "sereis", "-w", ingested)
    assert wrong.returncode == 2
    assert "similar: series" in wrong.stderr


@pytest.mark.acceptance("D33")
def test_header_of_a_file_and_of_its_stored_instance_are_the_same(ingested):
    of_file = run("header", FILES / "CT_small.dcm", "--full")
    uid = run(
        "sql",
        "select SOPInstanceUID u from instances where Modality = 'CT'",
        "-w",
        ingested,
        "--format",
        "csv",
    )
    of_instance = run("header", uid.stdout.split()[1], "-w", ingested, "--full")
    assert of_file.returncode == of_instance.returncode == 0
    assert of_file.stdout == of_instance.stdout
    assert "(0010,0010)  PatientName" in of_file.stdout
    assert "CompressedSamples^CT1" in of_file.stdout


def test_header_shows_sequences_indented_and_a_private_section(tmp_path):
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    data.SOPInstanceUID = "1.2.3"
    inner = Dataset()
    inner.CodeValue = "T-A0100"
    data.AnatomicRegionSequence = Sequence([inner])
    data.private_block(0x0029, "SOMEONE", create=True).add_new(0x01, "LO", "secret")
    data.save_as(tmp_path / "x", enforce_file_format=True)
    printed = run("header", tmp_path / "x").stdout
    assert "AnatomicRegionSequence" in printed
    assert "\n(0008,0100)    CodeValue" in printed
    public, private = printed.split("Private Data Elements")
    assert "SOMEONE" in private
    assert "secret" in private
    assert "SOMEONE" not in public


def test_long_names_leave_room_for_values_on_a_narrow_terminal():
    from pydicom.data import get_testdata_file

    header = warehouse.header(get_testdata_file("CT_small.dcm"))
    printed = [line for _, line in lines(header, 80)]
    assert max(map(len, printed)) <= 80
    (line,) = [line for line in printed if line.startswith("(0008,0070)")]
    assert line.endswith("GE MEDICAL SYSTEMS")
    # A name longer than its column is not cut: its value begins further to the right.
    wide = [line for _, line in lines(header, 72)]
    assert any("MediaStorageSOPInstanceUID  UI" in line for line in wide)


def test_header_of_a_file_that_is_no_dicom(tmp_path):
    (tmp_path / "a.dcm").write_text("hello world, this is text")
    done = run("header", tmp_path / "a.dcm")
    assert done.returncode == 2
    assert "not DICOM" in done.stderr


@pytest.mark.parametrize(
    ("unchecked", "mebibytes"),
    [(1 << 20, 2), pytest.param(scan.MAX_UNCHECKED_BYTES, 300, marks=pytest.mark.slow)],
)
def test_zip_archives_are_looked_into_and_bombs_refused(
    tmp_path, unchecked, mebibytes, monkeypatch
):
    monkeypatch.setattr(scan, "MAX_UNCHECKED_BYTES", unchecked)
    with zipfile.ZipFile(tmp_path / "good.zip", "w") as archive:
        archive.write(FILES / "CT_small.dcm", "folder/1")
    with (
        zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("zeros.dcm", "w", force_zip64=True) as member,
    ):
        for _ in range(mebibytes):
            member.write(bytes(1 << 20))
    (tmp_path / "broken.zip").write_bytes((tmp_path / "good.zip").read_bytes()[:300])
    done = json.loads(run("ingest", tmp_path, "-w", tmp_path / "w", "--json").stdout)
    assert (done["created"], done["rejected"], done["files"]) == (1, 2, 3)
    reasons = {Path(r["path"]).name: r["reason"] for r in done["rejects"]}
    assert "possible zip bomb" in reasons["bomb.zip"]
    assert "broken zip archive" in reasons["broken.zip"]


@pytest.mark.acceptance("D4")
def test_pattern_narrows_without_case(tmp_path):
    for name in ("a.dcm", "b.DCM", "c.ima", "d"):
        (tmp_path / name).write_bytes((FILES / "CT_small.dcm").read_bytes())
    done = json.loads(
        run("ingest", tmp_path, "-w", tmp_path / "w", "--pattern", "*.dcm", "--json").stdout
    )
    assert done["files"] == 2
    done = json.loads(
        run(
            "ingest",
            tmp_path,
            "-w",
            tmp_path / "w",
            "--pattern",
            "*.dcm",
            "--pattern",
            "*.IMA",
            "--json",
        ).stdout
    )
    assert done["files"] == 3


def test_a_closed_pipe_is_no_error(ingested):
    done = subprocess.run(
        f"{sys.executable} -c '{COMMAND}' sql 'from elements' -w {ingested} --format csv | head -n 1",
        shell=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("batch,")
    assert "Traceback" not in done.stderr


def commands(group=app, before=()):
    """Yield every command and group of commands, as words."""
    yield " ".join(before)
    for name in group:
        if not name.startswith("-"):
            yield from commands(group[name], (*before, name))


@pytest.mark.parametrize("command", list(commands()))
def test_every_command_has_help_with_an_example(command):
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert "Example: dicom-warehouse" in " ".join(done.stdout.replace("│", " ").split())


def test_header_in_formats_for_programs(ingested):
    model = json.loads(run("header", FILES / "CT_small.dcm", "--format", "json").stdout)
    assert model["00080060"] == {"vr": "CS", "Value": ["CT"]}
    table = pl.read_csv(
        run("header", FILES / "CT_small.dcm", "--format", "csv").stdout.encode(),
        infer_schema=False,
    )
    assert table.columns == ["Tag", "Keyword", "VR", "VM", "Value"]
    assert ("00080060", "Modality", "CS", "1", "CT") in table.rows()


def test_tags_lists_what_is_there(ingested):
    done = run("tags", "--like", "slicethick", "-w", ingested)
    assert done.returncode == 0
    assert "00180050" in done.stdout
    rows = json.loads(run("tags", "--private", "-w", ingested, "--format", "json").stdout)
    assert {row["example"] for row in rows} == {None}
    assert rows
    assert all(int(row["tag"][3], 16) % 2 for row in rows)


def test_a_dictionary_gives_private_elements_their_names(tmp_path):
    assert (
        run("ingest", FILES / "CT_small.dcm", "-w", tmp_path / "w", "--mode", "full").returncode
        == 0
    )
    (tmp_path / "v.csv").write_text("creator,tag,vr,name\nGEMS_ACQU_01,0019xx02,SL,My Cells\n")
    done = run("dictionary", "add", tmp_path / "v.csv", "-w", tmp_path / "w")
    assert (done.returncode, done.stdout) == (0, "1 name of a private element added\n")
    printed = run("header", FILES / "CT_small.dcm", "-w", tmp_path / "w").stdout
    assert "[My Cells]" in printed
    (tmp_path / "v.csv").write_text("creator\nA\n")
    wrong = run("dictionary", "add", tmp_path / "v.csv", "-w", tmp_path / "w")
    assert wrong.returncode == 2
    assert "has no vr, name" in wrong.stderr
