"""The facts about an export, put beside it in the same step that gives it its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warehouse.cohorts.provenance import sha256_of, sidecar, text
from warehouse.outputs import place, refuse_existing

if TYPE_CHECKING:
    from pathlib import Path


def refuse_export(target: Path, *, force: bool) -> None:
    """Check that a target and the file with its facts can be made.

    Raises
    ------
    TargetExists, UsageError
    """
    refuse_existing(target, force=force)
    refuse_existing(sidecar(target), force=force)


def settle(draft: Path, target: Path, facts: dict[str, Any], *, force: bool) -> None:
    """Give a complete draft its name, with its facts beside it.

    Raises
    ------
    TargetExists
    """
    facts |= {"sha256": sha256_of(draft), "size_bytes": draft.stat().st_size}
    noted = sidecar(draft)
    try:
        noted.write_text(text(facts), encoding="utf-8")
        place(draft, target, force=force)
        noted.replace(sidecar(target))
    finally:
        noted.unlink(missing_ok=True)
