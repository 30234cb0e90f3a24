"""Everything the library raises on purpose.

Bad data never raises out of an ingest: it becomes a row of ``files`` with a reason. These errors
are for wrong calls and for a store that is not what its layout promises. No message contains a
value of a patient's header.

WarehouseError
├── SourceError        a file outside the warehouse cannot be used
│   ├── SourceNotFound     a path given by the caller does not exist
│   └── Rejected           this file cannot become rows (kept as a reason, never fatal)
│       └── Unreachable        it could not be read this time; the next ingest tries again
├── UsageError         an argument has no meaning here
│   └── UnknownMode
├── StoreError         the folder is not the store that its layout promises
│   ├── NotAWarehouse
│   ├── LayoutMismatch
│   └── WriteFailed        no space, no permission: nothing was committed
├── CatalogError       a model in sql/ or a question asked of the catalog is wrong
│   ├── ModelError         header and SQL of a model disagree, or models form a cycle
│   ├── UnknownTable
│   └── QueryFailed
└── InstanceNotFound   no instance with that UID
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class WarehouseError(Exception):
    """Base of everything raised on purpose; safe to show to a user without a traceback."""


class SourceError(WarehouseError):
    """A file or folder outside the warehouse cannot be used."""


class SourceNotFound(SourceError, FileNotFoundError):
    """A source given by the caller does not exist."""

    def __init__(self, source: str) -> None:
        self.source = source
        super().__init__(f"no such file or folder: {source}")

    def __str__(self) -> str:
        return str(self.args[0])


class Rejected(SourceError):
    """A source file cannot become rows; ``reason`` and ``offset`` go into ``files``."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        self.reason = reason
        self.offset = offset
        super().__init__(reason)


class Unreachable(Rejected):
    """A source file could not be opened or read, whatever it holds: rights, a failing disk."""


class UsageError(WarehouseError, ValueError):
    """An argument has no meaning here."""


class UnknownMode(UsageError):
    """The import mode is none of those that exist."""

    def __init__(self, mode: str, known: Iterable[str]) -> None:
        self.mode = mode
        super().__init__(f"unknown mode {mode!r}; choose one of: {', '.join(known)}")


class StoreError(WarehouseError):
    """The store on disk is not what its layout promises."""


class NotAWarehouse(StoreError):
    """The folder exists but was not made by this library, or does not exist where it must."""

    def __init__(self, root: Path, why: str) -> None:
        self.root = root
        super().__init__(f"{root} is not a warehouse: {why}")


class LayoutMismatch(StoreError):
    """The store was written with a layout this version does not read."""

    def __init__(self, root: Path, found: object, supported: int) -> None:
        super().__init__(
            f"{root} has storage layout {found}, this version reads layout {supported}; "
            "install the version that wrote it, or ingest the sources into a new warehouse"
        )


class WriteFailed(StoreError, OSError):
    """The store could not be written; what was committed before is unchanged."""

    def __init__(self, what: str, cause: BaseException) -> None:
        detail = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        super().__init__(
            f"could not write {what}: {detail}. Nothing of this batch was committed; "
            "free space or mend permissions and run the same command again"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class CatalogError(WarehouseError):
    """A model in sql/, or a question asked of the catalog, is wrong."""


class ModelError(CatalogError):
    """A file in sql/ breaks a rule of its header."""


class UnknownTable(CatalogError, LookupError):
    """No table or view has that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        known = list(known)
        similar = get_close_matches(name.lower(), known)
        hint = f"similar: {', '.join(similar)}" if similar else f"known: {', '.join(known)}"
        super().__init__(f"no table or view named {name!r}; {hint}")


class QueryFailed(CatalogError):
    """DuckDB could not run the SQL of the caller."""


class InstanceNotFound(WarehouseError, LookupError):
    """No stored instance has that SOP Instance UID, and no file has that path."""

    def __init__(self, asked: str) -> None:
        super().__init__(
            f"{asked!r} is neither a file nor the SOPInstanceUID of a stored instance; "
            'list some with: dicom-warehouse sql "select SOPInstanceUID from instances limit 5"'
        )
