"""Settings of an ingest, as frozen dataclasses.

They are built at the edges (command line, ``Warehouse``, Dagster resource, test) and passed down.
Other code does not read environment variables, with two exceptions: the location of the user's
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
"""Default size of a planned batch, which is read by a run of its own."""


class Mode(StrEnum):
    """Which elements become rows of ``elements``; entity tables are complete in every mode."""

    MINIMAL = "minimal"
    """None: only ``files`` and ``instances``, and the views over them."""
    NORMAL = "normal"
    """Elements of even groups (standard elements), sequences included."""
    FULL = "full"
    """All elements, with private ones."""

    @classmethod
    def parse(cls, text: str) -> Mode:
        """Return the mode of that name, in any case; raise ``UnknownMode`` for any other."""
        try:
            return cls(text.lower())
        except ValueError:
            raise UnknownMode(text, [mode.value for mode in cls]) from None

    @property
    def rank(self) -> int:
        """From minimal (0) to full (2); an ingest of a higher rank reads a known file again."""
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
        """Return the access that the usual variables state, such as ``AWS_ACCESS_KEY_ID``."""
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
    """Refuse what is no whole number above 0."""
    if not isinstance(value, int) or value < 1:
        raise UsageError(f"{name} must be at least 1, a whole number: not {value!r}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits per file. A file beyond one is rejected with the number, and the run continues.

    With the defaults no file takes more than 1 GiB of memory; with higher limits workers need more.
    """

    rows: int = 3_000_000
    """Values of one file: rows of ``elements``. Large RT structure sets have a million."""
    elements: int = 1_600_000
    """Data elements of one file, nested ones included. Slides of 150,000 tiles have so many."""
    items: int = 1_000_000
    """Sequence items of one file."""
    pydicom_elements: int = 1_000_000
    """Data elements of a file that pydicom has to read, because it is deflated, big endian or not
    conformant, which takes about ten times as long."""
    pydicom_items: int = 500_000
    """Sequence items of such a file."""
    header_bytes: int = 192 << 20
    """Bytes of a header that is read by pydicom, without pixel data and long values."""
    inflated_bytes: int = 1 << 30
    """Inflated size of a deflated data set, pixel data included. It is inflated on disk."""
    value_bytes: int = 32 << 20
    """Total bytes of the values over 1 MiB of one file. Beyond it these values are stored as length
    and digest with a warning; the file is not rejected."""

    def __post_init__(self) -> None:
        """Refuse numbers below 1."""
        for limit in fields(self):
            _require_count(limit.name, getattr(self, limit.name))

    def by_unit(self) -> dict[str, int]:
        """Return the limits beyond which a file is rejected, by the unit that the reason names."""
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
            There is no such limit, or it is no whole number above 0.

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
                raise UsageError(f"no limit {name!r}; choose of: {', '.join(known)}")
            if not number.strip().isdecimal() or int(number) < 1:
                raise UsageError(f"the limit {name} is a whole number above 0, not {number!r}")
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
    """Which elements become rows."""
    patterns: tuple[str, ...] = ()
    """Case-insensitive shell patterns for file names; without any every file is read."""
    workers: int | None = None
    """Processes that read in parallel; None starts one per processor."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers read, such as ``tcp://node1:8786``; None reads on
    this machine. Its workers must see warehouse and sources under the same paths."""
    s3: S3Access = S3Access()
    """Access to sources ``s3://bucket/…``."""
    keep_blobs: bool = True
    """Store binary values over 256 bytes in ``blobs``; otherwise only their length and digest."""
    batch_files: int = 20_000
    """Largest number of files of a transaction. If they would take longer than half a minute to
    read, a transaction has fewer; a killed ingest loses no more than that."""
    chunk_files: int = 2_500
    """Files that a worker reads at a time; bounds its memory, with ``chunk_rows``."""
    chunk_rows: int = 1_000_000
    """Rows after which a worker writes a part, whatever the number of files."""
    limits: Limits = DEFAULT_LIMITS
    """Limits per file."""

    def __post_init__(self) -> None:
        """Refuse numbers below 1."""
        for name in ("batch_files", "chunk_files", "chunk_rows"):
            _require_count(name, getattr(self, name))

    @classmethod
    def from_variables(cls, variables: Mapping[str, str], **given: Any) -> IngestSettings:
        """Return settings with bucket access and limits from variables, and the given fields."""
        s3, limits = S3Access.from_variables(variables), Limits.from_variables(variables)
        return cls(**{"s3": s3, "limits": limits, **given})

    @property
    def worker_count(self) -> int:
        """Number of processes that read; 1 means this process."""
        if self.workers is not None:
            return max(1, self.workers)
        return processors()


def processors() -> int:
    """Return the processors that this process may use; on macOS and Windows, all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def user_cache() -> Path | None:
    """Return ``~/.cache/dicom-warehouse``, or None if the user has no home folder."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(folder) / "dicom-warehouse" if os.path.isabs(folder) else None
