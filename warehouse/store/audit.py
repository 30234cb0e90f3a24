"""Who changed a warehouse, when, how, and which version came of it.

In: the folder of a warehouse. Out: ``_audit/2026-11-28.HOST.jsonl``, a line per change, and the
lines of all such files. A file per day and machine: lines are appended in one step, and a bucket,
which cannot append, is given one by the only machine that writes it. No line has a value of a
header, or a path of a source.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import json
import os
import platform
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from warehouse.store import layout

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "_audit"


@dataclass(frozen=True, slots=True)
class Entry:
    """One change."""

    at: str
    """When it was done, UTC."""
    who: str
    """User and machine."""
    what: str
    """Name of the command, as ``ingest`` or ``cohort run``."""
    how: str
    """``done`` or ``failed``; what a failed ingest had committed before stays."""
    version_before: int | None
    """None where no warehouse was."""
    version: int | None
    """Version of the warehouse afterwards."""


def newest_version(root: Path) -> int | None:
    """Return the newest version of which there is a log entry, without reading any."""
    try:
        with os.scandir(layout.table_folder(root, "files") / "_delta_log") as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return None
    numbers = [int(name[:20]) for name in names if re.fullmatch(r"[0-9]{20}\.json", name)]
    return max(numbers, default=None)


def note(root: Path, what: str, how: str, before: int | None, own: str = "") -> None:
    """Append a line to the log; a failure is ignored, as the change is committed already.

    Parameters
    ----------
    own
        What tells the folder from others of this machine that stand for the same bucket.
    """
    if not os.path.exists(root / layout.MARKER):
        return
    now = dt.datetime.now(dt.UTC)
    entry = Entry(
        now.isoformat(timespec="milliseconds"), f"{_user()}@{platform.node()}", what, how,
        before, newest_version(root),
    )  # fmt: skip
    host = re.sub(r"[^A-Za-z0-9.-]", "-", platform.node()) or "host"
    name = ".".join(filter(None, (f"{now:%Y-%m-%d}", host, own, "jsonl")))
    line = (json.dumps(asdict(entry)) + "\n").encode()
    with contextlib.suppress(OSError):
        (root / FOLDER).mkdir(exist_ok=True)
        descriptor = os.open(root / FOLDER / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def entries(root: Path) -> list[Entry]:
    """Return every logged change, the oldest first; damaged lines are skipped."""
    found: list[Entry] = []
    for path in sorted((root / FOLDER).glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError):
                found.append(Entry(**json.loads(line)))
    return sorted(found, key=lambda entry: entry.at)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())
