"""Keep the last lines of the output of an algorithm.

In: bytes as they come. Out: the last 500 lines. NUL is removed and lines are cut, so that nothing
that is printed costs more than a log may.
"""

from __future__ import annotations

import io
from collections import deque

LINES = 500
LINE_BYTES = 4096


class Tail(io.TextIOBase):
    r"""Keeps the last lines of what is written to it, as text or bytes.

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
        """Take what was printed next."""
        whole, newline, rest = block.rpartition(b"\n")
        if not newline:
            # Of a line without an end, no more is kept than a line may have.
            self._rest = (self._rest + rest)[:LINE_BYTES]
            return
        first, *others = (self._rest + whole).split(b"\n")
        self._lines.append(first[:LINE_BYTES])
        self._lines.extend(line[:LINE_BYTES] for line in others[-LINES:])
        self._rest = rest[:LINE_BYTES]

    def clear(self) -> None:
        """Forget what was printed."""
        self._lines.clear()
        self._rest = b""

    def write(self, text: str) -> int:
        """Take text, as a stream of Python."""
        self.feed(text.encode("utf-8", "replace"))
        return len(text)

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def text(self) -> str:
        """Return the last lines."""
        lines = [*self._lines, *([self._rest] if self._rest else [])]
        return b"\n".join(lines[-LINES:]).replace(b"\0", b"").decode("utf-8", "replace")


def last_line(text: str) -> str:
    r"""Return the last line that is not empty.

    >>> last_line("a\nb\n\n")
    'b'
    """
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
