"""Errors of de-identification. No message contains a value of a header."""

from __future__ import annotations

from warehouse.errors.root import WarehouseError
from warehouse.errors.store import WorkerError


class NotDeidentified(WarehouseError):
    """An instance cannot be de-identified with certainty; it is left out, with this reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class DeidentifierLost(WorkerError):
    """A process that wrote files of an export has died; ``how`` says how."""

    def __init__(self, how: str) -> None:
        super().__init__(
            f"a process that wrote files of this export {how}. Instances written with a key are "
            "kept: run the export again to continue, with fewer workers if memory is short"
        )
