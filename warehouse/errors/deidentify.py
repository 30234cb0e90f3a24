"""Errors of de-identification. None holds a value of a header."""

from __future__ import annotations

from warehouse.errors.root import WarehouseError


class NotDeidentified(WarehouseError):
    """An instance cannot be de-identified with certainty; it is left out, with this reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)
