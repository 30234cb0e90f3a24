"""What programs see: JSON of every command that reports, a line per batch, metrics for Prometheus."""

from __future__ import annotations

import inspect
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import warehouse
from tests.command_line import run
from tests.dicom_files import write
from tests.documented_keys import documented, unlike_the_page
from warehouse.cli.run import app
from warehouse.cli.watching import Watch
from warehouse.listener.spool import default_spool
from warehouse.listener.state import FILE, State, write_state
from warehouse.metrics import Measured, metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = {
    "sql", "select", "tags", "socket list", "value list", "duplicates", "header", "rules list",
    "image list", "algorithm list", "job list",
}  # fmt: skip
"""Their answer is rows or a header: ``--format json`` writes it, as ``duplicates`` does with --json."""

NO_REPORT = {
    "value add": "its --json takes the value; --format json reports",
    "completion": "prints a program for a shell",
}


def commands(group: Any = app, *before: str) -> Iterator[tuple[str, Any]]:
    for name in group:
        if name.startswith("-"):
            continue
        found = group[name]
        if found.default_command is None:
            yield from commands(found, *before, name)
        else:
            yield " ".join((*before, name)), found.default_command


COMMANDS = dict(commands())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("outside")
    for number in range(3):
        write(made / "in" / f"{number}", uid=f"1.{number}", SliceThickness=1)
    write(made / "in" / "copy", uid="1.2")
    (made / "in" / 'odd "name"\\').write_bytes(b"no DICOM")
    return made


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_reports_does_so_as_json(name: str) -> None:
    parameters = inspect.signature(COMMANDS[name]).parameters
    if name in NO_REPORT:
        assert "as_json" not in parameters, "it is no exception any more"
    elif name in ROWS:
        assert {"as_json", "form"} & set(parameters)
    else:
        assert "as_json" in parameters


def refused(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


WITHOUT_ROOT = {"deidentify key", "deidentify check", "cohort verify"}


def unlike_the_page_when_run(name: str, given: tuple[object, ...], root: Path) -> list[str]:
    """Require one document on one line; return the keys that the page has otherwise."""
    where = () if name in WITHOUT_ROOT else ("-w", root)
    done = run(*name.split(), *given, *where, "--json")
    assert done.returncode == 0, (name, done.stderr)
    assert done.stdout.count("\n") == 1, name
    return unlike_the_page(name, json.loads(done.stdout, parse_constant=refused))


def test_some_commands_print_one_strict_document_with_the_keys_of_the_page(
    folder: Path, tmp_path: Path
) -> None:
    for name, given in {
        "ingest": (folder / "in",), "info": (), "duplicates": ("--all",), "tables": (),
        "token add": ("me",), "token list": (),
    }.items():  # fmt: skip
        assert unlike_the_page_when_run(name, given, tmp_path / "w") == [], name
    rows = ROWS - {"duplicates", "rules list", "header"}
    assert set(documented()) == set(COMMANDS) - rows - set(NO_REPORT) - {"rules list", "header"}


@pytest.mark.long("test_some_commands_print_one_strict_document_with_the_keys_of_the_page")
def test_every_command_prints_one_strict_document_with_the_keys_of_the_page(
    folder: Path, tmp_path: Path
) -> None:
    """One per command (an array where rows are listed), on standard output, with snake_case keys."""
    root = tmp_path / "w"
    (tmp_path / "q.sql").write_text("select series_key from series")
    (tmp_path / "d.csv").write_text("creator,tag,vr,name\nACME,0019xx01,DS,Speed\n")
    (tmp_path / "r.csv").write_text(
        "rank,rule,sequence_type,attribute,test,values\n1,mine,T1w,SeriesDescription,is,x\n"
    )
    (tmp_path / "m.py").write_text("def run(inputs, outputs):\n    pass\n")
    arguments: dict[str, tuple[object, ...]] = {
        "batch plan": (folder / "in",), "batch list": (), "batch run": (1,),
        "ingest": (folder / "in",), "dictionary add": (tmp_path / "d.csv",),
        "rules add": (tmp_path / "r.csv",),
        "cohort save": ("all_series", "--sql", tmp_path / "q.sql"),
        "describe": ("series",), "duplicates": ("--all",),
        "socket create": ("Note", "--kind", "STR", "--path", "note.json"),
        "socket edit": ("note", "--description", "x"), "socket show": ("note",),
        "value import": (tmp_path / "set", "--set", "readers"),
        "value export": ("--set", "readers", "-o", tmp_path / "written"),
        "value check": ("note",), "socket retire": ("note",), "tables": (), "cohort list": (),
        "cohort run": ("ct_thin_slice",), "cohort show": ("ct_thin_slice",),
        "cohort rerun": ("ct_thin_slice",), "cohort diff": ("ct_thin_slice-0001", "ct_thin_slice-0001"),
        "cohort union": ("ct_thin_slice", "ct_thin_slice", "--name", "u"),
        "cohort split": ("ct_thin_slice",),
        "cohort sample": ("ct_thin_slice", "--name", "s", "--count", 1),
        "cohort export": ("ct_thin_slice", tmp_path / "a.csv"), "cohort verify": (tmp_path / "a.csv",),
        "volume": ("1.2.1.1", "--stack"), "algorithm create": (
            "mine", "--function", f"{tmp_path / 'm.py'}:run", "--interface", "ct -> note-2",
        ), "run": ("mine", "--all", "--jobs", 0),
        "token add": ("me",), "token list": (), "token revoke": ("me",),
        "deidentify key": (tmp_path / "k",), "deidentify check": (tmp_path / "set", "--against", root),
        "deidentify views": (tmp_path / "v.duckdb", "--key", tmp_path / "k"),
        "verify": (), "audit": (), "info": (), "remove": (folder / "in",), "compact": (),
        "vacuum": (), "rebuild": (), "relocate": (folder / "in", folder / "moved"),
        "forget": ("--instance", "1.1"),
    }  # fmt: skip
    (tmp_path / "set" / "one").mkdir(parents=True)
    (tmp_path / "set" / "one" / "note.json").write_text('"fine"')
    other: dict[str, list[str]] = {}
    for name, given in arguments.items():
        if name == "algorithm create":
            run("socket", "create", "Note 2", "--kind", "STR", "--path", "note2.json", "-w", root)
            run("socket", "create", "CT", "--kind", "DCMIS", "--path", "images/ct", "-w", root)
        if unlike := unlike_the_page_when_run(name, given, root):
            other[name] = unlike
    assert other == {}


def test_a_line_of_json_for_each_batch(folder: Path, tmp_path: Path) -> None:
    done = run(
        "ingest", folder / "in", "-w", tmp_path / "w", "--workers", "1", "--batch-files", "2",
        "--log-format", "json",
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["planned", "batch", "batch", "batch"]
    assert lines[0]["files"] == 5
    assert sum(line.get("created", 0) for line in lines) == 3
    assert sum(line.get("rejected", 0) for line in lines) == 1
    assert [line["batch"] for line in lines[1:]] == ["000001", "000002", "000003"]
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds)


SAMPLE = re.compile(
    r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)+)\})? ([0-9.e+-]+|NaN|[+-]Inf)'
)
"""A line of the text format 0.0.4."""


def parsed(text: str) -> dict[str, dict[str, float]]:
    """Return family → labels → value; each family has HELP and TYPE before its samples, once."""
    found: dict[str, dict[str, float]] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in found
            found[name] = {}
        elif line.startswith("# TYPE "):
            assert line.split()[2:] == [name, "gauge"]
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            assert match[1] == name
            assert (match[2] or "") not in found[name]
            found[name][match[2] or ""] = float(match[3])
    return {name.removeprefix("dicom_warehouse_"): samples for name, samples in found.items()}


def test_metrics_are_what_the_warehouse_holds(folder: Path, tmp_path: Path) -> None:
    root, target = tmp_path / "w", tmp_path / "dicom.prom"
    target.write_text("older")
    done = run("ingest", folder / "in", "-w", root, "--workers", "1", "--metrics", target)
    assert done.returncode == 0, done.stderr
    found = parsed(target.read_text())
    wh = warehouse.open(root)
    assert found["version"] == {"": wh.version}
    assert 0 <= found["version_age_seconds"][""] < 600
    assert found["files"] == {
        'status="ingested"': 3, 'status="duplicate"': 1, 'status="rejected"': 1
    }  # fmt: skip
    ((reason, count),) = found["rejects"].items()
    assert (reason.startswith('reason="'), count) == (True, 1)
    for table in ("instances", "elements", "files"):
        rows = wh.sql(f"select count(*) from {table}").fetchall()[0][0]
        assert found["rows"][f'table="{table}"'] == rows
        size = sum(path.stat().st_size for path in (root / table).glob("batch=*/*.parquet"))
        assert found["bytes"][f'table="{table}"'] == size
    assert found["instances"] == {"": 3}
    assert found["waiting_batches"] == {"": 0}
    assert not {"spool_files", "spool_updated_timestamp_seconds"} & set(found), "nobody listens"
    assert found["ingest_failed"] == {"": 0}
    assert found["ingest_batches"] == {"": 1}
    assert found["ingest_files"]['outcome="created"'] == 3
    seconds = found["ingest_seconds"]
    assert set(seconds) == {f'stage="{stage}"' for stage in ("list", "read", "commit", "finish")}
    assert 0 < seconds['stage="commit"'] <= sum(seconds.values()) < 600
    assert abs(found["ingest_ended_timestamp_seconds"][""] - time.time()) < 600
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == ["dicom.prom"]


def test_metrics_have_what_listeners_received(folder: Path, tmp_path: Path) -> None:
    root, target = tmp_path / "w", tmp_path / "dicom.prom"
    for aet, waiting in (("CT", 12), ("MR", 0)):
        spool = default_spool(root, aet)
        spool.mkdir(parents=True)
        at = "2026-11-28T12:00:00+00:00"
        state = State(
            aet, "127.0.0.1", 11112, str(spool), at, True, 0, 20, 0, waiting, 8, at, at, None
        )
        write_state(spool, state)
    broken = default_spool(root, "BROKEN")
    broken.mkdir()
    (broken / FILE).write_text((spool / FILE).read_text().replace(at, "yesterday"))
    done = run("ingest", folder / "in", "-w", root, "--workers", "1", "--metrics", target)
    assert done.returncode == 0, done.stderr
    found = parsed(target.read_text())
    assert found["spool_files"] == {'aet="CT"': 12, 'aet="MR"': 0}
    # 2026-11-28 12:00 UTC, by `date -u -d 2026-11-28T12:00 +%s`
    assert found["spool_updated_timestamp_seconds"]['aet="CT"'] == 1795867200


def test_a_commit_begins_with_the_last_file_of_its_batch(monkeypatch: Any) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[-1])
    watch = Watch(enabled=False, log=False)
    for at, told in (
        (2.0, lambda: watch.planned(4)), (5.0, lambda: watch.read(1, 0)),
        (6.0, lambda: watch.read(1, 0)), (9.0, lambda: watch.committed("000001", {})),
        (9.5, lambda: watch.read(2, 0)), (11.0, lambda: watch.committed("000002", {})),
    ):  # fmt: skip
        clock.append(at)
        told()
    clock.append(11.5)
    assert watch.seconds() == {"list": 2.0, "read": 4.5, "commit": 4.5, "finish": 0.5}


def test_a_failed_ingest_says_so(folder: Path, tmp_path: Path) -> None:
    root, target = tmp_path / "w", tmp_path / "dicom.prom"
    run("ingest", folder / "in", "-w", root, "--workers", "1")
    done = run("ingest", tmp_path / "not-mounted", "-w", root, "--metrics", target)
    assert done.returncode == 2
    found = parsed(target.read_text())
    assert found["ingest_failed"] == {"": 1}
    assert "ingest_files" not in found
    assert found["files"]['status="ingested"'] == 3


def test_a_reason_with_quotes_and_lines_is_one_label(tmp_path: Path, monkeypatch: Any) -> None:
    write(tmp_path / "in" / "a")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    many = "select 'a \"b\" \\ ' || n || chr(10) as reason, 30 - n as n from range(25) t(n)"
    monkeypatch.setattr("warehouse.metrics.statement", lambda _: many)
    found = parsed(metrics(wh.root, Measured()))
    assert len(found["rejects"]) == 21
    assert found["rejects"]['reason="other"'] == sum(30 - n for n in range(20, 25))
    assert 'reason="a \\"b\\" \\\\ 0\\n"' in found["rejects"]
