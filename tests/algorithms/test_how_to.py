"""What docs/how-to/algorithms.md shows is what happens, line by line."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.algorithms.tiny_images import archive, python_layer
from tests.command_line import run
from tests.programs import needed
from tests.test_docs import SAMPLES

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "algorithms.md"
SEGMENTS = '[{"name": "tissue", "visible": false, "voxel_value": 0}, {"name": "air", "visible": true, "voxel_value": 1}]'


def plain(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"\d+\.\d s\)", "N s)", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "HEX", text)
    text = re.sub(r'("cancelled": \d+).*', r"\1, …}", text)
    return "\n".join(line.rstrip() for line in text.rstrip("\n").split("\n"))


def test_what_the_page_shows_first_is_true(tmp_path: Path) -> None:
    """Up to the algorithm that is created: none runs."""
    assert shown_commands(tmp_path, first_block_only=True) == 5


@pytest.mark.long("test_what_the_page_shows_first_is_true")
def test_the_page_on_algorithms_is_true(tmp_path: Path) -> None:
    shown = shown_commands(tmp_path, first_block_only=False)
    assert shown == (14 if engine() else 8)
    needed("podman")


def engine() -> str | None:
    return shutil.which("podman") and shutil.which("runc", path="/usr/sbin:/sbin:/usr/bin:/bin")


def shown_commands(tmp_path: Path, *, first_block_only: bool) -> int:
    """Run the commands of the page and compare what they print; return how many there were."""
    (tmp_path / "segments.json").write_text(SEGMENTS)
    text = PAGE.read_text(encoding="utf-8")
    shown = 0
    for kind, option, block in re.findall(r"```(\w+)(?: (\S+))?\n(.*?)```", text, re.DOTALL):
        if option.startswith("file="):
            (tmp_path / option.removeprefix("file=")).write_text(block)
        if kind != "console":
            continue
        if option == "engine=podman":
            if not engine():
                continue
            archive(tmp_path / "threshold.tar", layer=python_layer())
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, said = part.partition("\n")
            words = [word.replace("$SAMPLES", str(SAMPLES)) for word in shlex.split(command)]
            done = run(*words[1:], cwd=tmp_path)
            assert plain(done.stdout + done.stderr) == plain(said), command
            shown += 1
        if first_block_only:
            break
    return shown
