"""Write the state of a listener to a file of its spool, which other processes read.

In: counts of a listener. Out: ``State``, written atomically. This module does not need pynetdicom.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from warehouse.listener.spool import sync_folder

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
    """Start time, ISO 8601 with UTC offset."""
    is_running: bool
    associations: int
    """Number of open associations."""
    received: int
    """Number of acknowledged data sets."""
    refused: int
    """Number of data sets that could not be stored."""
    waiting: int
    """Number of files received since the last hand-over to the ingest."""
    created: int
    """Number of instances that its ingests added to the warehouse."""
    last_received: str | None
    updated: str
    """Time of writing; a running listener writes at least every ten seconds."""
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


def read_states(root: str | Path) -> list[State]:
    """Return the states of listeners with a spool beside the warehouse, sorted by AE title.

    ``is_running`` of a killed listener stays true, but ``updated`` does not change any more.

    Parameters
    ----------
    root
        Folder of the warehouse.
    """
    states = []
    folder = Path(os.path.abspath(root))
    for file in sorted((folder.parent / f"{folder.name}-received").glob(f"*/{FILE}")):
        try:
            states.append(State(**json.loads(file.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError):
            continue  # removed meanwhile, or of another version
    return states
