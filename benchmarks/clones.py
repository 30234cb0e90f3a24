"""Clones of a user's own headers, and the same files under other names in no order.

In: a folder of real files. Out: two folders of the same files: as an archive keeps them, a folder
for each series, and all in one, under names that say nothing, as exports and mail gateways leave
them. Readers that profit from neighbours being alike lose that in the second.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pydicom
from corpus import make_corpus
from peers import paths_of
from pydicom.errors import InvalidDicomError

if TYPE_CHECKING:
    from pathlib import Path

FILES = 10_000


def make(source: str, folder: Path, files: int = FILES) -> tuple[Path, Path]:
    """Make both folders below ``folder``; return the one in order and the other."""
    ordered, mixed = folder / "ordered", folder / "unordered"
    make_corpus(ordered, files, templates=[path for path in paths_of(source) if _is_read(path)])
    names = paths_of(str(ordered))
    random.Random(1).shuffle(names)
    mixed.mkdir()
    for number, path in enumerate(names):
        os.link(path, mixed / f"{number:06d}")
    return ordered, mixed


def _is_read(path: str) -> bool:
    try:
        return "SOPClassUID" in pydicom.dcmread(path, stop_before_pixels=True)
    except InvalidDicomError:
        return False
