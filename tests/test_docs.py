"""What the documentation shows is what happens: the README's tour is run, line by line."""

import re
import shlex
from functools import cache
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


def test_the_tour_of_the_readme_begins_as_it_says(tmp_path):
    blocks = list(console_blocks((ROOT / "README.md").read_text(encoding="utf-8")))
    # To read the files, and the first question.
    first = next(n for n, (command, _) in enumerate(blocks) if " sql " in command)
    follow([blocks[0], blocks[first]], tmp_path)


@pytest.mark.long("test_the_tour_of_the_readme_begins_as_it_says")
def test_the_tour_of_the_readme_is_true(tmp_path):
    blocks = list(console_blocks((ROOT / "README.md").read_text(encoding="utf-8")))
    assert len(blocks) >= 6
    follow(blocks, tmp_path)


def follow(blocks, folder):
    for command, shown in blocks:
        arguments = [word.replace("$SAMPLES", str(SAMPLES)) for word in shlex.split(command)]
        assert arguments[0] == "dicom-warehouse"
        done = run(*arguments[1:], cwd=folder)
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


def test_the_examples_for_other_tools_count_no_old_parts(tmp_path, monkeypatch):
    import warehouse
    from tests.command_line import run

    text = (ROOT / "docs" / "storage-layout.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    wh = warehouse.open("my-warehouse", create=True)
    for folder in ("77654033/CR1", "77654033/CR2", "77654033/CR3"):
        wh.ingest(f"{SAMPLES}/{folder}", workers=1)
    wh.compact()  # leaves the three parts that it merged
    names = {}
    for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(example, "storage-layout.md", "exec"), names)
    assert names["instances"] == names["counted"] == 3
    (shell,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    listed = run(*shlex.split(shell)[1:])
    assert listed.stdout.splitlines()[1:] == names["parts"]
    # What the page warns of: a pattern takes the old parts too.
    everything = names["con"].execute("select count(*) from 'my-warehouse/instances/**/*.parquet'")
    assert everything.fetchone()[0] > 3


PAGES = sorted(
    page for page in ROOT.glob("**/*.md")
    if not any(part.startswith(".") for part in page.relative_to(ROOT).parts)
)  # fmt: skip


@cache
def prose(page):
    """Return the text of a page without its blocks of code."""
    return re.sub(
        r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )


@cache
def anchors(page):
    """Return the anchors of the headings of a page, as GitHub and the site name them."""
    found = []
    for heading in re.findall(r"^#{1,6} +(.+?)\s*$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)|[`*]", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        again = sum(
            re.fullmatch(rf"{re.escape(slug)}(-\d+)?", known) is not None for known in found
        )
        found.append(f"{slug}-{again}" if slug in found else slug)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_point_at_something(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        at = (page.parent / target) if target else page
        assert at.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(at), f"{page.name} links to {link}"


def test_anchors_are_those_of_the_site(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b_c`, *d*\n```sh\n# no heading\n```\n## [Two](x.md): 10⁹?\n## Two 10⁹\n## Two 10⁹\n"
    )
    assert anchors(page) == ["a-b_c-d", "two-10⁹", "two-10⁹-1", "two-10⁹-2"]


def test_every_page_is_in_the_list_of_the_site():
    """The build would say so too, but is no part of the suite."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = [
        path
        for block in re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL)
        for name in re.findall(r"^(?:.*<)?([\w./*-]+?)>?$", block, re.MULTILINE)
        for path in (ROOT / "docs").glob(f"{name}.md")
    ]
    decisions = (ROOT / "docs" / "decisions").glob("0*.md")
    shown = {path.resolve() for path in (*listed, *decisions)}
    assert set(PAGES) - shown == {ROOT / "docs" / "index.md"}


def test_the_list_of_decisions_is_complete():
    folder = ROOT / "docs" / "decisions"
    pages = [page for page in sorted(folder.glob("*.md")) if page.name != "README.md"]
    titles = [page.read_text(encoding="utf-8").partition("\n")[0] for page in pages]
    for page, title in zip(pages, titles, strict=True):
        assert title.startswith(f"# {int(page.name[:4])}. "), page.name
    links = [f"- [{t[2:]}]({page.name})" for t, page in zip(titles, pages, strict=True)]
    listed = re.findall(
        r"^- \[.*$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert listed == links


def test_every_command_of_the_readme_exists():
    from warehouse.cli.run import app

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"dicom-warehouse ([a-z]+)", text))
    commands = {name for name in app if not name.startswith("-")}
    assert {"ingest", "sql", "header"} <= named <= commands
