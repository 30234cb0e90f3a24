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
from warehouse.cli.run import app
from warehouse.metrics import Measured, metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = {
    "sql", "select", "tags", "socket list", "value list", "duplicates", "header", "rules list",
    "image list", "algorithm list", "job list",
}  # fmt: skip
"""Their answer is rows or a header: ``--format json`` writes it, as ``duplicates`` does with --json."""

NO_REPORT = {
    "socket show": "prints JSON anyhow",
    "value show": "prints the value, which is JSON or the name of its file",
    "value add": "its --json takes the value",
    "describe": "prints the words of sql/: in the tables information_schema and duckdb_columns()",
    "cohort export": "writes files, with their facts beside them as JSON",
    "completion": "prints a program for a shell",
    "volume": "shows or writes voxels; its facts are columns of series_geometry",
}

NOT_YET = {
    "image add", "image desire", "image remove", "model add", "algorithm create", "job show",
    "job logs", "job cancel", "job retry", "job claim", "job report", "deidentify key",
    "deidentify check", "deidentify views", "deidentify mapping", "gradients", "token revoke",
    "serve", "viewer install",
}  # fmt: skip
"""They print lines for people, or JSON without being asked; to be looked at one by one."""


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
    if name in NO_REPORT or name in NOT_YET:
        assert "as_json" not in parameters, "it is no exception any more"
    elif name in ROWS:
        assert {"as_json", "form"} & set(parameters)
    else:
        assert "as_json" in parameters


def test_the_shape_is_one_object(folder: Path, tmp_path: Path) -> None:
    """One per command (an array where rows are listed), on standard output, with snake_case keys."""
    root = tmp_path / "w"
    (tmp_path / "q.sql").write_text("select series_key from series")
    (tmp_path / "d.csv").write_text("creator,tag,vr,name\nACME,0019xx01,DS,Speed\n")
    arguments: dict[str, tuple[object, ...]] = {
        "ingest": (folder / "in",), "dictionary add": (tmp_path / "d.csv",),
        "cohort save": ("all_series", "--sql", tmp_path / "q.sql"),
        "socket create": ("Note", "--kind", "STR", "--path", "note.json"),
        "socket edit": ("note", "--description", "x"), "socket retire": ("note",),
        "value check": (), "tables": (), "cohort list": (), "cohort run": ("ct_thin_slice",),
        "cohort show": ("ct_thin_slice",), "cohort rerun": ("ct_thin_slice",),
        "batch plan": (folder / "in",), "batch list": (), "verify": (), "audit": (), "info": (),
        "remove": (folder / "in",), "compact": (), "vacuum": (), "rebuild": (),
        "relocate": (folder / "in", folder / "moved"), "forget": ("--instance", "1.1"),
    }  # fmt: skip
    for name, given in arguments.items():
        done = run(*name.split(), *given, "-w", root, "--json")
        assert done.returncode == 0, (name, done.stderr)
        answer = json.loads(done.stdout)
        assert isinstance(answer, list if name == "audit" else dict), name
        first = answer[0] if name == "audit" else answer
        assert all(re.fullmatch("[a-z][a-z0-9_]*", key) for key in first), name


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
    assert found["ingest_failed"] == {"": 0}
    assert found["ingest_batches"] == {"": 1}
    assert found["ingest_files"]['outcome="created"'] == 3
    assert set(found["ingest_seconds"]) == {'stage="list"', 'stage="read"'}
    assert abs(found["ingest_ended_timestamp_seconds"][""] - time.time()) < 600
    assert [path.name for path in tmp_path.iterdir() if "prom" in path.name] == ["dicom.prom"]


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
