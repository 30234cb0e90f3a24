"""Collect the fragments of a data set in memory or, if it is long, in the spool.

pynetdicom passes the fragments to ``Received.write`` in the thread that reads the connection. A
full disk must not end the association there: the rest of the data set is read and discarded, and
the response states the failure.
"""

from __future__ import annotations

import struct
import threading
from io import BytesIO
from typing import TYPE_CHECKING

from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage

from warehouse.errors import cause_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pynetdicom.association import Association
    from pynetdicom.pdu_primitives import P_DATA

    from warehouse.listener.spool import Part, Spool

MEMORY_BYTES = 1 << 20
"""A longer data set is written to the spool while it arrives."""

COMMAND_BYTES = 64 << 10
"""Limit of a command set, which has a dozen short elements."""

MESSAGES = 4
"""Limit of queued messages; without asynchronous operations there should be one."""


class NotStored(Exception):
    """A data set could not be stored; the message quotes no value of it."""


class Received(BytesIO):
    """A data set that is being received."""

    def __init__(self, begin: Callable[[], Part], limit: int) -> None:
        super().__init__()
        self._begin, self._limit = begin, limit
        self._part: Part | None = None
        self._why = ""
        self._guard = threading.Lock()
        self.is_taken = False
        self.size = 0

    def write(self, data: Any, /) -> int:
        """Add a fragment."""
        self.size += len(data)
        with self._guard:
            if not self._why and not self.is_taken:
                try:
                    self._add(data)
                except OSError as error:
                    self._give_up(cause_of(error)[0])
        return len(data)

    def _add(self, data: bytes) -> None:
        if self.size > self._limit:
            self._give_up(f"more than {self._limit} bytes")
        elif self._part is None and self.size <= MEMORY_BYTES:
            super().write(data)
        else:
            if self._part is None:
                self._part = self._move_to_spool()
            self._part.write(data)

    def _move_to_spool(self) -> Part:
        """Move the bytes in memory to the spool."""
        part = self._begin()
        try:
            part.write(self.getvalue())
        except OSError:
            part.discard()
            raise
        self.seek(0)
        self.truncate()
        return part

    def _give_up(self, why: str) -> None:
        self._why = why
        if self._part is not None:
            self._part.discard()
            self._part = None

    def keep(self, spool: Spool, caller: str) -> None:
        """Move the data set to its final place in the spool.

        Raises
        ------
        NotStored
        """
        try:
            spool.keep(self._take(), caller)
        except OSError as error:
            raise NotStored(cause_of(error)[0]) from error

    def _take(self) -> Part:
        with self._guard:
            if self._why or self.is_taken:
                raise NotStored(self._why or "the association has ended")
            part = self._part or self._move_to_spool()
            self.is_taken = True
            return part

    def discard(self) -> None:
        """Delete the partial file, unless the data set was taken by ``keep``."""
        with self._guard:
            if not self.is_taken:
                self.is_taken = True
                self._give_up("the association has ended")


class Provider(DIMSEServiceProvider):
    """Message provider with limits on the memory that a peer can occupy."""

    def __init__(self, assoc: Association, spool: Spool, limit: int) -> None:
        super().__init__(assoc)
        self._spool, self._limit = spool, limit
        self._open: list[Received] = []
        self._guard = threading.Lock()
        self._is_refused = False

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Add fragments to the message that is being received."""
        if self._is_refused:
            return
        if self.message is None:
            self.message = message = DIMSEMessage()
            received = Received(
                lambda: self._spool.begin(_file_head_of(message, self.assoc)), self._limit
            )
            message.data_set = received
            self._open = [each for each in self._open if not each.is_taken]
            self._open.append(received)
        try:
            super().receive_primitive(primitive)
        except Exception:  # noqa: BLE001 - a hostile command may raise anything
            self._refuse()
            return
        current = self.message
        if self.msg_queue.qsize() > MESSAGES or (
            current is not None
            and (
                current.encoded_command_set.tell() > COMMAND_BYTES
                or (self._open[-1].size > MEMORY_BYTES and not isinstance(current, C_STORE_RQ))
            )
        ):
            self._refuse()

    def _refuse(self) -> None:
        """End the association as after an invalid PDU (PS3.8 9.2.3, AA-8)."""
        with self._guard:
            self._is_refused = True
            # After an abort, pynetdicom's state machine has no transition for a pending response.
            self.dul.to_provider_queue.queue.clear()
            self.dul.event_queue.put("Evt19")

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Send a message, unless the association is being ended."""
        with self._guard:
            if not self._is_refused:
                super().send_msg(primitive, context_id)

    def discard(self) -> None:
        """Delete the files of partially received data sets."""
        for received in self._open:
            received.discard()


def _file_head_of(message: DIMSEMessage, assoc: Association) -> bytes:
    """Return preamble and file meta information for the data set of a C-STORE."""
    command = message.command_set
    syntax = next(
        (each.transfer_syntax[0] for each in assoc.accepted_contexts
         if each.context_id == message.context_id), "",
    )  # fmt: skip
    return file_head(
        str(command.get("AffectedSOPClassUID") or ""),
        str(command.get("AffectedSOPInstanceUID") or ""),
        str(syntax),
        assoc.requestor.ae_title.strip(),
    )


def file_head(sop_class: str, sop_instance: str, syntax: str, source: str) -> bytes:
    """Return preamble and file meta information (PS3.10 7.1).

    Encoded directly, so that no value of a peer is refused; non-ASCII characters become ``?``.

    Parameters
    ----------
    sop_class, sop_instance, syntax
        UIDs, as the association and its request state them.
    source
        AE title of the sender of the data set.

    Examples
    --------
    >>> head = file_head("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1", "SCANNER")
    >>> head[128:132], len(head) % 2
    (b'DICM', 0)
    """
    values = [
        (0x0002, "UI", sop_class), (0x0003, "UI", sop_instance), (0x0010, "UI", syntax),
        (0x0012, "UI", PYNETDICOM_IMPLEMENTATION_UID), (0x0013, "SH", "DICOM-WAREHOUSE"),
        (0x0016, "AE", source),
    ]  # fmt: skip
    meta = struct.pack("<HH2sHL", 2, 1, b"OB", 0, 2) + b"\0\1"
    for element, vr, text in values:
        value = text.encode("ascii", "replace")
        value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
        meta += struct.pack("<HH2sH", 2, element, vr.encode(), len(value)) + value
    length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta))
    return bytes(128) + b"DICM" + length + meta
