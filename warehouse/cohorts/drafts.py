"""Files that have their name only when they are complete, and never take that of another.

In: a target that does not exist. Out: a draft beside it, which becomes the target or goes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from warehouse.cohorts.provenance import sha256_of, sidecar, text
from warehouse.errors import ExportFailed, TargetExists, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def refuse_existing(target: Path) -> None:
    """Check that a target can be made.

    Raises
    ------
    TargetExists, UsageError
    """
    if os.path.lexists(target):
        raise TargetExists(target)
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}")


@contextlib.contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """Give the name of a draft beside a target; whatever fails, the draft goes.

    Raises
    ------
    ExportFailed
    """
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        yield draft
    except (TargetExists, ExportFailed):
        raise
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException, pa.ArrowException) as error:
        raise ExportFailed(
            str(target), (str(error).splitlines() or [type(error).__name__])[0]
        ) from error
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


def settle(draft: Path, target: Path, facts: dict[str, Any]) -> None:
    """Give a complete draft its name, with its facts beside it."""
    facts |= {"sha256": sha256_of(draft), "size_bytes": draft.stat().st_size}
    beside = sidecar(target)
    noted = sidecar(draft)
    try:
        noted.write_text(text(facts), encoding="utf-8")
        os.link(draft, target)  # unlike a rename it never replaces
        noted.replace(beside)
    except FileExistsError:
        raise TargetExists(target) from None
    finally:
        noted.unlink(missing_ok=True)
