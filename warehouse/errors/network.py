"""Errors of the DICOM network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors.root import WarehouseError

if TYPE_CHECKING:
    from pathlib import Path


class NetworkError(WarehouseError):
    """A local port or a remote application entity cannot be used."""


class CannotListen(NetworkError):
    """The port is in use or not permitted, or the address is not one of this machine."""

    def __init__(self, host: str, port: int, why: str) -> None:
        self.host, self.port = host, port
        super().__init__(f"cannot listen on {host}:{port}: {why}; name another --port or --host")


class SpoolInUse(NetworkError):
    """Another listener writes to the folder of received files."""

    def __init__(self, spool: Path) -> None:
        super().__init__(
            f"another listener receives into {spool}; stop it, or name another --spool or --aet"
        )


class PeerFailed(NetworkError):
    """An application entity did not answer, refused, or failed."""

    def __init__(self, peer: str, why: str) -> None:
        self.peer = peer
        super().__init__(f"{peer} {why}")
