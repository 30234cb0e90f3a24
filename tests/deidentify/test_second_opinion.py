"""dicom-anonymizer as a second opinion: whatever it changes and we keep is explained."""

from __future__ import annotations

import io
import warnings

import pydicom
import pytest
from dicomanonymizer.simpledicomanonymizer import anonymize_dataset

from tests.deidentify.planted import sample, secret
from warehouse.deidentify.engine import deidentify
from warehouse.deidentify.key import Key
from warehouse.deidentify.profile import profile


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "rtplan.dcm"])
def test_what_the_other_changes_we_change(name: str) -> None:
    source = sample(name) if name == "rtplan.dcm" else secret(sample(name), "1.2.3", "1.2.3.4", 1)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source.save_as(out, enforce_file_format=False)
        theirs = pydicom.dcmread(io.BytesIO(out.getvalue()))
        source = pydicom.dcmread(io.BytesIO(out.getvalue()))
        anonymize_dataset(theirs, delete_private_tags=True)
        made = deidentify(out.getvalue(), profile(), Key(b"k" * 32), "P1")
        ours = pydicom.dcmread(io.BytesIO(b"".join(made.chunks)))
    differences = []
    for element in source:
        keyword = element.keyword or str(element.tag)
        was_changed = element.tag not in theirs or theirs[element.tag].value != element.value
        is_kept = element.tag in ours and ours[element.tag].value == element.value
        if was_changed and is_kept and element.value not in {"", None}:
            differences.append(keyword)
    assert differences == []
    # And the other way: what we change beyond its list is what the table does not name.
    beyond = {
        change.tag for change in made.changes if change.option == "beyond" and not change.path
    }
    kept_by_it = {
        element.tag for element in source
        if element.VR != "SQ" and element.tag in theirs and theirs[element.tag].value == element.value
        and (element.tag not in ours or ours[element.tag].value != element.value)
    }  # fmt: skip
    overlays = {tag for tag in kept_by_it if tag >> 24 in {0x50, 0x60}}
    marks = {0x00280303, 0x00120062, 0x00120063}
    assert kept_by_it - overlays - marks <= beyond
