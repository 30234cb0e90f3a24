"""A warehouse of files with planted secrets, and one export of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

import warehouse
from tests.asking import cohort_of
from tests.deidentify.planted import Planted, plant
from warehouse.deidentify.key import read_key
from warehouse.deidentify.options import Deidentify

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Exported:
    """A warehouse of planted secrets and its export."""

    wh: warehouse.Warehouse
    planted: Planted
    key: Path
    folder: Path
    mapping: Path
    how: Deidentify


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Files with planted secrets, exported with dates shifted and text cleaned. Not to write to."""
    root = tmp_path_factory.mktemp("planted")
    planted = plant(root / "in")
    wh = warehouse.open(root / "w", create=True)
    wh.ingest(root / "in", workers=1)
    cohort_of(wh, "all_of_it", "select series_key from instances")
    key = root / "study.key"
    key.write_text("a secret that stands in this test and nowhere else\n")
    how = Deidentify(
        retain=("dates-shifted", "patient", "safe-private"), clean=("descriptors", "structured"),
        key=read_key(key), mapping=root / "apart", workers=1,
    )  # fmt: skip
    wh.export("all_of_it", root / "out", "copy", deidentify=how)
    return Exported(wh, planted, key, root / "out", root / "apart", how)
