"""Text that a user wrote into a file: SQL, rules, dictionaries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors import SourceNotFound, UsageError, cause_of

if TYPE_CHECKING:
    from pathlib import Path


def read_text(source: Path) -> str:
    """Return the text of a UTF-8 file, without its byte order mark.

    Raises
    ------
    SourceNotFound, UsageError
    """
    try:
        return source.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SourceNotFound(str(source)) from None
    except UnicodeError:
        raise UsageError(
            f"{source} cannot be read: it is not UTF-8 text; save it as UTF-8"
        ) from None
    except OSError as error:
        wrong, advice = cause_of(error)
        raise UsageError(f"{source} cannot be read: {wrong}; {advice}") from None
