"""What an audit does not name is as it was, on every sample file: pydicom reads both and compares."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import pytest
from pydicom.datadict import tag_for_keyword

from tests.conftest import PACKAGED
from warehouse.deidentify.engine import deidentify
from warehouse.deidentify.key import Key
from warehouse.deidentify.profile import profile
from warehouse.errors import NotDeidentified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataset import Dataset

MARKS = {0x00120062, 0x00120063, 0x00120064, 0x00280303, 0x00100020}
OPTIONS = [
    {},
    {"retain": ("dates-shifted", "patient", "device", "safe-private"), "clean": ("descriptors", "structured", "graphics")},
]  # fmt: skip


def flat(dataset: Dataset, path: str = "") -> Iterator[tuple[tuple[str, int], object]]:
    """Yield place and value of every element, that of a sequence as the number of its items."""
    for element in dataset:
        if element.VR == "SQ":
            yield (path, int(element.tag)), len(element.value)
            for number, one in enumerate(element.value):
                name = element.keyword or f"{int(element.tag):08X}"
                inside = f"{path}.{name}[{number}]" if path else f"{name}[{number}]"
                yield from flat(one, inside)
        else:
            yield (path, int(element.tag)), element.value


def ancestors(path: str) -> Iterator[tuple[str, int]]:
    """Yield the sequences that an item lies in."""
    above = ""
    for part in path.split(".") if path else []:
        name = part.split("[", 1)[0]
        yield above, tag_for_keyword(name) or int(name, 16)
        above = f"{above}.{part}" if above else part


@pytest.mark.parametrize("options", OPTIONS, ids=["basic", "options"])
def test_what_the_audit_does_not_name_is_as_it_was(options: dict) -> None:
    compared = files = 0
    for source in sorted((Path(PACKAGED["pydicom"]) / "test_files").glob("*.dcm")):
        content = source.read_bytes()
        if len(content) > 300_000:
            continue
        try:
            made = deidentify(content, profile(**options), Key(b"k" * 32), "patient")
        except NotDeidentified:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            before = dict(flat(pydicom.dcmread(io.BytesIO(content), force=True)))
            after = dict(flat(pydicom.dcmread(io.BytesIO(b"".join(made.chunks)))))
        changed = {(change.path, change.tag) for change in made.changes}
        changed |= {("", tag) for tag in MARKS}

        def is_named(place: tuple[str, int], changed: set = changed) -> bool:
            return place in changed or any(one in changed for one in ancestors(place[0]))

        for place, value in before.items():
            tag = place[1]
            # Lengths of groups go, and a private creator with its block.
            if is_named(place) or tag & 0xFFFF == 0 or (tag >> 16 & 1 and tag & 0xFFFF < 0x100):
                continue
            assert place in after, (source.name, place)
            assert after[place] == value, (source.name, place)
            compared += 1
        assert not [place for place in after if place not in before and not is_named(place)]
        files += 1
    assert files > 55
    assert compared > 2500
