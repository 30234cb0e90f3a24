"""What docs/how-to/components.md shows is what happens, line by line."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import run
from tests.test_docs import SAMPLES
from warehouse.components.examples import EXAMPLES

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "components.md"


def outputs(folder: Path, capsys: Any, end: str = "") -> list[tuple[str, str, str]]:
    """Run every block up to a heading; return what each shows, and is said to show."""
    (folder / "quality-schema.json").write_text('{"minimum": 1, "maximum": 5}')
    (folder / "readers" / "case 1").mkdir(parents=True)
    (folder / "readers" / "case 1" / "lesions.json").write_text(json.dumps(EXAMPLES["MPOL"]))
    names: dict[str, Any] = {}
    found = []
    text = PAGE.read_text(encoding="utf-8")
    text = text[: text.index(end)] if end else text
    for kind, block, shown in re.findall(
        r"```(console|python)\n(.*?)```(?:\n\n```text\n(.*?)```)?", text, re.DOTALL
    ):
        if kind == "python":
            exec(compile(block, PAGE.name, "exec"), names)
            found.append((block, capsys.readouterr().out, shown))
            continue
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, said = part.partition("\n")
            words = [word.replace("$SAMPLES", str(SAMPLES)) for word in shlex.split(command)]
            done = run(*words[1:], cwd=folder)
            printed = done.stdout + re.sub(r"^(?=.)", "! ", done.stderr, flags=re.MULTILINE)
            found.append((command, printed, said))
    return found


@pytest.mark.parametrize(
    ("end", "count"),
    [
        ("## Add a value", 4),
        pytest.param("", 13, marks=pytest.mark.long("test_the_page_on_components_is_true")),
    ],
    ids=["beginning", "all"],
)
def test_the_page_on_components_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, end: str, count: int
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = outputs(tmp_path, capsys, end)
    assert len(shown) == count
    for command, printed, said in shown:
        lines = [line.rstrip() for line in printed.rstrip("\n").split("\n")]
        assert lines == [line.rstrip() for line in said.rstrip("\n").split("\n")], command
