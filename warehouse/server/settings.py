"""Settings of a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from warehouse.errors import UsageError
from warehouse.inputs import require_seconds

if TYPE_CHECKING:
    from pathlib import Path

BEGUN = ".begun"
"""Subfolder of ``received`` for objects that are not complete."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Address, authentication and limits of a server."""

    host: str = "127.0.0.1"
    port: int = 8042
    tokens: Path | None = None
    """Token file (``access``); without one, only local clients have access, to read."""
    received: Path | None = None
    """Folder that STOW-RS writes to; without one, no objects are accepted."""
    viewer: Path | None = None
    """Folder of OHIF; by default the installed one, else the built-in page is served."""
    audit: Path | None = None
    """Audit log; standard error by default."""
    certificate: Path | None = None
    key: Path | None = None
    public_url: str = ""
    """URL of this server for clients behind a proxy, such as https://archive.example.org."""
    seconds: float = 60.0
    """Time limit of the queries of a request, and of a stalled client."""
    requests: int = 64
    """Limit of concurrent requests."""
    body_bytes: int = 16 << 30
    """Limit of the body of a STOW request."""
    value_bytes: int = 128 << 20
    """Limit of the body of a value: an annotation of a million points has about 60 MB."""
    text_bytes: int = 1 << 20
    """Limit of any other body."""
    answer_rows: int = 1_000_000
    """Limit of the rows of an SQL result, and of a list as a file."""
    answer_bytes: int = 256 << 20
    """Limit of the size of an SQL result."""
    sql_memory_bytes: int = 4 << 30
    """Memory limit of a process that runs SQL; DuckDB spills to disk long before."""

    without: frozenset[str] = frozenset()
    """Parts of the service that are switched off: rest, dicomweb, viewer."""

    def __post_init__(self) -> None:
        """Refuse invalid settings."""
        require_seconds("the timeout", self.seconds)
        if not 0 <= self.port < 65536:
            raise UsageError(f"{self.port} is not a port: 0 to 65535")
        limits = {"number of requests": self.requests, "size of an upload": self.body_bytes}
        for what, limit in limits.items():
            if limit < 1:
                raise UsageError(f"the largest {what} is {limit}; it must be at least 1")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK

    @property
    def is_called_here(self) -> bool:
        """Whether the public URL is unset or local, so that there is no proxy."""
        return not self.public_url or urlsplit(self.public_url).hostname in LOOPBACK
