"""A folder that every test of a module finds as the first one did.

A warehouse knows its files by their paths: a copy of both elsewhere is another thing.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Place:
    """Where the tests of a module work, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "here"
        self._kept = folder / "kept"

    def emptied(self) -> Path:
        """Return the folder with nothing in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir()
        return self.path

    def filled(self, fill: Callable[[Path], object]) -> Path:
        """Return the folder, empty until now, with what this has put there the first time.

        Files are as old as they were.
        """
        if not self._kept.exists():
            fill(self.path)
            shutil.copytree(self.path, self._kept, symlinks=True)
        else:
            shutil.copytree(self._kept, self.path, symlinks=True, dirs_exist_ok=True)
        return self.path
