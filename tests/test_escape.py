"""No character of a file reaches a terminal, a log, Markdown or HTML that controls what shows it.

C0 and C1 controls: ECMA-48. Directions of text: Unicode TR 36, 3.3 and TR 9. Line separators: Unicode
TR 14. Every place that shows a value or a path is asked for every one of them.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import pytest

import warehouse
from tests.command_line import run, run_apart
from tests.dicom_files import element, part10, write
from warehouse.errors import WarehouseError
from warehouse.escape import escaped, html_text, json_text, markdown
from warehouse.pixels.gallery import Gallery

CONTROLS = [*map(chr, range(0x20)), "\x7f", *map(chr, range(0x80, 0xA0))]
BIDI = [*"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"]
OTHERS = [*"\u2028\u2029\u200b\ufeff\u00ad\u180e\U000e0041", "\ud800"]
HARMFUL = CONTROLS + BIDI + OTHERS
EVERY = "".join(c for c in HARMFUL if c not in "\0\n\r\ud800")
"""In one value; NUL pads, line ends have tests of their own, and a file has no halves of characters."""


def harmful_in(text: str) -> set[str]:
    """Return what is in a printed text and controls the terminal; its own line ends do not."""
    return {character for character in text if character in HARMFUL and character != "\n"}


@pytest.mark.parametrize("function", [escaped, markdown, html_text])
@pytest.mark.parametrize("character", HARMFUL, ids=lambda c: f"{ord(c):04x}")
def test_every_character_is_escaped_everywhere(function: object, character: str) -> None:
    shown = function(f"a{character}b")  # type: ignore[operator]
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("b")


@pytest.mark.parametrize(
    "text", ["Müller^Jörg", "山田^太郎", "\u0645\u06cc\u200c\u062e", "👩\u200d⚕", "a\\b 'x'"]
)
def test_text_of_people_stays(text: str) -> None:
    """The joiners that Persian and emoji need are no format that hides anything."""
    assert escaped(text) == text


def test_json_means_the_same() -> None:
    whole = {"value": EVERY + "\n\r\0"}
    shown = json_text(json.dumps(whole, ensure_ascii=False, indent=1))
    assert not harmful_in(shown)
    assert json.loads(shown) == whole


def test_html_and_markdown_have_no_marks_of_values() -> None:
    evil = '<img src=x onerror="alert(1)">|`[a](b)*_'
    assert "<" not in html_text(evil) + markdown(evil)
    assert html_text(evil).count('"') == 0
    for mark in "|`[]*_":
        assert markdown(evil).count(mark) == markdown(evil).count("\\" + mark)


# -- every place ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with every control in public and private values, and files whose names have them."""
    folder = tmp_path_factory.mktemp("evil")
    value = EVERY.encode()
    value += b" " * (len(value) % 2)
    (folder / "in").mkdir()
    (folder / "in" / "a").write_bytes(
        part10(
            element(0x00080005, "CS", b"ISO_IR 192"), element(0x00080060, "CS", b"CT"),
            element(0x00081030, "LO", value), element(0x00090010, "LO", b"EVIL" + value[:40]),
            element(0x00091001, "LO", value), element(0x00100010, "PN", value),
            element(0x00100020, "LO", b"P1"), element(0x00204000, "LT", b"one\ntwo " + value),
        )
    )  # fmt: skip
    for name in (f"n{EVERY}"[:90], "x\n1 file: 1 created"):
        (folder / "in" / name).write_bytes(b"no DICOM")
    warehouse.open(folder / "w", create=True).ingest(folder / "in", workers=1, mode="full")
    return folder


COMMANDS = {
    "header": ["header", "{in}/a"],
    "header of an instance": ["header", "1.1", "-w", "{w}"],
    "header whole": ["header", "{in}/a", "--full"],
    "header as JSON": ["header", "{in}/a", "--format", "json"],
    "tags": ["tags", "-w", "{w}"],
    "private tags": ["tags", "--private", "-w", "{w}"],
    "sql": ["sql", "from elements", "-w", "{w}"],
    "sql of paths": ["sql", "select file_path from files", "-w", "{w}"],
    "sql of a name": ["sql", 'select 1 as "a\x9b\x1b\u202e"', "-w", "{w}"],
    "select": ["select", "instances", "-w", "{w}"],
    "ingest": ["ingest", "{in}", "-w", "{w}"],
    "ingest strict": ["ingest", "{in}", "-w", "{w}", "--strict"],
    "info": ["info", "-w", "{w}"],
    "wrong path": ["ingest", "/x\x1b]0;t\x07\n\x9b\u202e", "-w", "{w}"],
    "wrong value": ["sql", "select StudyDescription::int from studies", "-w", "{w}"],
    "wrong SQL": ["sql", "select \x1b[31m\x9b", "-w", "{w}"],
    "wrong table": ["describe", "a\x1b\x9b\u2028", "-w", "{w}"],
    "wrong option": ["info", "--\x1b\x9b", "-w", "{w}"],
    "wrong cohort": ["cohort", "run", "a\x1b\x9b\n", "-w", "{w}"],
    "wrong export": ["cohort", "verify", "{w}\x1b\x9b\n"],
}  # fmt: skip


@pytest.mark.parametrize("kind", COMMANDS)
def test_what_is_printed_controls_nothing(stored: Path, kind: str) -> None:
    places = {"in": str(stored / "in"), "w": str(stored / "w")}
    done = run(*(word.format(**places) for word in COMMANDS[kind]))
    assert done.stdout + done.stderr
    assert harmful_in(done.stdout + done.stderr) == set()
    if kind.startswith("wrong"):
        assert done.returncode in {1, 2}
        if kind not in {"wrong SQL", "wrong value", "wrong option"}:
            assert done.stderr.count("\n") == 1


def test_a_name_forges_no_line_of_a_report(stored: Path) -> None:
    done = run("ingest", stored / "in", "-w", stored / "w", "--strict")
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    assert [line for line in lines if line.startswith("1 file:")] == []
    assert any("x\\n1 file: 1 created" in line for line in lines)


def test_a_notebook_shows_no_controls() -> None:
    made = Gallery((EVERY,), ((EVERY,),), (f"no {EVERY}",), 1)
    assert harmful_in(made._repr_html_()) == set()


def test_csv_is_as_stored(stored: Path) -> None:
    """A file for programs, docs/how-to/cohorts.md: what went in comes out."""
    done = run("sql", "select StudyDescription from studies", "-w", stored / "w", "--format", "csv")
    assert "\x9b" in done.stdout


# -- warnings of pydicom --------------------------------------------------------------------------


def lying_character_sets(folder: Path) -> int:
    """Write files whose values are not in the character sets that they state."""
    sets = [b"ISO 2022 IR 87\\ISO_IR 13", b"\\ISO 2022 IR 149", b"ISO_IR 192", b"ISO 2022 IR 58"]
    folder.mkdir()
    for number, name in enumerate(sets):
        (folder / f"{number}").write_bytes(
            part10(
                element(0x00080005, "CS", name + b" " * (len(name) % 2)),
                element(0x00081030, "LO", b"\xff\xfe\xc3\x28"),
                element(0x00100010, "PN", b"\x1b(J\xb1\x1b$)C\xb1\xb1=x"), uid=f"1.{number}",
            )
        )  # fmt: skip
    return len(sets)


@pytest.mark.long("test_character_sets_that_lie_are_rows")
def test_character_sets_that_lie_are_no_lines(tmp_path: Path) -> None:
    lying_character_sets(tmp_path / "in")
    done = run_apart("ingest", tmp_path / "in", "-w", tmp_path / "w", "--workers", "1")
    assert (done.returncode, done.stderr) == (0, "")


def test_character_sets_that_lie_are_rows(tmp_path: Path) -> None:
    """And no warnings, which the command would print."""
    count = lying_character_sets(tmp_path / "in")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wh = warehouse.open(tmp_path / "x", create=True)
        assert wh.ingest(tmp_path / "in", workers=1).created == count
    told = wh.sql("select count(*) from elements where warning like '%character set%'")
    assert told.fetchall()[0][0] >= 3


def test_an_error_of_the_library_keeps_what_it_quotes_for_programs(tmp_path: Path) -> None:
    """Escaped where it is shown, not where it is raised: a program may want the path."""
    write(tmp_path / "a")
    with pytest.raises(WarehouseError) as caught:
        warehouse.open(tmp_path / "w", create=True).ingest(tmp_path / "\x1b")
    assert "\x1b" in str(caught.value)
    assert os.listdir(tmp_path) == ["a"]
