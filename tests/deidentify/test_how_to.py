"""What docs/how-to/deidentify.md shows is what happens: its commands and Python run, in order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pydicom.data
import pytest

from tests.command_line import run

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "deidentify.md"
SAMPLES = Path(pydicom.data.__path__[0]) / "test_files" / "dicomdirtests"


def comparable(text: str) -> str:
    """Remove what another key makes another: pseudonyms, in whatever order, and digests."""
    text = re.sub(r"p-[a-z2-7]{14}", "p-XXXXXXXXXXXXXX", text)
    return re.sub(r"(shared: .* digest) [0-9a-f]+", r"\1 XXXX", text).strip()


def test_the_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    commands = 0
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            words = [word.replace("$SAMPLES", str(SAMPLES)) for word in shlex.split(command)]
            done = run(*words[1:], cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert sorted(comparable(done.stdout).splitlines()) == sorted(
                comparable(shown).splitlines()
            )
            commands += 1
    assert commands == 9
    names: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(example, "deidentify.md", "exec"), names)
    assert names["how"].pixels.hook is names["banner"]
