"""The audit log: who changed a warehouse, when, how, and the resulting version.

In: the folder of a warehouse. Out: ``_audit/2026-11-28.HOST.jsonl`` with one line per change, and
the entries of all such files. There is one file per day and machine: a line is appended atomically,
and a bucket, which does not support appending, gets each file from only one machine. No line
contains header values or source paths.
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
    """One change of the warehouse."""

    at: str
    """Time of the change, UTC."""
    who: str
    """User and machine that made it."""
    what: str
    """Name of the command, such as ``ingest`` or ``cohort run``."""
    how: str
    """``done`` or ``failed``; batches that a failed ingest had committed before are kept."""
    version_before: int | None
    """Version before; None if there was no warehouse."""
    version: int | None
    """Version of the warehouse afterwards."""


def newest_version(root: Path) -> int | None:
    """Return the newest version that has a log entry, without reading entries."""
    try:
        with os.scandir(layout.table_folder(root, "files") / "_delta_log") as entries:
            names = [entry.name for entry in entries]
    except OSError:
        return None
    numbers = [int(name[:20]) for name in names if re.fullmatch(r"[0-9]{20}\.json", name)]
    return max(numbers, default=None)


def note(root: Path, what: str, how: str, before: int | None, own: str = "") -> None:
    """Append a line to the log; ignore failures, because the change is already committed.

    Parameters
    ----------
    own
        Suffix that distinguishes this folder from other local mirrors of the same bucket.
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
    """Return every logged change, oldest first; skip damaged lines."""
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
