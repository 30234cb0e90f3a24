"""What docs/how-to/deidentify.md shows is what happens: its commands and Python run, in order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom.data
import pytest

from tests.command_line import run

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "deidentify.md"
SAMPLES = Path(pydicom.data.__path__[0]) / "test_files" / "dicomdirtests"


def comparable(text: str) -> str:
    """Remove what another key makes another: pseudonyms, in whatever order, and digests."""
    text = re.sub(r"p-[a-z2-7]{14}", "p-XXXXXXXXXXXXXX", text)
    return re.sub(r"(shared: .* digest) [0-9a-f]+", r"\1 XXXX", text).strip()


TEXT = PAGE.read_text(encoding="utf-8")


def commands() -> Iterator[tuple[list[str], str]]:
    """Yield the words of each command of the page, and what it shows."""
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            words = [word.replace("$SAMPLES", str(SAMPLES)) for word in shlex.split(command)]
            yield words[1:], shown


def require_true(asked: list[tuple[list[str], str]], folder: Path) -> None:
    """Run commands there, and all examples in Python."""
    for words, shown in asked:
        done = run(*words, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert sorted(comparable(done.stdout).splitlines()) == sorted(
            comparable(shown).splitlines()
        )
    names: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(example, "deidentify.md", "exec"), names)
    assert names["how"].pixels.hook is names["banner"]


def test_what_the_page_says_of_tables_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the commands that export files."""
    monkeypatch.chdir(tmp_path)
    kinds = (["deidentify", "key"], ["deidentify", "views"])
    few = [one for one in commands() if one[0][0] == "ingest" or one[0][:2] in kinds]
    assert len(few) == 3
    require_true(few, tmp_path)


@pytest.mark.long("test_what_the_page_says_of_tables_is_true")
def test_the_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = list(commands())
    assert len(asked) == 9
    require_true(asked, tmp_path)
