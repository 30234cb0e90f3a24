"""dicom-anonymizer as a second opinion on real files: every difference has its reason."""

from __future__ import annotations

import io
import os
import warnings
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import pytest
from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, initialize_actions

from tests.conftest import PACKAGED
from tests.deidentify.planted import sample, secret
from warehouse.deidentify.engine import deidentify
from warehouse.deidentify.key import Key
from warehouse.deidentify.profile import profile
from warehouse.errors import NotDeidentified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

    Explains = Callable[[DataElement, tuple[int, ...]], bool]

NUMBERS = {"DS", "IS", "US", "UL", "FL", "FD"}
LARGEST = 300_000
SAMPLES = Path(PACKAGED["pydicom"]) / "test_files"
MARKS = {0x00280303, 0x00120062, 0x00120063, 0x00120064}
_REFERENCES = {0x00081140, 0x00082112}
"""X/Z/U* of the table: ReferencedImageSequence, SourceImageSequence."""
KEPT_BY_US: dict[str, Explains] = {
    "a dummy that is what was there": lambda e, _: e.VR in NUMBERS and e.value == 0,
    # They say what a thing is, not which.
    "a UID of the standard": lambda e, _: e.VR == "UI" and str(e.value).startswith("1.2.840.10008."),
    "nothing was there": lambda e, _: e.value in {"", None} or (e.VR == "SQ" and not e.value),
    # U* of the table: UIDs are replaced, codes stay. They empty all that lies in it.
    "in a sequence of references": lambda e, above: bool(_REFERENCES & set(above)) and e.VR != "UI",
    "what says that it is de-identified": lambda e, above: 0x00120064 in above,
}  # fmt: skip
CHANGED_BY_US: dict[str, Explains] = {
    "a pseudonym in the place of an empty ID": lambda e, _: e.keyword in {"PatientID", "PatientName"} and not e.value,
    # They empty what lies in it, and keep the items.
    "a sequence that they empty": lambda e, _: e.VR == "SQ",
}  # fmt: skip


def rules() -> dict:
    return initialize_actions("dicomfields_2026c")


def levels(
    dataset: Dataset, theirs: Dataset | None, ours: Dataset | None, gone: set[int],
    above: tuple[int, ...] = (),
) -> Iterator[tuple[DataElement, Dataset | None, Dataset | None, tuple[int, ...]]]:  # fmt: skip
    """Yield the elements of all levels with both results at the same place, and what it lies in."""
    for element in dataset:
        yield element, theirs, ours, above
        if element.VR != "SQ":
            continue
        tag = int(element.tag)
        for number, one in enumerate(element.value):
            # What we put in the place of a sequence is no item of it.
            mine = None if tag in gone else at(ours, tag, number)
            yield from levels(one, at(theirs, tag, number), mine, gone, (*above, tag))


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


def unexplained(content: bytes) -> tuple[list[str], list[str]]:
    """Return what they change and we keep, and what we change and they keep, without a reason."""
    made = deidentify(content, profile(), Key(b"k" * 32), "P1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source, theirs = (pydicom.dcmread(io.BytesIO(content), force=True) for _ in "ab")
        anonymize_dataset(theirs, base_rules_gen=rules)
        # It treats the top level and sequences that the table names; items of others are left alone.
        for item in [one for e in theirs.iterall() if e.VR == "SQ" for one in e.value]:
            anonymize_dataset(item, base_rules_gen=rules)
        ours = pydicom.dcmread(io.BytesIO(b"".join(made.chunks)))
    beyond = {change.tag for change in made.changes if change.option == "beyond"}
    gone = {change.tag for change in made.changes if change.vr == "SQ"}
    by_them, by_us = [], []
    for element, at_theirs, at_ours, above in levels(source, theirs, ours, gone):
        tag = int(element.tag)
        if tag in MARKS or tag >> 24 in {0x50, 0x60} or tag & 0xFFFF == 0:
            continue  # written anew; groups of overlays and curves go whole; lengths of groups
        was_changed, is_kept = not same(element, at_theirs), same(element, at_ours)
        if was_changed and is_kept and not explained(KEPT_BY_US, element, above):
            by_them.append(element.keyword or str(element.tag))
        # Where they keep, we change what is beyond the table, and what lies in what we remove.
        is_ours = not was_changed and not is_kept and at_ours is not None and tag not in beyond
        if is_ours and not explained(CHANGED_BY_US, element, above):
            by_us.append(element.keyword or str(element.tag))
    return by_them, by_us


def explained(reasons: dict[str, Explains], element: DataElement, above: tuple[int, ...]) -> bool:
    return any(holds(element, above) for holds in reasons.values())


def files(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size <= LARGEST:
            content = path.read_bytes()
            if content[128:132] == b"DICM":
                yield content


def compared(folder: Path, step: int = 1) -> int:
    count = 0
    for content in islice(files(folder), 0, None, step):
        try:
            found = unexplained(content)
        except NotDeidentified:
            continue  # big endian, DICOMDIR, damaged: left out with the reason
        assert found == ([], []), pydicom.dcmread(io.BytesIO(content)).get("SOPClassUID")
        count += 1
    return count


@pytest.mark.acceptance("D80")
def test_every_difference_on_samples_of_pydicom_is_explained() -> None:
    assert compared(SAMPLES, step=4) > 30


@pytest.mark.slow
def test_every_difference_on_all_samples_and_real_files_is_explained() -> None:
    assert compared(SAMPLES) > 130
    if folder := os.environ.get("DICOM_CORPUS"):
        assert compared(Path(folder)) > 100


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm"])
def test_every_difference_on_planted_secrets_is_explained(name: str) -> None:
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        secret(sample(name), "1.2.3", "1.2.3.4", 1).save_as(out, enforce_file_format=False)
    assert unexplained(out.getvalue()) == ([], [])
