"""Replace small files atomically."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from warehouse.errors import WriteFailed
from warehouse.store.making import reach_disk

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(
    path: Path, content: bytes, what: str, *, keep_mode: bool = False, lasts: bool = False
) -> None:
    """Write or replace a file atomically.

    Parameters
    ----------
    path, content
        The file and its new content.
    what
        Name of the file in an error message.
    keep_mode
        Keep the permissions of the replaced file.
    lasts
        Flush file and folder to the disk.

    Raises
    ------
    WriteFailed
    """
    draft = path.with_name(f".{uuid.uuid4().hex}")
    try:
        draft.write_bytes(content)
        if keep_mode:
            os.chmod(draft, path.stat().st_mode & 0o777)
        if lasts:
            reach_disk([draft])
        draft.replace(path)
        if lasts:
            reach_disk([path])
    except OSError as error:
        raise WriteFailed(what, error) from error
    finally:
        draft.unlink(missing_ok=True)
