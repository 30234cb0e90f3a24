"""``WarehouseError``, the base class of all errors, and explanations of operating system errors."""

from __future__ import annotations

import errno
import linecache
import os
from difflib import get_close_matches
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")

_CAUSES = {
    errno.ENOSPC: ("no space is left on the disk", "free space"),
    errno.EDQUOT: ("the disk quota is used up", "free space"),
    errno.ENOENT: ("there is no such folder", "make the folder or name another"),
    errno.ENOTDIR: ("a part of its path is a file, not a folder", "name another place"),
    errno.EISDIR: ("it is a folder", "name a file"),
    errno.EACCES: ("permission denied", "mend the permissions or name another place"),
    errno.EPERM: ("permission denied", "mend the permissions or name another place"),
    errno.EROFS: ("the file system is read-only", "name another place"),
    errno.ENAMETOOLONG: ("the name is too long", "name a shorter one"),
    errno.ELOOP: ("a link of its path leads to itself", "mend the link or name another place"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.EIO: ("the disk reports an error", "check the disk"),
}


def cause_of(cause: BaseException) -> tuple[str, str]:
    """Return the meaning of an operating system error, and what to do about it.

    DuckDB and Arrow tell it in the words of the operating system, at the end of a message.

    >>> cause_of(OSError(errno.ENOSPC, "No space left on device"))
    ('no space is left on the disk', 'free space')
    """
    found = getattr(cause, "errno", None)
    text = str(cause)
    for code, explanation in _CAUSES.items():
        if code == found or (found is None and os.strerror(code) in text):
            return explanation
    return text.splitlines()[0] if text else type(cause).__name__, "mend that"


class WarehouseError(Exception):
    """Base of everything raised on purpose; safe to show to a user without a traceback."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the message instead of the arguments of the constructor.

        An error that cannot be unpickled is taken for a worker process that was killed.
        """
        return _remade, (type(self), self.args, self.__dict__)

    def _render_traceback_(self) -> list[str]:
        """Return the message and the calling line, for notebooks.

        Where in this library it was found helps nobody: the error is raised on purpose.
        """
        return [f"{type(self).__name__}: {self}", *_asked_at(self.__traceback__)]


def _asked_at(traceback: TracebackType | None) -> list[str]:
    """Return the line that called this library, if its source is available."""
    asked = None
    for frame, number in walk_tb(traceback):
        if frame.f_code.co_filename.startswith(_PACKAGE):
            break
        asked = frame.f_code.co_filename, number
    if asked is None:
        return []
    file, number = asked
    where = f"line {number} of {file}" if os.path.exists(file) else f"line {number} of the cell"
    line = linecache.getline(file, number).strip()
    return [f"in {where}: {line}"] if line else []


def _remade(
    kind: type[WarehouseError], args: tuple[Any, ...], state: dict[str, Any]
) -> WarehouseError:
    """Reconstruct a pickled error."""
    made = kind.__new__(kind)
    made.args = args
    made.__dict__.update(state)
    return made


def near(name: str, known: Iterable[str]) -> str:
    """Return the names similar to one, else all names."""
    known = sorted(known)
    similar = get_close_matches(name.lower(), known)
    if similar:
        return f"similar: {', '.join(similar)}"
    return f"known: {', '.join(known)}" if known else "there is none"
