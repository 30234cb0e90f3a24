"""``-w s3://bucket/prefix``: the folder in which a command works with a warehouse in a bucket.

What is in the folder and not in the bucket when a command has ended is published then.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from warehouse.dicom.objects import is_object
from warehouse.settings import S3Access
from warehouse.store.mirror import Mirror, open_mirror

if TYPE_CHECKING:
    from collections.abc import Callable

    from cyclopts import Token

_Answer = TypeVar("_Answer")

_open: dict[str, Mirror] = {}
"""URL → mirror, of this run of the command."""


def folder(_kind: Any, tokens: list[Token]) -> Path:
    """Return the folder that ``-w`` or ``$DICOM_WAREHOUSE`` names, or that holds what it names."""
    text = tokens[0].value
    if not is_object(text):
        return Path(text)
    if text not in _open:
        _open[text] = open_mirror(text, S3Access.from_variables(os.environ))
    return _open[text].root


def working(root: Path, action: Callable[[Callable[[], None] | None], _Answer]) -> _Answer:
    """Do what begins anew if another writer publishes first; the action is told how to publish."""
    mirror = mirror_of(root)
    return mirror.work(lambda: action(mirror.push)) if mirror else action(None)


def mirror_of(root: Path) -> Mirror | None:
    """Return what publishes a folder, if it stands for a bucket."""
    return next((mirror for mirror in _open.values() if mirror.root == root), None)


def shown(root: Path) -> str:
    """Return how people name a warehouse: the bucket, not the folder that stands for it."""
    mirror = mirror_of(root)
    return mirror.url if mirror else str(root)


def publish() -> None:
    """Publish what the command has committed."""
    for mirror in _open.values():
        mirror.push()


def close() -> None:
    """Let other commands use the folders."""
    while _open:
        _open.popitem()[1].close()
