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
    errno.ENOENT: ("there is no such folder", "create the folder or name another"),
    errno.ENOTDIR: ("a part of its path is a file, not a folder", "name another place"),
    errno.EISDIR: ("it is a folder", "name a file"),
    errno.EACCES: ("permission denied", "correct the permissions or name another place"),
    errno.EPERM: ("permission denied", "correct the permissions or name another place"),
    errno.EROFS: ("the file system is read-only", "name another place"),
    errno.ENAMETOOLONG: ("the name is too long", "name a shorter one"),
    errno.ELOOP: ("its path has a circular link", "correct the link or name another place"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.EIO: ("the disk reports an error", "check the disk"),
}


def cause_of(cause: BaseException) -> tuple[str, str]:
    """Return the meaning of an operating system error, and what to do about it.

    DuckDB and Arrow put the text of the operating system at the end of their message.

    >>> cause_of(OSError(errno.ENOSPC, "No space left on device"))
    ('no space is left on the disk', 'free space')
    """
    number = getattr(cause, "errno", None)
    text = str(cause)
    for code, explanation in _CAUSES.items():
        if code == number or (number is None and os.strerror(code) in text):
            return explanation
    return text.splitlines()[0] if text else type(cause).__name__, "correct that"


class WarehouseError(Exception):
    """Base of everything raised on purpose; safe to show to a user without a traceback."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the message instead of the arguments of the constructor.

        An error of a worker process that cannot be unpickled would be reported as a killed process.
        """
        return _unpickled, (type(self), self.args, self.__dict__)

    def _render_traceback_(self) -> list[str]:
        """Return the message and the calling line, for notebooks.

        Lines of this library are omitted, as the error is raised on purpose.
        """
        return [f"{type(self).__name__}: {self}", *_calling_line(self.__traceback__)]


def _calling_line(traceback: TracebackType | None) -> list[str]:
    """Return the line that called this library, if its source is available."""
    caller = None
    for frame, number in walk_tb(traceback):
        if frame.f_code.co_filename.startswith(_PACKAGE):
            break
        caller = frame.f_code.co_filename, number
    if caller is None:
        return []
    file, number = caller
    where = f"line {number} of {file}" if os.path.exists(file) else f"line {number} of the cell"
    line = linecache.getline(file, number).strip()
    return [f"in {where}: {line}"] if line else []


def _unpickled(
    kind: type[WarehouseError], args: tuple[Any, ...], state: dict[str, Any]
) -> WarehouseError:
    """Reconstruct a pickled error."""
    built_in: Any = kind  # the base that decides the layout, such as MemoryError
    while "__new__" not in vars(built_in):
        built_in = built_in.__base__
    error: WarehouseError = built_in.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


def near(name: str, known: Iterable[str]) -> str:
    """Return a text with the known names similar to ``name``, else with all."""
    known = sorted(known)
    similar = get_close_matches(name.lower(), known)
    if similar:
        return f"similar: {', '.join(similar)}"
    return f"known: {', '.join(known)}" if known else "there is none"
