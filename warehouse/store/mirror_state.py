"""Classify files of a mirrored warehouse, and store the entity tags of their objects."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from warehouse.store import layout

if TYPE_CHECKING:
    from pathlib import Path


def is_part(key: str) -> bool:
    """Return whether a key is a part of a table, possibly of a table of newer software."""
    folder, _, below = key.partition("/")
    return folder != "_empty" and below.startswith("batch=") and below.endswith(".parquet")


def has_one_state(key: str) -> bool:
    """Return whether a file is immutable: its name is unique or a digest of its content."""
    return is_part(key) or key.startswith(f"{layout.VALUES}/")


def is_log(key: str) -> bool:
    """Return whether a key is a log entry."""
    return "/_delta_log/" in key


def file_md5(path: Path) -> str:
    """Return the MD5 of a file, which is the entity tag of an object uploaded in one request."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def read_tags(path: Path) -> dict[str, tuple[str, str]]:
    """Return the entity tags that an earlier process stored; empty if there are none."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: (digest, tag) for key, (digest, tag) in noted.items()}
