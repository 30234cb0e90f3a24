"""What the documentation shows is what happens: the README's tour is run, line by line."""

import re
import shlex
from pathlib import Path

import pydicom.data
import pytest

from tests.command_line import run

ROOT = Path(__file__).parents[1]
SAMPLES = Path(pydicom.data.__path__[0]) / "test_files" / "dicomdirtests"


def console_blocks(text):
    """Yield (command, shown output) of every ```console block."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            yield command, shown.rstrip("\n")


def comparable(text):
    """Remove what differs between runs and machines: seconds, rates, folders."""
    text = text.replace(str(SAMPLES), "$SAMPLES")
    text = re.sub(r" +$", "", text, flags=re.MULTILINE)
    return re.sub(r"\([\d.,]+ s, [\d,]+ files/s\)", "(seconds)", text).rstrip("\n")


def test_the_tour_of_the_readme_is_true(tmp_path):
    blocks = list(console_blocks((ROOT / "README.md").read_text(encoding="utf-8")))
    assert len(blocks) >= 6
    for command, shown in blocks:
        arguments = [word.replace("$SAMPLES", str(SAMPLES)) for word in shlex.split(command)]
        assert arguments[0] == "dicom-warehouse"
        done = run(*arguments[1:], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        printed = comparable(done.stdout)
        if shown.endswith("\n..."):
            expected = comparable(shown).removesuffix("\n...")
            assert printed.startswith(expected), printed[:2000]
        else:
            assert printed == comparable(shown)


def test_the_notebook_example_runs(tmp_path, monkeypatch):
    import warehouse

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    warehouse.open("tour", create=True).ingest(SAMPLES, mode="full", workers=1)
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["kernels"].height == 1
    assert names["brain"].height > 0


PAGES = sorted(
    page for page in ROOT.glob("**/*.md")
    if not any(part.startswith(".") for part in page.relative_to(ROOT).parts)
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_point_at_something(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_command_of_the_readme_exists():
    from warehouse.cli.run import app

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"dicom-warehouse ([a-z]+)", text))
    commands = {name for name in app if not name.startswith("-")}
    assert {"ingest", "sql", "header"} <= named <= commands
