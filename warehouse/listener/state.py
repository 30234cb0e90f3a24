"""The state of a listener, in a file of its spool that other processes read.

In: counts of a listener. Out: ``State``, written whole or not at all. This needs no pynetdicom.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from warehouse.listener.spool import sync_folder

if TYPE_CHECKING:
    from pathlib import Path

FILE = "state.json"
HEARTBEAT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class State:
    """Counts and last error of a listener."""

    aet: str
    host: str
    port: int
    spool: str
    since: str
    """When it began, ISO 8601 with offset."""
    is_running: bool
    associations: int
    """Associations that are open."""
    received: int
    """Data sets acknowledged."""
    refused: int
    """Data sets that could not be kept."""
    waiting: int
    """Files received since the last hand-over to the ingest."""
    created: int
    """Instances that are new in the warehouse since."""
    last_received: str | None
    updated: str
    """When this was written; a listener that runs does so at least every ten seconds."""
    last_error: str | None


def write_state(spool: Path, state: State) -> None:
    """Write the state of a listener to its spool.

    Raises
    ------
    OSError
    """
    fresh = spool / f"{FILE}.new"
    fresh.write_text(json.dumps(asdict(state)) + "\n", encoding="utf-8")
    os.replace(fresh, spool / FILE)
    sync_folder(spool)


def read_states(root: Path) -> list[State]:
    """Return the state of every listener that receives beside a warehouse, by AE title.

    One that was killed says that it runs; it is not ``updated`` any more.

    Parameters
    ----------
    root
        Folder of the warehouse.
    """
    found = []
    for file in sorted((root.parent / f"{root.name}-received").glob(f"*/{FILE}")):
        try:
            found.append(State(**json.loads(file.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue  # being made, or of another version
    return found
