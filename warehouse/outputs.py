"""Write output files atomically, without replacing an existing file.

In: a path from a user. Out: a draft in the same folder, which is renamed when it is complete.
With ``force`` an existing file is replaced; a folder, device or pipe is never replaced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import uuid
from pathlib import Path
from typing import IO, TYPE_CHECKING

from warehouse.errors import ExportFailed, TargetExists, UsageError, cause_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REPLACE = "name another, or replace it: --force (in Python force=True)"

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Errors of file systems without hard links, such as exFAT."""

_SPREADSHEETS = {".xlsx", ".xls", ".ods"}


def refuse_existing(target: Path, *, force: bool = False) -> None:
    """Check that a file or folder can be created, before any work is done.

    Parameters
    ----------
    target
        File or folder to write.
    force
        Accept an existing file, which will be replaced.

    Raises
    ------
    TargetExists, UsageError
    """
    try:
        found = os.lstat(target)
    except FileNotFoundError:
        _require_folder(target)
        return
    except OSError as error:
        raise _unwritable(target, error) from None
    if stat.S_ISLNK(found.st_mode) and target.exists():
        found = target.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise TargetExists(target, f"it is {what}, which is never replaced; name another")
    if not force:
        raise TargetExists(target, REPLACE)
    _require_folder(Path(os.path.realpath(target)))


def _require_folder(target: Path) -> None:
    try:
        if not stat.S_ISDIR(os.stat(target.parent).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "")
    except FileNotFoundError:
        raise UsageError(f"there is no folder {target.parent}; create it or name another") from None
    except OSError as error:
        raise _unwritable(target, error) from None
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise _unwritable(target, PermissionError(errno.EACCES, ""))


def _unwritable(target: Path, error: OSError) -> UsageError:
    wrong, advice = cause_of(error)
    return UsageError(f"{target} cannot be written: {wrong}; {advice}")


def is_stream(target: Path) -> bool:
    """Return whether a path is a device, pipe or socket, such as /dev/stdout."""
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


@contextlib.contextmanager
def stream_to(target: Path) -> Iterator[IO[bytes]]:
    """Open a device or pipe for writing.

    Raises
    ------
    ExportFailed
    """
    try:
        with target.open("wb") as out:
            yield out
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ExportFailed(str(target), cause_of(error)[0]) from error


def _unwritten() -> tuple[type[Exception], ...]:
    """Return the exceptions of the engines that write files; called only after one was raised."""
    import duckdb  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    return OSError, duckdb.IOException, duckdb.OutOfMemoryException, pa.ArrowException


@contextlib.contextmanager
def draft_of(target: Path) -> Iterator[Path]:
    """Return the path of a draft in the folder of a target; it is deleted on any failure.

    Raises
    ------
    ExportFailed
    """
    # Resolve links, as the target is replaced. The temporary name is always short.
    draft = Path(os.path.realpath(target)).with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield draft
    except (TargetExists, ExportFailed):
        raise
    except _unwritten() as error:
        raise ExportFailed(str(target), cause_of(error)[0]) from error
    finally:
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


def place(draft: Path, target: Path, *, force: bool = False) -> None:
    """Rename a complete draft to its target.

    Raises
    ------
    TargetExists
        The target exists, and ``force`` is false.
    """
    if force:
        refuse_existing(target, force=True)
        draft.replace(os.path.realpath(target))
        return
    try:
        try:
            os.link(draft, target)  # unlike a rename, never replaces a file
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            # O_EXCL claims the name; the claimed empty file may then be replaced.
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            draft.replace(target)
    except FileExistsError:
        raise TargetExists(target, REPLACE) from None


def write_bytes(content: bytes, target: Path, *, force: bool = False) -> None:
    """Write bytes to a file, device or pipe.

    Raises
    ------
    TargetExists, UsageError, ExportFailed
    """
    if is_stream(target):
        with stream_to(target) as out:
            out.write(content)
        return
    refuse_existing(target, force=force)
    with draft_of(target) as draft:
        draft.write_bytes(content)
        place(draft, target, force=force)


def format_of(target: Path, asked: str | None, suffixes: Mapping[str, str]) -> str:
    """Return the format of an output file: by its suffix, or as requested.

    Parameters
    ----------
    target
        File to be written.
    asked
        Requested format, if any; it is used if the suffix is unknown.
    suffixes
        Suffix, such as ``.csv``, to format.

    Raises
    ------
    UsageError
        The suffix contradicts the requested format, or there is neither.

    Examples
    --------
    >>> format_of(Path("a.CSV"), None, {".csv": "csv"})
    'csv'
    """
    suffix = target.suffix.lower()
    if suffix in _SPREADSHEETS:
        raise UsageError(
            f"{target}: spreadsheet files are not written, as they limit rows and text; name a "
            ".csv, which Excel and LibreOffice open"
        )
    form = suffixes.get(suffix)
    if form and asked and form != asked:
        raise UsageError(
            f"{target} would contain {asked}, but its suffix is that of {form}; use another name "
            "or leave out --format"
        )
    if form or asked:
        return str(form or asked)
    raise UsageError(
        f"{target}: the name does not give a format; end it in {_listed(suffixes)}, or use --format"
    )


def require_suffix(target: Path, *suffixes: str) -> None:
    """Check that the name of a file ends in one of these suffixes.

    Raises
    ------
    UsageError
    """
    if not target.name.lower().endswith(suffixes):
        raise UsageError(f"{target}: its name must end in {_listed(suffixes)}")


def _listed(words: Mapping[str, str] | tuple[str, ...]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
