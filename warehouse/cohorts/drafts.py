"""Rename a complete export to its target, and write its sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warehouse.cohorts.provenance import sha256_of, sidecar, text
from warehouse.outputs import place, refuse_existing

if TYPE_CHECKING:
    from pathlib import Path


def refuse_export(target: Path, *, force: bool) -> None:
    """Check that a target and its sidecar can be created.

    Raises
    ------
    TargetExists, UsageError
    """
    refuse_existing(target, force=force)
    refuse_existing(sidecar(target), force=force)


def finish_export(draft: Path, target: Path, facts: dict[str, Any], *, force: bool) -> None:
    """Rename a complete draft to its target, and write the sidecar beside it.

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
