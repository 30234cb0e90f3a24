"""``dicom-warehouse socket`` and ``value``, as people type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import warehouse
from tests.command_line import run
from warehouse.components.examples import EXAMPLES


@pytest.mark.long("test_files_and_sets_by_command")
def test_a_socket_and_its_values_by_command(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    w = ("-w", wh.root)
    schema = tmp_path / "schema.json"
    schema.write_text('{"maximum": 100}')
    made = run(
        "socket", "create", "Malignancy", "--kind", "FLT", "--path", "m.json", "--schema", schema,
        "--default", "0.5", *w,
    )  # fmt: skip
    assert made.stdout == "socket malignancy: Float\n"
    shown = json.loads(run("socket", "show", "malignancy", *w).stdout)
    assert (shown["default_value"], shown["schema"], shown["version"]) == (0.5, {"maximum": 100}, 1)
    listed = json.loads(run("socket", "list", "--format", "json", *w).stdout)
    assert [row["slug"] for row in listed][:2] == ["malignancy", "metrics-json-file"]
    added = run(
        "value", "add", "malignancy", "--json", "0.85", "--series", "1.2.10", "--by", "me", *w
    )
    assert added.stdout.endswith(": added\n")
    again = run("value", "add", "malignancy", "--json", "0.85", "--series", "1.2.20", *w)
    assert again.stdout.endswith(": stored already, used anew\n")
    rows = json.loads(run("value", "list", "malignancy", "--format", "json", *w).stdout)
    assert [(row["value"], row["added_by"]) for row in rows] == [("0.85", "me"), ("0.85", "")]
    assert run("value", "show", rows[0]["value_id"][:8], *w).stdout == "0.85\n"
    shown = json.loads(run("value", "show", rows[0]["value_id"], "--json", *w).stdout)
    assert shown == {"value": 0.85}
    third = (
        "value",
        "add",
        "malignancy",
        "--json",
        "0.85",
        "--series",
        "1.2.20",
        "--format",
        "json",
    )
    facts = json.loads(run(*third, *w).stdout)
    assert facts == {"value_id": rows[0]["value_id"], "is_new": False, "is_new_use": False}
    refused = run("value", "add", "malignancy", "--json", "101", *w)
    assert refused.returncode == 2
    assert "it is greater than the maximum of 100" in refused.stderr
    schema.write_text('{"maximum": 0.5}')
    refused = run("socket", "edit", "malignancy", "--schema", schema, *w)
    assert (refused.returncode, "1 of 1 existing values" in refused.stderr) == (2, True)
    edited = run("socket", "edit", "malignancy", "--schema", schema, "--even-if-values-fail", *w)
    assert "version 2" in edited.stdout
    checked = run("value", "check", "malignancy", *w)
    assert (checked.returncode, "1 value checked, 1 not valid" in checked.stdout) == (1, True)
    assert run("socket", "retire", "malignancy", *w).stdout == "socket malignancy is retired\n"
    assert run("value", "add", "malignancy", "--json", "0.1", *w).returncode == 2


def test_files_and_sets_by_command(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    w = ("-w", wh.root)
    run("socket", "create", "Boxes", "--kind", "M2DB", "--path", "boxes.json", *w)
    (tmp_path / "boxes.json").write_text(json.dumps(EXAMPLES["M2DB"]))
    assert run("value", "add", "boxes", tmp_path / "boxes.json", *w).returncode == 0
    (tmp_path / "in" / "one").mkdir(parents=True)
    (tmp_path / "boxes.json").rename(tmp_path / "in" / "one" / "boxes.json")
    done = run("value", "import", tmp_path / "in", "--set", "s", *w)
    assert done.stdout == "1 value in set s, 0 not imported\n"
    assert run("value", "export", "--set", "s", "-o", tmp_path / "out", *w).returncode == 0
    assert (tmp_path / "out" / "one" / "boxes.json").exists()
    assert json.loads(run("socket", "show", "boxes", *w).stdout)["version"] == 1
    assert run("value", "check", "boxes", *w).stdout.startswith("1 value checked")
    assert run("value", "add", "boxes", "--json", "1", *w).returncode == 2
    assert run("value", "export", "--set", "s", *w).returncode == 2
    missing = run("value", "list", "nothing", *w)
    assert (missing.returncode, "no socket has the slug" in missing.stderr) == (2, True)
    (tmp_path / "in" / "one" / "stray").write_text("x")
    partly = run("value", "import", tmp_path / "in", "--set", "s", "--keep-going", *w)
    assert (partly.returncode, "one/stray: no socket has this path" in partly.stdout) == (1, True)
