"""Keep the last lines of the output of an algorithm.

In: blocks of bytes. Out: the last 500 lines. NUL is removed and lines are truncated, so that the
size of a log is bounded.
"""

from __future__ import annotations

import io
from collections import deque

LINES = 500
"""Maximum number of lines of a log."""

LINE_BYTES = 4096
"""Maximum size of a line in bytes; the rest is dropped."""


class Tail(io.TextIOBase):
    r"""A text stream that keeps the last lines written to it.

    Examples
    --------
    >>> tail = Tail()
    >>> tail.feed(b"one" + bytes(1) + b"\ntwo")
    >>> tail.text()
    'one\ntwo'
    """

    def __init__(self, lines: int = LINES) -> None:
        self._lines: deque[bytes] = deque(maxlen=lines)
        self._rest = b""

    def feed(self, block: bytes) -> None:
        """Append a block of output."""
        complete, newline, rest = block.rpartition(b"\n")
        if not newline:
            # An unterminated line is truncated like any other.
            self._rest = (self._rest + rest)[:LINE_BYTES]
            return
        first, *others = (self._rest + complete).split(b"\n")
        self._lines.append(first[:LINE_BYTES])
        self._lines.extend(line[:LINE_BYTES] for line in others[-LINES:])
        self._rest = rest[:LINE_BYTES]

    def clear(self) -> None:
        """Remove all lines."""
        self._lines.clear()
        self._rest = b""

    def write(self, text: str) -> int:
        """Append text; return its length."""
        self.feed(text.encode("utf-8", "replace"))
        return len(text)

    def writable(self) -> bool:
        """Return True."""
        return True

    def text(self) -> str:
        """Return the last lines as text."""
        lines = [*self._lines, *([self._rest] if self._rest else [])]
        return b"\n".join(lines[-LINES:]).replace(b"\0", b"").decode("utf-8", "replace")


def last_line(text: str) -> str:
    r"""Return the last line that is not empty.

    >>> last_line("a\nb\n\n")
    'b'
    """
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
