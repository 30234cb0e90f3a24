"""Close stalled connections: of a client that does not read, or does not finish its header.

In: uvicorn's protocol. Out: the same, with two bounds of time. What has begun to be sent goes on as
long as the peer takes something of it; a header has to be whole some time after its first byte. It
has so many bytes at most: it is held in memory before anybody was asked for a token.
Bodies that stand still are the business of ``door``.
"""

from __future__ import annotations

import contextlib
import fcntl
import sys
import termios
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from asyncio.events import TimerHandle


HEAD_BYTES = 1 << 17
"""Of request line and header: a query alone may have a quarter of it."""
_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)


def bounded(seconds: float) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol with timeouts for stalled clients."""

    class Bounded(_Bounded):
        _seconds = seconds

    return Bounded


class _Bounded(HttpToolsProtocol):
    """A connection of one peer."""

    _seconds: float

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._reading: TimerHandle | None = None
        self._heading: TimerHandle | None = None
        self._is_head = False
        self._head_bytes = 0

    # -- answers that nobody reads ----------------------------------------------------------------

    def pause_writing(self) -> None:
        """Begin to look whether the peer takes what waits for it."""
        super().pause_writing()
        self._look(self._waiting())

    def resume_writing(self) -> None:
        """Stop that."""
        super().resume_writing()
        _cancel(self._reading)

    def _waiting(self) -> int:
        """Return how many bytes the peer has not taken: here, and in the system."""
        waiting = self.transport.get_write_buffer_size()
        connection = self.transport.get_extra_info("socket")
        # With a slow peer, the kernel accepts more only when a third of its buffer is free.
        with contextlib.suppress(OSError, AttributeError):
            queued = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
            waiting += int.from_bytes(queued, sys.byteorder)
        return waiting

    def _look(self, waiting: int) -> None:
        self._reading = self.loop.call_later(self._seconds, self._taken, waiting)

    def _taken(self, before: int) -> None:
        waiting = self._waiting()
        if waiting >= before:
            # Closing would wait until the buffer is sent.
            self.transport.abort()
        else:
            self._look(waiting)

    # -- headers that do not end ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request."""
        super().connection_made(transport)
        self._heading = self.loop.call_later(self._seconds, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Take some bytes; of a second request the first ones begin its time."""
        super().data_received(data)
        if self._is_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.transport.write(_TOO_LONG)
                self.transport.close()
        is_idle = self.cycle is not None and self.cycle.response_complete
        if is_idle and self._heading is None and not self.transport.is_closing():
            self._heading = self.loop.call_later(self._seconds, self.transport.abort)

    def on_message_begin(self) -> None:
        """Begin to count, also behind a request that is being answered."""
        self._is_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Hand the request on."""
        _cancel(self._heading)
        self._heading, self._is_head = None, False
        super().on_headers_complete()

    # -- the end of the server --------------------------------------------------------------------

    def shutdown(self) -> None:
        """End at once where nothing is asked for and everything was taken."""
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and not self._waiting():
            # Closing a TLS connection would wait for the answer of a peer that does not read.
            self.transport.abort()
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the peer."""
        _cancel(self._heading)
        _cancel(self._reading)
        super().connection_lost(exc)


def _cancel(timer: TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
