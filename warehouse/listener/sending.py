"""Send a stored instance by C-STORE with the bytes of its file.

pynetdicom sends a data set by encoding it again. For a ``Stored`` instance, its file is opened,
which must be unchanged since its ingest, and the bytes of its data set are sent. They are copied to
a temporary file with file meta information, which sources may lack.
"""

from __future__ import annotations

import shutil
import socket
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pynetdicom import _config

from warehouse.dicom.open import open_source
from warehouse.dicom.preamble import has_preamble
from warehouse.dicom.source import known_source
from warehouse.errors import NotAsIngested
from warehouse.listener.received import file_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import IO

    from pynetdicom.association import Association
    from pynetdicom.events import Event

    from warehouse.settings import S3Access

# Files are sent without being decoded.
_config.STORE_SEND_CHUNKED_DATASET = True

_PREAMBLE_BYTES = 132
_LONG_VRS = {b"OB", b"OW", b"UN", b"SQ", b"UT"}
MOST_META_BYTES = 1 << 20


class Stored(Dataset):
    """An instance of the warehouse: the UIDs that pynetdicom reads, and its source file."""

    def __init__(self, row: Sequence[Any], s3: S3Access) -> None:
        super().__init__()
        sop_class, sop_instance, syntax, path, size_bytes, modified_us = row
        self.SOPClassUID, self.SOPInstanceUID = sop_class or "", sop_instance
        # Without a stated transfer syntax no presentation context fits, so it cannot be sent.
        self.syntax, self._where = syntax or "", (path, size_bytes, modified_us, s3)

    @contextmanager
    def file(self) -> Iterator[Path]:
        """Yield a temporary file with the unchanged data set and file meta information."""
        source = known_source(*self._where)
        with open_source(source) as file, tempfile.NamedTemporaryFile(suffix=".dcm") as copy:
            head = file_head(str(self.SOPClassUID), str(self.SOPInstanceUID), self.syntax, "")
            copy.write(head)
            file.seek(data_set_offset(file, source.size_bytes))
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.flush()
            yield Path(copy.name)


def nodelay(event: Event) -> None:
    """Set TCP_NODELAY; otherwise messages wait up to 40 ms for an acknowledgment."""
    connection = event.assoc.dul.socket
    if connection and connection.socket:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def send_stored(
    assoc: Association, send: Callable[..., Dataset], dataset: Any, *rest: Any, **options: Any
) -> Dataset:
    """Send a data set, or the file of a stored instance, with ``send_c_store``.

    Raises
    ------
    ConnectionError
        The association has ended: pynetdicom tries the other instances, but none is copied.
    SourceError
        The file of a stored instance is missing or has changed.
    """
    if not isinstance(dataset, Stored):
        return send(dataset, *rest, **options)
    if not assoc.is_established:
        raise ConnectionError("the association has ended")
    with dataset.file() as path:
        return send(path, *rest, **options)


def data_set_offset(file: IO[bytes], size: int | None) -> int:
    """Return the offset of the data set, after preamble and file meta information.

    Raises
    ------
    NotAsIngested
        The file meta information does not end.
    """
    file.seek(0)
    head = file.read(_PREAMBLE_BYTES + 8)
    offset = _PREAMBLE_BYTES if has_preamble(head, size) else 0
    while offset < MOST_META_BYTES:
        file.seek(offset)
        element = file.read(12)
        if len(element) < 8 or element[:2] != b"\2\0":
            return offset
        vr = element[4:6]
        if not (vr.isalpha() and vr.isupper()):
            # Some files have implicit VR in group 2.
            offset += 8 + struct.unpack("<L", element[4:8])[0]
        elif vr in _LONG_VRS:
            offset += 12 + struct.unpack("<L", element[8:12])[0]
        else:
            offset += 8 + struct.unpack("<H", element[6:8])[0]
    raise NotAsIngested("its file meta information does not end")
