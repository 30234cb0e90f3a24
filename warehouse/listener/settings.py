"""Settings of a listener: its title, its peers, and limits per peer.

In: text of a command line or values. Out: ``ListenerSettings``, checked; nothing is opened here.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from warehouse.errors import UsageError
from warehouse.settings import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PORT = 11112
"""Registered for DICOM beside 104, which needs root."""


def checked_aet(aet: str) -> str:
    """Return an application entity title without padding.

    Raises
    ------
    UsageError
        It is no AE title: 1 to 16 printable ASCII characters, no backslash (PS3.5 6.2).

    Examples
    --------
    >>> checked_aet(" ARCHIVE ")
    'ARCHIVE'
    """
    title = aet.strip()
    if not (
        1 <= len(title) <= 16 and title.isascii() and title.isprintable() and "\\" not in title
    ):
        raise UsageError(
            f"{aet!r} is no AE title: it has 1 to 16 printable ASCII characters without a backslash"
        )
    return title


@dataclass(frozen=True, slots=True)
class Peer:
    """Another application entity."""

    aet: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str, separator: str = "@") -> Self:
        """Read ``AET@host:port``.

        Raises
        ------
        UsageError

        Examples
        --------
        >>> Peer.parse("PACS@10.0.0.5:104")
        Peer(aet='PACS', host='10.0.0.5', port=104)
        >>> Peer.parse("WORKSTATION=[::1]:11113", "=").host
        '::1'
        """
        aet, found, address = text.partition(separator)
        host, colon, port = address.rpartition(":")
        if not (found and colon and host and port.isdecimal() and 0 < int(port) < 65536):
            raise UsageError(f"{text!r} is no peer: write AET{separator}host:port")
        return cls(checked_aet(aet), host.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        return f"{self.aet}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates for mutual TLS."""

    certificate: Path
    key: Path
    authorities: Path | None = None
    """Certificates of those who may sign a peer's certificate; without, none is asked for."""

    def context(self, *, server: bool = True) -> ssl.SSLContext:
        """Return a context for a listener, or for associations that this side opens.

        Raises
        ------
        UsageError
            A file cannot be read, or is no certificate or key.
        """
        purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
        try:
            made = ssl.create_default_context(purpose, cafile=self.authorities)
            # For an encrypted key, OpenSSL would ask for the password on the terminal.
            made.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise UsageError(
                f"TLS cannot be set up from {self.certificate}, {self.key} and {self.authorities}: "
                f"{getattr(error, 'strerror', None) or error}"
            ) from None
        if server and self.authorities:
            made.verify_mode = ssl.CERT_REQUIRED
        if not server:
            # Application entities are identified by certificate and address, seldom by a DNS name.
            made.check_hostname = False
        return made


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """How a listener receives and answers.

    Raises
    ------
    UsageError
        A title, a port, a mode or a number has no meaning.
    """

    aet: str = "WAREHOUSE"
    port: int = PORT
    """0 takes a free one."""
    host: str = "127.0.0.1"
    allow: tuple[str, ...] = ()
    """AE titles that may call; empty lets everybody."""
    tls: Tls | None = None
    sop_classes: tuple[str, ...] = ()
    """UIDs of private or newer SOP classes to take beside those that pynetdicom knows."""
    destinations: Mapping[str, Peer] = field(default_factory=dict)
    """Where C-MOVE may send, by AE title."""
    queries: bool = True
    """Whether C-FIND, C-MOVE and C-GET are answered."""
    ingest: bool = True
    """Whether what was received is ingested by the listener; else somebody else does."""
    mode: str = "full"
    workers: int = 1
    batch_files: int = 500
    batch_seconds: float = 30.0
    """Received files are ingested when so many wait, or the first of them has waited so long."""
    associations: int = 16
    pdu_bytes: int = 131_072
    object_bytes: int = 4 << 30
    """Longest data set that is taken."""
    network_seconds: float = 60.0
    """How long a peer may be silent."""

    def __post_init__(self) -> None:
        """Refuse invalid settings."""
        object.__setattr__(self, "aet", checked_aet(self.aet))
        Mode.parse(self.mode)
        object.__setattr__(self, "allow", tuple(map(checked_aet, self.allow)))
        if not 0 <= self.port < 65536:
            raise UsageError(f"{self.port} is no port: 0 to 65535")
        for name in ("batch_files", "batch_seconds", "associations", "object_bytes"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it has to be more than 0")
        for uid in self.sop_classes:
            if not (uid.replace(".", "").isdecimal() and len(uid) <= 64):
                raise UsageError(f"{uid!r} is no UID of a SOP class")
