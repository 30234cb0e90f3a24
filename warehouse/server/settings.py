"""Settings of a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

BEGUN = ".begun"
"""Folder in that of received objects where they lie until they are whole."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Address, authentication and limits of a server."""

    host: str = "127.0.0.1"
    port: int = 8042
    tokens: Path | None = None
    """File of tokens (``access``). Without one, only this machine may ask, and only read."""
    received: Path | None = None
    """Folder that STOW-RS writes to; without one nothing is received."""
    viewer: Path | None = None
    """Folder of OHIF; without one the built-in page is shown."""
    audit: Path | None = None
    """File that says who asked for what; standard error by default."""
    certificate: Path | None = None
    key: Path | None = None
    public_url: str = ""
    """What clients call this server, such as https://archive.example.org, behind a proxy."""
    seconds: float = 60.0
    """That what one request asks of the catalog may take, and a client may stand still."""
    requests: int = 64
    """That are answered at a time."""
    body_bytes: int = 16 << 30
    """Of one STOW request."""
    value_bytes: int = 128 << 20
    """Of one value: an annotation of a million points has some 60 MB."""
    text_bytes: int = 1 << 20
    """Of any other body."""
    rows: int = 10_000
    """Of one page, and of one answer of QIDO."""
    answer_rows: int = 1_000_000
    """Of one answer of SQL, and of one list as a file."""
    answer_bytes: int = 256 << 20
    """Of one answer of SQL."""
    sql_memory_bytes: int = 4 << 30
    """That the process may take which answers SQL; DuckDB spills to disk long before."""

    without: frozenset[str] = frozenset()
    """Parts that are left out: rest, dicomweb, viewer."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK

    @property
    def is_called_here(self) -> bool:
        """Whether the public name is one of this machine, so that there is no proxy in front."""
        return not self.public_url or urlsplit(self.public_url).hostname in LOOPBACK
