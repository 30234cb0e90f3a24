"""``Warehouse.deidentified``: de-identified tables, and the search of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.deidentify.check import Checked, check
from warehouse.deidentify.rows import write_views
from warehouse.given import checks_arguments, options_of

if TYPE_CHECKING:
    import os


@checks_arguments
@dataclass(frozen=True, slots=True)
class Deidentified:
    """Write de-identified tables, and search an export for identifying values."""

    _root: Path

    def check(self, target: str | os.PathLike[str]) -> Checked:
        """Search every byte of an export of this warehouse; see ``warehouse.deidentify.check``."""
        return check(Path(target), self._root)

    def write_views(self, target: str | os.PathLike[str], **options: Any) -> dict[str, int]:
        """Write a database with the schema ``deidentified``; see ``rows.write_views``."""
        how = options_of("write_views()", write_views, options)
        return write_views(self._root, Path(target), **how)
