"""The protocol in a Siemens header: one value per assignment (D37)."""

from __future__ import annotations

from typing import Any

import pytest
from nibabel.nicom.ascconv import parse_ascconv

from tests.conftest import PACKAGED
from tests.elements.test_csa import HEADERS
from tests.vendor_payloads import ascconv
from warehouse.elements.ascconv import read_ascconv
from warehouse.elements.csa import protocol_text
from warehouse.elements.payload import PayloadValue


@pytest.mark.parametrize(
    ("written", "text", "integer", "real", "warning"),
    [
        ("36", "36", 36, 36.0, None),
        ("-2", "-2", -2, -2.0, None),
        ("0x11", "0x11", 17, 17.0, None),
        ("1.4", "1.4", None, 1.4, None),
        ("-1e-3", "-1e-3", None, -0.001, None),
        ("7 # 0x7", "7", 7, 7.0, None),
        ('"text"', "text", None, None, None),
        ('""a "b" c""', 'a "b" c', None, None, None),
        ('""', "", None, None, None),
        ('""""', "", None, None, None),
        ('"# = 1"', "# = 1", None, None, None),
        ('"%CustomerSeq%\\ep2d"', "%CustomerSeq%\\ep2d", None, None, None),
        ('"open', "open", None, None, "quotes do not close"),
        ("word", "word", None, None, "neither a number nor quoted"),
        ("", "", None, None, "neither a number nor quoted"),
        ("99999999999999999999", "99999999999999999999", None, 1e20, None),
    ],
)
def test_a_value(
    written: str, text: str, integer: int | None, real: float | None, warning: str | None
) -> None:
    name = "sSliceArray.asSlice[0].dThickness"
    expected = PayloadValue(name, 0, None, text, integer, real, warning)
    assert read_ascconv(ascconv(f"{name} = {written}")) == [expected]


def test_names_are_as_written_gaps_stay_gaps_and_the_last_counts() -> None:
    text = ascconv(
        "alFree[0]\t = \t1", "alFree[7] = 2", "alFree.__attribute__.size = 14", "alFree[7] = 3",
        "# a comment", "",
    )  # fmt: skip
    assert [(v.name, v.integer) for v in read_ascconv(text)] == [
        ("alFree[0]", 1), ("alFree[7]", 3), ("alFree.__attribute__.size", 14),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "begin",
    [
        "### ASCCONV BEGIN ###",
        "### ASCCONV BEGIN object=MrProtDataImpl@MrProtocolData version=41310008 ###",
        "<x> ### ASCCONV BEGIN ###",
    ],
)
def test_the_part_may_begin_anywhere_and_with_attributes(begin: str) -> None:
    assert [v.name for v in read_ascconv(ascconv("lRepetitions = 1", begin=begin))] == [
        "lRepetitions"
    ]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("", "protocol without ASCCONV part"),
        ("### ASCCONV BEGIN", "ASCCONV part has no end"),
        ("### ASCCONV BEGIN ###\na = 1\n", "ASCCONV part has no end"),
        (ascconv("no assignment", "a.b..c = 1", "= 2"), "3 lines are no assignments"),
        (ascconv(f"{'a' * 600} = 1"), "1 lines are no assignments"),
        (ascconv(*(f"a[{n}] = 1" for n in range(20_001))), "more than 20000 assignments: the rest is not read"),
        (ascconv(f'a = "{"x" * 70000}"'), "70000 characters: not kept"),
    ],
)  # fmt: skip
def test_damage_is_a_warning(text: str, warning: str) -> None:
    assert read_ascconv(text)[-1].warning == warning


def protocols() -> dict[str, str]:
    found = {"ascconv_sample.txt": (PACKAGED["nibabel"] / "ascconv_sample.txt").read_text()}
    for name, raw in HEADERS.items():
        text = protocol_text(raw)
        if text and "### ASCCONV BEGIN" in text:
            found[name] = text
    return found


PROTOCOLS = protocols()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_value_is_that_of_nibabel(name: str) -> None:
    text = PROTOCOLS[name]
    part = text[text.index("### ASCCONV BEGIN") :]
    # nibabel takes a name with attributes for no array and fails.
    part = "\n".join(line for line in part.split("\n") if ".__attribute__." not in line)
    quotes = '""' if '""' in part else '"'
    theirs = dict(flat("", parse_ascconv(part, quotes)[0]))
    ours = {
        value.name: value.text if value.real is None else value.integer or value.real
        for value in read_ascconv(text)
        if ".__attribute__." not in value.name
    }
    assert not [v for v in read_ascconv(text) if v.warning]
    assert ours == theirs


def flat(prefix: str, node: Any) -> list[tuple[str, Any]]:
    if isinstance(node, dict):
        step = [(f"{prefix}.{key}" if prefix else key, child) for key, child in node.items()]
    elif isinstance(node, list):
        step = [(f"{prefix}[{n}]", child) for n, child in enumerate(node)]
    else:
        return [] if node is None else [(prefix, node)]
    return [pair for name, child in step for pair in flat(name, child)]
