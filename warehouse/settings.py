"""What a run of the library can be told, in one frozen value.

Built at the edges (command line, notebook, Dagster resource, test) and passed down. Nothing below
the edge looks at the environment, but for where the user's cache is and, of pixels that are read
when an array is sliced, the keys of buckets.
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
"""Files of a batch that is planned, and read by a run of its own, unless others are asked for."""


class Mode(StrEnum):
    """Which elements become rows of the long table; entities are complete in every mode."""

    MINIMAL = "minimal"
    """None: only ``files`` and ``instances`` and what is derived from them."""
    NORMAL = "normal"
    """Standard elements, those of even groups, with their sequences."""
    FULL = "full"
    """Every element, private ones too."""

    @classmethod
    def parse(cls, text: str) -> Mode:
        """Return the mode of that name, in any case; raise ``UnknownMode`` for any other."""
        try:
            return cls(text.lower())
        except ValueError:
            raise UnknownMode(text, [mode.value for mode in cls]) from None

    @property
    def rank(self) -> int:
        """How much the mode keeps; a file is read again when a higher one is asked for."""
        return list(Mode).index(self)


@dataclass(frozen=True, slots=True)
class S3Access:
    """How buckets are reached; without keys requests are unsigned (public buckets)."""

    endpoint: str = ""
    """URL of a server that is not Amazon's, such as ``http://minio:9000``."""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)

    @classmethod
    def from_variables(cls, variables: Mapping[str, str]) -> S3Access:
        """Take the variables that other tools take too, ``AWS_ACCESS_KEY_ID`` and so on."""
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
    """What one file may cost. Beyond, it is rejected with the number, and the run goes on.

    With the defaults no file takes more than 1 GiB of memory. Whoever raises one has to give each
    worker more.
    """

    rows: int = 3_000_000
    """Values of one file: rows of the long table. Large RT structure sets have a million."""
    elements: int = 1_600_000
    """Data elements of one file, those in items too. Slides of 150,000 tiles have so many."""
    items: int = 1_000_000
    """Sequence items of one file."""
    pydicom_elements: int = 1_000_000
    """Data elements of a file that pydicom has to read, because it is deflated, big endian or
    breaks a rule. It takes some ten times as long."""
    pydicom_items: int = 500_000
    """Sequence items of such a file."""
    header_bytes: int = 192 << 20
    """Bytes of a header that is read by pydicom, without pixel data and long values."""
    inflated_bytes: int = 1 << 30
    """Bytes to which a deflated data set may unpack, pixel data among them. Unpacked on disk."""
    value_bytes: int = 32 << 20
    """Bytes of the values over a MiB of one file together. Beyond, of these only length and digest
    are kept, read in pieces, and a warning says so: the file is not rejected for them."""

    def __post_init__(self) -> None:
        """Refuse numbers that have no meaning."""
        for limit in fields(self):
            _require_count(limit.name, getattr(self, limit.name))

    def by_unit(self) -> dict[str, int]:
        """Return the limits beyond which a file is rejected, by what their reason counts."""
        return {
            "values": self.rows, "elements": self.elements, "items": self.items,
            "elements to be read by pydicom": self.pydicom_elements,
            "items to be read by pydicom": self.pydicom_items,
            "bytes of header": self.header_bytes,
            "bytes in the deflated data set": self.inflated_bytes,
        }  # fmt: skip

    @classmethod
    def parse(cls, given: Iterable[str]) -> Limits:
        """Return the limits named as ``rows=5000000``; all others have their defaults.

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
        """Take ``DICOM_WAREHOUSE_LIMITS``, such as ``rows=5000000,items=700000``."""
        text = variables.get("DICOM_WAREHOUSE_LIMITS", "")
        return cls.parse(filter(str.strip, text.split(",")))


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How an ingest reads and writes."""

    mode: Mode = Mode.FULL
    """Which elements become rows."""
    patterns: tuple[str, ...] = ()
    """Shell patterns that narrow the file names, without case; none takes every file."""
    workers: int | None = None
    """Processes that read in parallel; None takes one per processor."""
    scheduler: str | None = None
    """Address of a Dask scheduler whose workers read, such as ``tcp://node1:8786``; None reads on
    this machine. The workers see warehouse and sources under the same paths."""
    s3: S3Access = S3Access()
    """How sources ``s3://bucket/…`` are reached."""
    keep_blobs: bool = True
    """Store binary values over 256 bytes in ``blobs``; otherwise only their length and digest."""
    batch_files: int = 20_000
    """Most files committed in one transaction: the unit of progress that survives a kill. An ingest
    that would take longer than half a minute for them commits fewer."""
    chunk_files: int = 2_500
    """Files one worker reads at a time: with ``chunk_rows`` the unit of memory."""
    chunk_rows: int = 1_000_000
    """Rows after which a worker writes what it has, whatever the number of files."""
    limits: Limits = DEFAULT_LIMITS
    """What one file may cost."""

    def __post_init__(self) -> None:
        """Refuse numbers that have no meaning."""
        for name in ("batch_files", "chunk_files", "chunk_rows"):
            _require_count(name, getattr(self, name))

    @classmethod
    def from_variables(cls, variables: Mapping[str, str], **given: Any) -> IngestSettings:
        """Take access to buckets and limits from variables, and all else as it is given."""
        s3, limits = S3Access.from_variables(variables), Limits.from_variables(variables)
        return cls(**{"s3": s3, "limits": limits, **given})

    @property
    def worker_count(self) -> int:
        """Processes to start; 1 reads in this process."""
        if self.workers is not None:
            return max(1, self.workers)
        return processors()


def processors() -> int:
    """Return how many processors this process may use; on macOS and Windows, how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def user_cache() -> Path | None:
    """Return the folder of this user's cache that is ours; None where there is no home for one."""
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(folder) / "dicom-warehouse" if os.path.isabs(folder) else None
