"""Settings of a listener: AE title, peers and limits.

In: text of a command line, or values. Out: validated ``ListenerSettings``.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from warehouse.errors import UsageError
from warehouse.inputs import require_seconds
from warehouse.settings import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PORT = 11112
"""Port registered for DICOM, besides 104, which needs root."""


def checked_aet(aet: str) -> str:
    """Return an AE title without padding.

    Raises
    ------
    UsageError
        It is not an AE title: 1 to 16 printable ASCII characters, no backslash (PS3.5 6.2).

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
            f"{aet!r} is not an AE title: it has 1 to 16 printable ASCII characters, no backslash"
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
        """Parse ``AET@host:port``.

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
        aet, has_separator, address = text.partition(separator)
        host, colon, port = address.rpartition(":")
        if not (has_separator and colon and host and port.isdecimal() and 0 < int(port) < 65536):
            raise UsageError(f"{text!r} is not a peer: write AET{separator}host:port")
        return cls(checked_aet(aet), host.removeprefix("[").removesuffix("]"), int(port))

    def __str__(self) -> str:
        return f"{self.aet}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates for mutual TLS."""

    certificate: Path
    key: Path
    authorities: Path | None = None
    """Certificates of CAs for peers; without, a listener requests no certificate."""

    def context(self, *, server: bool = True) -> ssl.SSLContext:
        """Return an SSL context for a listener, or for associations that this side opens.

        Raises
        ------
        UsageError
            A file cannot be read, or is not a certificate or key.
        """
        purpose = ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH
        try:
            ssl_context = ssl.create_default_context(purpose, cafile=self.authorities)
            # For an encrypted key, OpenSSL would ask for the password on the terminal.
            ssl_context.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        except (OSError, ValueError) as error:
            raise UsageError(
                f"TLS cannot be set up from {self.certificate}, {self.key} and {self.authorities}: "
                f"{getattr(error, 'strerror', None) or error}"
            ) from None
        if server and self.authorities:
            ssl_context.verify_mode = ssl.CERT_REQUIRED
        if not server:
            # Application entities are identified by certificate and address, seldom by a DNS name.
            ssl_context.check_hostname = False
        return ssl_context


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """Settings of a listener.

    Raises
    ------
    UsageError
        A title, UID, port, mode or number is invalid.
    """

    aet: str = "WAREHOUSE"
    port: int = PORT
    """0 selects a free port."""
    host: str = "127.0.0.1"
    allow: tuple[str, ...] = ()
    """AE titles that may connect; empty allows all."""
    tls: Tls | None = None
    sop_classes: tuple[str, ...] = ()
    """UIDs of private or newer SOP classes to accept besides those that pynetdicom knows."""
    destinations: Mapping[str, Peer] = field(default_factory=dict)
    """Peers that C-MOVE may send to, by AE title."""
    queries: bool = True
    """Whether C-FIND, C-MOVE and C-GET are answered."""
    ingest: bool = True
    """Whether the listener ingests received files."""
    mode: str = "full"
    workers: int = 1
    batch_files: int = 500
    batch_seconds: float = 30.0
    """Files are ingested if ``batch_files`` wait, or the first has waited ``batch_seconds``."""
    associations: int = 16
    pdu_bytes: int = 131_072
    object_bytes: int = 4 << 30
    """Limit of the length of a data set."""
    network_seconds: float = 60.0
    """Network timeout."""

    def __post_init__(self) -> None:
        """Refuse invalid settings."""
        object.__setattr__(self, "aet", checked_aet(self.aet))
        Mode.parse(self.mode)
        object.__setattr__(self, "allow", tuple(map(checked_aet, self.allow)))
        if not 0 <= self.port < 65536:
            raise UsageError(f"{self.port} is not a port: 0 to 65535")
        for name in ("batch_seconds", "network_seconds"):
            require_seconds(name, getattr(self, name))
        for name in ("batch_files", "associations", "object_bytes", "pdu_bytes"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be more than 0")
        for uid in self.sop_classes:
            if not (uid.replace(".", "").isdecimal() and len(uid) <= 64):
                raise UsageError(f"{uid!r} is not a UID of a SOP class")
