"""Many patterns at once: what is found is what a search for each of them finds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.deidentify.needles import Needles, Pieces


def letters(fewest: int, most: int) -> st.SearchStrategy[bytes]:
    return st.text("abAB\0\xe9", min_size=fewest, max_size=most).map(lambda s: s.encode("latin-1"))


PATTERNS = st.lists(letters(5, 12), max_size=8)


def every(content: bytes, patterns: list[bytes]) -> set[tuple[int, bytes]]:
    return {
        (at, pattern)
        for pattern in patterns
        for at in range(len(content))
        if content.startswith(pattern, at)
    }


@settings(max_examples=50)
@given(content=letters(0, 200), folded=PATTERNS, exact=PATTERNS)
def test_the_same_is_found_as_by_searching_for_each(
    content: bytes, folded: list[bytes], exact: list[bytes]
) -> None:
    folded = [pattern.lower() for pattern in folded]
    # Of patterns that are there for certain, too.
    folded += [content[3:9].lower(), content[-7:].lower(), content[1:20].lower()]
    folded = [pattern for pattern in folded if len(pattern) >= 5]
    found = set(Needles(folded, exact).found(content))
    assert found == every(content.lower(), folded) | every(content, exact)


def test_a_pattern_is_found_at_every_place() -> None:
    needles = Needles([b"quxhausen", b"short"])
    for before in range(20):
        content = b"\xff" * before + b"Quxhausen" + b"\0" * (before % 9) + b"SHORT"
        assert {pattern for _, pattern in needles.found(content)} == {b"quxhausen", b"short"}
    # What stands behind the end is nothing.
    assert list(Needles([bytes(5), bytes(9)]).found(bytes(4) + b"x" + bytes(4))) == []


def test_patterns_that_are_too_short_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 5 bytes"):
        Needles([b"four"])
    assert list(Needles([]).found(b"anything")) == []


def test_pieces_know_their_bytes() -> None:
    pieces = Pieces()
    for content in (b"one", b"", b"seven77"):
        pieces.add(content, content.decode(), "")
    assert pieces.size == 10
    assert [pieces.of(start, end) for start, end in [(0, 3), (3, 10), (2, 4), (9, 10)]] == [
        0,
        2,
        None,
        2,
    ]
