"""Close stalled connections: clients that stop reading, or do not finish a request header.

In: uvicorn's protocol. Out: a subclass with two timeouts. A response continues while the client
reads any of it; a header must be complete within the timeout after the connection, or after the
first byte of a later request. The size of a header is limited, because it is held in memory before
authentication. ``door`` handles stalled request bodies.
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
"""Most bytes of request line and header; ``door`` allows a query a quarter of it."""
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
    """An HTTP connection with timeouts."""

    _seconds: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._write_timer: TimerHandle | None = None
        self._header_timer: TimerHandle | None = None
        self._in_header = False
        self._header_bytes = 0

    # -- responses that are not read ---------------------------------------------------------------

    def pause_writing(self) -> None:
        """Start to check whether the peer reads the pending bytes."""
        super().pause_writing()
        self._check_later(self._pending_bytes())

    def resume_writing(self) -> None:
        """Stop checking."""
        super().resume_writing()
        _cancel(self._write_timer)

    def _pending_bytes(self) -> int:
        """Return the number of pending bytes, in the transport and in the kernel."""
        waiting = self.transport.get_write_buffer_size()
        connection = self.transport.get_extra_info("socket")
        # With a slow peer, the kernel accepts more only when a third of its buffer is free.
        with contextlib.suppress(OSError, AttributeError):
            queued = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
            waiting += int.from_bytes(queued, sys.byteorder)
        return waiting

    def _check_later(self, waiting: int) -> None:
        self._write_timer = self.loop.call_later(self._seconds, self._abort_if_stalled, waiting)

    def _abort_if_stalled(self, before: int) -> None:
        waiting = self._pending_bytes()
        if waiting >= before:
            # Closing would wait until the buffer is sent.
            self.transport.abort()
        else:
            self._check_later(waiting)

    # -- incomplete headers ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timeout of the first header."""
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(self._seconds, transport.abort)

    def data_received(self, data: bytes) -> None:
        """Parse bytes, limit the size of a header, and start the timeout of a later one."""
        super().data_received(data)
        if self._in_header and not self.transport.is_closing():
            self._header_bytes += len(data)
            if self._header_bytes > HEAD_BYTES:
                self.transport.write(_TOO_LONG)
                self.transport.close()
        is_idle = self.cycle is not None and self.cycle.response_complete
        if is_idle and self._header_timer is None and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(self._seconds, self.transport.abort)

    def on_message_begin(self) -> None:
        """Start to count the bytes of a header, also of a pipelined request."""
        self._in_header, self._header_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop the timeout and pass the request to the application."""
        _cancel(self._header_timer)
        self._header_timer, self._in_header = None, False
        super().on_headers_complete()

    # -- shutdown ---------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Close an idle connection at once; others end with their response."""
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and not self._pending_bytes():
            # Closing a TLS connection would wait for a peer that does not read.
            self.transport.abort()
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        _cancel(self._header_timer)
        _cancel(self._write_timer)
        super().connection_lost(exc)


def _cancel(timer: TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
