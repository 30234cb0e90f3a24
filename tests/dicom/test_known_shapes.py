"""Shapes that later batches are read by: found again, and bounded.

That what is matched with them gives the rows of pydicom, test_fast_equals_reference.py shows.
"""

from __future__ import annotations

import os
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dicom.made_datasets import EXPLICIT, IMPLICIT, element, filled
from tests.dicom.made_datasets import shapes as drawn_shapes
from warehouse.dicom import known_shapes, shapes
from warehouse.dicom.found import Records
from warehouse.dicom.grammar import TAKEN
from warehouse.dicom.heads import Heads
from warehouse.dicom.known_shapes import KnownShapes, keys_of
from warehouse.dicom.scan import SourceFile


class Reader:
    """Scans batches of files one after the other, as one process does, and counts the walks."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.heads, self.known = folder, Heads(1 << 24), KnownShapes()
        self.walked = 0
        walk = shapes.walk

        def counted(*arguments, **options):
            self.walked += 1
            return walk(*arguments, **options)

        monkeypatch.setattr(shapes, "walk", counted)

    def scan(self, bodies, *, implicit=False):
        """Read data sets, all of them; return how many files were walked, and the scan."""
        syntax = element(0x00020010, "UI", IMPLICIT if implicit else EXPLICIT, implicit=False)
        sources = []
        for number, body in enumerate(bodies):
            path = self.folder / f"{number}.dcm"
            path.write_bytes(b"\0" * 128 + b"DICM" + syntax + body)
            sources.append(SourceFile(str(path), os.path.getsize(path), 0))
        self.walked = 0
        assert self.heads.load(sources) == len(sources)
        state, _ = shapes.scan(self.heads, len(sources), Records(), self.known)
        assert (state.status == TAKEN).all()
        return self.walked, state


@pytest.fixture
def reader(tmp_path, monkeypatch):
    return Reader(tmp_path, monkeypatch)


def of_shape(number, word=b"A "):
    """Return a data set whose tags tell its number behind more headers than a key has."""
    first = b"".join(
        element(0x00080000 | tag, "LO", word, implicit=False)
        for tag in range(0x1010, 0x1010 + known_shapes.FIRST_HEADERS)
    )
    return first + element(0x00100000 | number, "LO", word * 3, implicit=False)


def test_a_shape_is_walked_once_for_all_batches(reader):
    numbers = [*range(1, 9)] * 3
    assert reader.scan([of_shape(number) for number in numbers])[0] == 8
    random.Random(1).shuffle(numbers)
    assert reader.scan([of_shape(number, b"longer") for number in numbers])[0] == 0


def test_a_shape_that_came_alone_is_kept_when_it_comes_again(reader):
    """Of files that all differ nothing is kept at first: to keep a shape costs half a walk."""
    apart = [of_shape(1)[10 * number :] for number in range(shapes.BACKOFF_AFTER)]
    assert [reader.scan(apart)[0] for _ in range(3)] == [4, 4, 0]


def test_of_one_key_some_shapes_are_kept(reader, monkeypatch):
    monkeypatch.setattr(known_shapes, "MAX_SHAPES", 2)
    for number in (1, 2, 3):
        reader.scan([of_shape(number)] * 3)
    (kept,) = reader.known._shapes.values()
    assert len(kept) == 2
    assert reader.scan([of_shape(2), of_shape(3)])[0] == 0
    assert reader.scan([of_shape(1)])[0] == 1


def test_what_is_kept_is_bounded(reader, monkeypatch):
    headers = known_shapes.FIRST_HEADERS + 1
    monkeypatch.setattr(known_shapes, "MAX_HEADERS", 3 * headers)
    monkeypatch.setattr(known_shapes, "MAX_KEYS", 2)
    for number in range(1, 30):
        reader.scan([of_shape(number)] * 3)
        kept = [shape for some in reader.known._shapes.values() for shape in some]
        assert reader.known._headers == headers * len(kept) <= 3 * headers
        assert len(reader.known._met) <= 2
    assert reader.scan([of_shape(number) for number in (27, 28, 29)])[0] == 0
    assert reader.scan([of_shape(1)])[0] == 1


@settings(max_examples=25, deadline=None)
@given(drawn_shapes(), st.booleans(), st.integers(0, 2**32 - 1))
def test_files_of_one_shape_have_one_key(tmp_path_factory, shape, implicit, seed):
    """Or a shape that is kept would not be found: lengths differ, also of what is in sequences."""
    chance = random.Random(seed)
    words = (b"x" * (32 + 2 * chance.randrange(9)) for _ in iter(int, 1))
    with pytest.MonkeyPatch.context() as patch:
        reader = Reader(tmp_path_factory.mktemp("shape"), patch)
        bodies = [filled(shape, words, implicit=implicit) for _ in range(4)]
        _, state = reader.scan(bodies, implicit=implicit)
        keys = keys_of(state, np.arange(4), implicit=implicit)
    assert len(set(keys.tolist())) <= 1
