"""A chunk of files → staged parts: what a worker process does, with all that it imports.

In: files and settings. Out: ``Staged``. Apart from ``warehouse.ingest``, so that workers load
neither DuckDB nor Delta: they start sooner, and each is smaller.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from warehouse.elements.extract import extract
from warehouse.errors import WrongMachine
from warehouse.process import collector_paused
from warehouse.store.marker import found_identity
from warehouse.store.stage import Staged, stage

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.dicom.scan import SourceFile
    from warehouse.settings import IngestSettings


def stage_chunk(
    root: Path, warehouse_id: str, batch: str, place: int, sources: list[SourceFile],
    first_id: int, settings: IngestSettings,
) -> list[Staged]:  # fmt: skip
    """Read some files and write their rows.

    Raises
    ------
    WrongMachine
        The folder of the warehouse is another one here, or none.
    """
    if found_identity(root) != warehouse_id:
        raise WrongMachine(root, platform.node())
    with collector_paused():
        return [
            stage(root, batch, place, portion, settings.mode, keep_blobs=settings.keep_blobs)
            for portion in extract(sources, first_id, settings.chunk_rows)
        ]
