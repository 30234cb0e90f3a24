"""Application entities that talk to a listener under test."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import split_dataset


def nodelay(event: evt.Event) -> None:
    """Send at once: else each answer waits 40 ms for the system to acknowledge a packet."""
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@contextmanager
def associated(
    port: int, *contexts: tuple[str, str], aet: str = "SENDER", called: str = "WAREHOUSE",
    **options: Any,
) -> Iterator[Association]:  # fmt: skip
    """Open an association with a context per SOP class and transfer syntax."""
    entity = AE(aet)
    for sop_class, syntax in contexts:
        entity.add_requested_context(sop_class, syntax)
    opened: list[socket.socket] = []
    handlers = [
        (evt.EVT_CONN_OPEN, nodelay),
        (evt.EVT_CONN_OPEN, lambda event: opened.append(event.assoc.dul.socket.socket)),
        *options.pop("evt_handlers", ()),
    ]
    association = entity.associate(
        "127.0.0.1", port, ae_title=called, evt_handlers=handlers, **options
    )
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        elif not association.is_aborted:  # whose connection is being closed takes no second abort
            association.abort()
        if association.ident is not None:
            association.join(10)
        for connection in opened:
            # pynetdicom leaves a socket open that its peer has closed first.
            connection.close()


def send(port: int, *files: Path, aet: str = "SENDER") -> list[int | None]:
    """Send the data sets of files byte for byte; return the status of each."""
    metas = [dcmread(file, stop_before_pixels=True).file_meta for file in files]
    contexts = {(str(m.MediaStorageSOPClassUID), str(m.TransferSyntaxUID)) for m in metas}
    with associated(port, *sorted(contexts), aet=aet) as association:
        assert association.is_established
        return [association.send_c_store(file).get("Status") for file in files]


def data_set(file: Path) -> bytes:
    """Return what stands behind the file meta information, found by pynetdicom."""
    return file.read_bytes()[split_dataset(file)[1] :]


def eventually(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.02)


def received(spool: Path) -> list[Path]:
    """Return the files that a listener has kept."""
    return sorted((spool / "files").rglob("*.dcm"))
