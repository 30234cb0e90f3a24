"""Check user input: text files (SQL, rules, dictionaries), limits of rows and time, UIDs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors import SourceNotFound, UsageError, cause_of

if TYPE_CHECKING:
    from pathlib import Path


def read_text(source: Path) -> str:
    """Read a UTF-8 text file, without its byte order mark.

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


LONGEST_SECONDS = 2_000_000.0
"""Longest time limit: operating systems wait at most 2^31 milliseconds."""


def require_seconds(name: str, seconds: float) -> None:
    """Raise for a time limit that is not positive, no number, or longer than a system can wait.

    Raises
    ------
    UsageError
    """
    if not 0 < seconds <= LONGEST_SECONDS:
        raise UsageError(
            f"{name} is {seconds:g} seconds; it must be more than 0 and at most "
            f"{LONGEST_SECONDS:,.0f}"
        )


def require_limit(*given: int | None) -> None:
    """Raise for row limits that the engines do not accept.

    Raises
    ------
    UsageError
    """
    for one in given:
        if one is not None and (not isinstance(one, int) or not 0 <= one < 1 << 62):
            raise UsageError("limit and offset must be whole numbers from 0")


def require_names(*given: object) -> None:
    """Raise for anything but ``str`` where a UID or key is expected, such as a list of UIDs.

    Raises
    ------
    UsageError
        An argument is not text.
    """
    for one in given:
        if not isinstance(one, str):
            raise UsageError(
                f"a UID is text, not {type(one).__name__}; for several call it once for each, or "
                "pass them separately: wh.gallery(*uids)"
            )
