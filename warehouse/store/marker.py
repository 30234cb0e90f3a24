"""``warehouse.json``: the layout version and the identity of a warehouse.

In: a folder. Out: nothing, or an error that says what is wrong. This is a separate module because
worker processes use it and do not import deltalake.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from warehouse.errors import (
    LayoutMismatch,
    NotAWarehouse,
    StoreError,
    StoreUnreadable,
    UsageError,
)
from warehouse.store import layout

if TYPE_CHECKING:
    from pathlib import Path

_SPECIAL = frozenset("*?[]#%=")


def require(root: Path) -> None:
    """Check that a folder is a warehouse of this layout.

    Raises
    ------
    NotAWarehouse, LayoutMismatch, StoreUnreadable, UsageError
    """
    require_plain(root)
    marker = root / layout.MARKER
    try:
        found = json.loads(marker.read_text(encoding="utf-8")).get("layout")
    except PermissionError:
        raise StoreUnreadable(root, layout.MARKER) from None
    except (OSError, ValueError, AttributeError):
        if not os.path.exists(root):
            raise NotAWarehouse(
                root, "it does not exist; dicom-warehouse ingest SOURCE -w DIR creates one"
            ) from None
        raise NotAWarehouse(root, f"it has no readable {layout.MARKER}") from None
    if found != layout.LAYOUT_VERSION:
        raise LayoutMismatch(root, found, layout.LAYOUT_VERSION)


def identity(root: Path) -> str:
    """Return the random id of the warehouse, which was generated when it was created."""
    require(root)
    about = json.loads((root / layout.MARKER).read_text(encoding="utf-8"))
    return str(about.get("id", ""))


def found_identity(root: Path) -> str | None:
    """Return the identity of the warehouse in this folder; None if there is none."""
    try:
        return identity(root)
    except (StoreError, OSError):
        return None


def require_plain(root: Path) -> None:
    """Raise for paths with characters that DuckDB or Polars expand, or that Delta decodes."""
    special = sorted(_SPECIAL & set(str(root)))
    if special:
        raise UsageError(
            f"the path of a warehouse must not contain {' '.join(special)} "
            f"(DuckDB, Polars and Delta take them for patterns): {root}"
        )
