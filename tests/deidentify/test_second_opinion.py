"""dicom-anonymizer as a second opinion on real files: every difference has its reason."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import pytest
from dicomanonymizer.simpledicomanonymizer import anonymize_dataset

from tests.conftest import PACKAGED
from tests.deidentify.planted import sample, secret
from warehouse.deidentify.engine import deidentify
from warehouse.deidentify.key import Key
from warehouse.deidentify.profile import profile
from warehouse.errors import NotDeidentified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

LARGEST = 300_000
MARKS = {0x00280303, 0x00120062, 0x00120063, 0x00120064}
KEPT_BY_US = {
    # The dummy of a number is 0, and it was 0.
    "a dummy that is what was there": lambda e: e.VR in {"DS", "IS", "US", "UL", "FL", "FD"} and e.value == 0,
    # PS3.15 E.1-1 asks to replace UIDs of instances; those of the standard say what a thing is.
    "a UID of the standard": lambda e: e.VR == "UI" and str(e.value).startswith("1.2.840.10008."),
    # Removed, or replaced by itself: there was nothing.
    "nothing was there": lambda e: e.value in {"", None} or (e.VR == "SQ" and not e.value),
}  # fmt: skip


def levels(dataset: Dataset, other: Dataset | None, third: Dataset | None) -> Iterator[tuple[DataElement, Dataset | None, Dataset | None]]:  # fmt: skip
    """Yield the elements of all levels with the data sets of two others at the same place."""
    for element in dataset:
        yield element, other, third
        if element.VR != "SQ":
            continue
        for number, one in enumerate(element.value):
            yield from levels(one, at(other, element.tag, number), at(third, element.tag, number))


def at(dataset: Dataset | None, tag: int, number: int) -> Dataset | None:
    found = dataset.get(tag) if dataset is not None else None
    items = found.value if found is not None and found.VR == "SQ" else []
    return items[number] if number < len(items) else None


def same(element: DataElement, dataset: Dataset | None) -> bool:
    found = dataset.get(element.tag) if dataset is not None else None
    if found is None:
        return False
    if element.VR == "SQ":
        return bool(found.value) or not element.value
    return bool(found.value == element.value)


def both(content: bytes) -> tuple[Dataset, Dataset, Dataset, set[int]]:
    """Return a file, theirs, ours, and the tags that we change beyond the table."""
    made = deidentify(content, profile(), Key(b"k" * 32), "P1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source, theirs = (pydicom.dcmread(io.BytesIO(content), force=True) for _ in "ab")
        anonymize_dataset(theirs, delete_private_tags=True)
        ours = pydicom.dcmread(io.BytesIO(b"".join(made.chunks)))
    return (
        source,
        theirs,
        ours,
        {change.tag for change in made.changes if change.option == "beyond"},
    )


def unexplained(content: bytes) -> tuple[list[str], list[str]]:
    """Return what they change and we keep, and what we change and they keep, without a reason."""
    source, theirs, ours, beyond = both(content)
    by_them, by_us = [], []
    for element, at_theirs, at_ours in levels(source, theirs, ours):
        tag = int(element.tag)
        if tag in MARKS or tag >> 24 in {0x50, 0x60} or tag & 0xFFFF == 0:
            continue  # written anew; groups of overlays and curves go whole; lengths of groups
        was_changed, is_kept = not same(element, at_theirs), same(element, at_ours)
        if was_changed and is_kept and not any(holds(element) for holds in KEPT_BY_US.values()):
            by_them.append(element.keyword or str(element.tag))
        # Where they keep, we change what is beyond the table, and what lies in what we remove.
        if not was_changed and not is_kept and at_ours is not None and tag not in beyond:
            by_us.append(element.keyword or str(element.tag))
    return by_them, by_us


def files(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size <= LARGEST:
            content = path.read_bytes()
            if content[128:132] == b"DICM":
                yield content


def compared(folder: Path) -> int:
    count = 0
    for content in files(folder):
        try:
            found = unexplained(content)
        except NotDeidentified:
            continue  # big endian, DICOMDIR, damaged: left out with the reason
        assert found == ([], []), pydicom.dcmread(io.BytesIO(content)).get("SOPClassUID")
        count += 1
    return count


@pytest.mark.acceptance("D80")
def test_every_difference_on_the_samples_of_pydicom_is_explained() -> None:
    assert compared(Path(PACKAGED["pydicom"]) / "test_files") > 50


@pytest.mark.slow
def test_every_difference_on_real_files_is_explained() -> None:
    if not (folder := os.environ.get("DICOM_CORPUS")):
        pytest.skip("DICOM_CORPUS names no folder")
    assert compared(Path(folder)) > 100


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm"])
def test_every_difference_on_planted_secrets_is_explained(name: str) -> None:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        secret(sample(name), "1.2.3", "1.2.3.4", 1).save_as(out, enforce_file_format=False)
    assert unexplained(out.getvalue()) == ([], [])
