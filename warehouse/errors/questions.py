"""Errors of queries and exports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors.root import WarehouseError, near

if TYPE_CHECKING:
    from collections.abc import Iterable


class CatalogError(WarehouseError):
    """A model in sql/, or a query, is wrong."""


class ModelError(CatalogError):
    """The header of a file in sql/ is invalid."""


class UnknownTable(CatalogError, LookupError):
    """No table or view has that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        super().__init__(f"no table or view named {name!r}; {near(name, known)}")


class QueryFailed(CatalogError):
    """DuckDB could not run the SQL of the caller."""


class InstanceNotFound(WarehouseError, LookupError):
    """No stored instance has that SOP Instance UID, and no file has that path."""

    def __init__(self, asked: str) -> None:
        super().__init__(
            f"{asked!r} is neither a file nor the SOPInstanceUID of a stored instance; "
            'list some with: dicom-warehouse sql "select SOPInstanceUID from instances limit 5"'
        )


class ValueNotFound(WarehouseError, LookupError):
    """No stored value and no source file has bytes with that digest."""

    def __init__(self, sha256: str, why: str) -> None:
        super().__init__(f"the value with the digest {sha256!r} cannot be read: {why}")


class SeriesNotFound(WarehouseError, LookupError):
    """No stored series has that UID."""

    def __init__(self, asked: str) -> None:
        super().__init__(
            f"{asked!r} is not the SeriesInstanceUID of a stored series; list some with: "
            'dicom-warehouse sql "select SeriesInstanceUID from series limit 5"'
        )


class ExportFailed(WarehouseError):
    """An output cannot be written, or a source file has changed since its ingest."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"could not write {what}: {why}. Nothing was left behind")
