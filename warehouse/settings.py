"""Settings of an ingest, as frozen dataclasses.

The entry points (command line, ``Warehouse``, Dagster resources, tests) create them and pass them
on. Other code reads no environment variables, with two exceptions: the location of the user's
cache, and bucket credentials when pixels are read lazily.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.errors import UnknownMode, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


PLANNED_FILES = 10_000
"""Default size of a planned batch, which is read in a separate run."""


class Mode(StrEnum):
    """Which elements are stored in ``elements``; entity tables are complete in every mode."""

    MINIMAL = "minimal"
    """No elements: only ``files`` and ``instances``, and the views over them."""
    NORMAL = "normal"
    """Elements with an even group number (standard elements), including sequences."""
    FULL = "full"
    """All elements, including private ones."""

    @classmethod
    def parse(cls, text: str) -> Mode:
        """Return the mode with this name, ignoring case; raise ``UnknownMode`` for any other."""
        try:
            return cls(text.lower())
        except ValueError:
            raise UnknownMode(text, [mode.value for mode in cls]) from None

    @property
    def rank(self) -> int:
        """From minimal (0) to full (2); an ingest in a mode of higher rank rereads known files."""
        return list(Mode).index(self)


@dataclass(frozen=True, slots=True)
class S3Access:
    """Access to S3-compatible buckets; without keys requests are unsigned (public buckets)."""

    endpoint: str = ""
    """URL of a server that is not Amazon's, such as ``http://minio:9000``."""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)

    @classmethod
    def from_variables(cls, variables: Mapping[str, str]) -> S3Access:
        """Return the access configured by the AWS variables, such as ``AWS_ACCESS_KEY_ID``."""
        return cls(
            endpoint=variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL", ""),
            region=variables.get("AWS_REGION")
            or variables.get("AWS_DEFAULT_REGION")
            or "us-east-1",
            access_key_id=variables.get("AWS_ACCESS_KEY_ID", ""),
            secret_access_key=variables.get("AWS_SECRET_ACCESS_KEY", ""),
            session_token=variables.get("AWS_SESSION_TOKEN", ""),
        )


def _require_count(name: str, value: object) -> None:
    """Raise if a value is not an integer above 0."""
    if not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} must be at least 1, a whole number: not {value!r}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits per file. A file that exceeds one is rejected, and the run continues.

    With the defaults no file takes more than 1 GiB of memory; with higher limits workers need more.
    """

    rows: int = 3_000_000
    """Values of one file: rows of ``elements``. Large RT structure sets have a million."""
    elements: int = 1_600_000
    """Data elements of one file, including nested ones. Slides of 150,000 tiles have that many."""
    items: int = 1_000_000
    """Sequence items of one file."""
    pydicom_elements: int = 1_000_000
    """Data elements of a file that pydicom must read because it is deflated, big endian or not
    conformant. Reading with pydicom takes about ten times as long."""
    pydicom_items: int = 500_000
    """Sequence items of a file that pydicom must read."""
    header_bytes: int = 192 << 20
    """Bytes of a header that is read by pydicom, without pixel data and long values."""
    inflated_bytes: int = 1 << 30
    """Inflated size of a deflated data set, including pixel data. It is inflated on disk."""
    value_bytes: int = 32 << 20
    """Total bytes of all values over 1 MiB in one file. Beyond this limit these values are stored
    as length and digest, with a warning; the file is not rejected."""

    def __post_init__(self) -> None:
        """Refuse numbers below 1."""
        for limit in fields(self):
            _require_count(limit.name, getattr(self, limit.name))

    def by_unit(self) -> dict[str, int]:
        """Return the limits beyond which a file is rejected, by the unit named in the reason."""
        return {
            "values": self.rows, "elements": self.elements, "items": self.items,
            "elements to be read by pydicom": self.pydicom_elements,
            "items to be read by pydicom": self.pydicom_items,
            "bytes of header": self.header_bytes,
            "bytes in the deflated data set": self.inflated_bytes,
        }  # fmt: skip

    @classmethod
    def parse(cls, given: Iterable[str]) -> Limits:
        """Return limits given as ``rows=5000000``; all others have their defaults.

        Raises
        ------
        UsageError
            There is no such limit, or its value is not an integer above 0.

        Examples
        --------
        >>> Limits.parse(["rows=5000000", "items=700000"]).rows
        5000000
        """
        numbers: dict[str, int] = {}
        known = [limit.name for limit in fields(cls)]
        for text in given:
            name, _, number = text.partition("=")
            name = name.strip()
            if name not in known:
                raise UsageError(f"no limit {name!r}; choose one of: {', '.join(known)}")
            if not number.strip().isdecimal() or int(number) < 1:
                raise UsageError(f"the limit {name} must be a whole number above 0, not {number!r}")
            numbers[name] = int(number)
        return cls(**numbers)

    @classmethod
    def from_variables(cls, variables: Mapping[str, str]) -> Limits:
        """Parse ``DICOM_WAREHOUSE_LIMITS``, such as ``rows=5000000,items=700000``."""
        text = variables.get("DICOM_WAREHOUSE_LIMITS", "")
        return cls.parse(filter(str.strip, text.split(",")))


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How an ingest reads and writes."""

    mode: Mode = Mode.FULL
    """Which elements are stored."""
    patterns: tuple[str, ...] = ()
    """Case-insensitive shell patterns for file names; if empty, every file is read."""
    workers: int | None = None
    """Number of processes that read in parallel; None starts one per processor."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers read files, such as ``tcp://node1:8786``; None
    reads on this machine. The workers must see warehouse and sources under the same paths."""
    s3: S3Access = S3Access()
    """Access to sources ``s3://bucket/…``."""
    keep_blobs: bool = True
    """Store binary values over 256 bytes in ``blobs``; otherwise only their length and digest."""
    batch_files: int = 20_000
    """Largest number of files in a transaction. A transaction has fewer files if reading them would
    take longer than half a minute, so a killed ingest loses no more than that."""
    chunk_files: int = 2_500
    """Files that a worker reads at a time; together with ``chunk_rows``, limits its memory."""
    chunk_rows: int = 1_000_000
    """Rows after which a worker writes a part, whatever the number of files."""
    limits: Limits = DEFAULT_LIMITS
    """Limits per file."""

    def __post_init__(self) -> None:
        """Refuse numbers below 1."""
        for name in ("batch_files", "chunk_files", "chunk_rows"):
            _require_count(name, getattr(self, name))
        if self.workers is not None:
            _require_count("workers", self.workers)

    @classmethod
    def from_variables(cls, variables: Mapping[str, str], **given: Any) -> IngestSettings:
        """Return settings with the given fields, and bucket access and limits from variables."""
        s3, limits = S3Access.from_variables(variables), Limits.from_variables(variables)
        return cls(**{"s3": s3, "limits": limits, **given})

    @property
    def worker_count(self) -> int:
        """Number of processes that read; 1 means this process."""
        return processors() if self.workers is None else self.workers


def processors() -> int:
    """Return the number of processors this process may use; on macOS and Windows, all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def user_cache() -> Path | None:
    """Return ``~/.cache/dicom-warehouse``, or None if the user has no home folder."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(folder) / "dicom-warehouse" if os.path.isabs(folder) else None
