"""Errors of derived objects: segmentations, structure sets, doses, uptake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors.root import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Iterable


class DerivedError(WarehouseError):
    """The content of a derived object cannot be returned as requested."""


class WrongObject(DerivedError, ValueError):
    """A series is of another kind than required, or has several objects; ``why`` says which."""

    def __init__(self, series_uid: str, kind: str, why: str) -> None:
        self.why = why
        super().__init__(f"series {series_uid} is not a {kind} that can be read: {why}")


class NotInGeometry(DerivedError, ValueError):
    """A derived object is not on the requested grid; ``why`` says how it differs."""

    def __init__(self, series_uid: str, why: str, advice: str) -> None:
        self.why = why
        super().__init__(f"series {series_uid} is not on the requested grid: {why}; {advice}")


class SegmentsOverlap(DerivedError, ValueError):
    """Segments share voxels, so they are not one label map."""

    def __init__(self, series_uid: str, pairs: Iterable[tuple[int, int]]) -> None:
        self.pairs = tuple(pairs)
        named = ", ".join(f"{a} and {b}" for a, b in self.pairs)
        super().__init__(
            f"segments of series {series_uid} overlap ({named}): use one mask per segment, mask(…)"
        )


class UnknownPart(DerivedError, LookupError):
    """A derived object has no segment, region or beam of that number."""

    def __init__(self, what: str, asked: object, known: Iterable[object]) -> None:
        listed = ", ".join(map(str, known)) or "none"
        super().__init__(f"no {what} {asked!r}; there are: {listed}")
