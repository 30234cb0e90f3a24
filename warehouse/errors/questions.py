"""Errors of questions: to the catalog, for an instance or a series, for an export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors.root import WarehouseError, near

if TYPE_CHECKING:
    from collections.abc import Iterable


class CatalogError(WarehouseError):
    """A model in sql/, or a question asked of the catalog, is wrong."""


class ModelError(CatalogError):
    """A file in sql/ breaks a rule of its header."""


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
    """No bytes have that digest, in the warehouse or in the files that it knows."""

    def __init__(self, sha256: str, why: str) -> None:
        super().__init__(f"the value with the digest {sha256!r} cannot be had: {why}")


class SeriesNotFound(WarehouseError, LookupError):
    """No stored series has that UID."""

    def __init__(self, asked: str) -> None:
        super().__init__(
            f"{asked!r} is not the SeriesInstanceUID of a stored series; list some with: "
            'dicom-warehouse sql "select SeriesInstanceUID from series limit 5"'
        )


class ExportFailed(WarehouseError):
    """An output cannot be written, or a source of it is not what was ingested."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"could not write {what}: {why}. Nothing was left behind")
