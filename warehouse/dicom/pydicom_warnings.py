"""Handle pydicom's warnings, and errors that hide the real one.

In: a call of pydicom. Out: its warnings, returned to the reader and kept out of logs.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Keep pydicom's warnings, which quote values, out of logs; collect them for the caller."""
    logger = logging.getLogger("pydicom")
    messages: list[str] = []
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield messages
            messages += [str(warning.message) for warning in caught]
    finally:
        logger.disabled = before


@contextmanager
def unheard() -> Iterator[None]:
    """Drop pydicom's warnings, which quote values, where a file is read that was ingested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def was_too_deep(error: BaseException) -> bool:
    """Return whether an error hides a RecursionError, as pydicom's OSError may."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RecursionError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def reports_truncation(messages: list[str]) -> bool:
    """Return whether a warning says that a value field is truncated."""
    return any(
        "nd of file reached before" in text or "Unexpected end of file" in text for text in messages
    )
