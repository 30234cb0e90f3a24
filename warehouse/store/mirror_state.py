"""What is known of a file of a warehouse in a bucket: by key, by bytes, by what was noted."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from warehouse.store import layout

if TYPE_CHECKING:
    from pathlib import Path


def is_part(key: str) -> bool:
    """Tell whether it is a part of a table, which a newer software alone may know."""
    folder, _, below = key.partition("/")
    return folder != "_empty" and below.startswith("batch=") and below.endswith(".parquet")


def has_one_state(key: str) -> bool:
    """Tell whether a file is never changed: its name is new, or says its content."""
    return is_part(key) or key.startswith(f"{layout.VALUES}/")


def is_log(key: str) -> bool:
    """Tell whether it is an entry of a log."""
    return "/_delta_log/" in key


def file_md5(path: Path) -> str:
    """Return what S3 calls the state of an object that was put in one request."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def read_tags(path: Path) -> dict[str, tuple[str, str]]:
    """Return what an earlier process noted; nothing if it was killed before, or there was none."""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: (digest, tag) for key, (digest, tag) in noted.items()}
