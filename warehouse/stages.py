"""Stages of reading a file; if one fails, the reject reason names it.

In: a stage that runs. Out: its name, as an attribute of any exception that it raises.
``warehouse.reading`` handles the exception.
"""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stage(StrEnum):
    """A stage between a file and its rows."""

    READ = "read"
    """Open the file, and parse it with the reference reader (pydicom)."""
    SCAN = "scan"
    """Parse the headers of many files together."""
    DECODE = "decode"
    """Decode value fields."""
    COLUMNS = "columns"
    """Arrange values in rows."""
    INSTANCES = "instances"
    """Derive rows of ``instances``."""
    VENDOR = "vendor"
    """Parse vendor payloads."""
    WRITE = "write"
    """Write Parquet files."""


@contextmanager
def during(stage: Stage) -> Iterator[None]:
    """Attach the stage to an exception that leaves the block, unless it already has a stage."""
    try:
        yield
    except Exception as error:
        if not hasattr(error, "stage"):
            error.stage = stage  # type: ignore[attr-defined]
        raise


def unexpected(stage: str, kind: str) -> str:
    """Return the reason for rejecting a file because of an unexpected exception.

    >>> unexpected(Stage.VENDOR, "KeyError")
    'KeyError in stage vendor: not read, the next ingest tries again'
    """
    return f"{kind} in stage {stage}: not read, the next ingest tries again"


def failure(error: BaseException) -> tuple[str, str]:
    """Return the stage and type of an exception.

    Its message is left out, because libraries quote values of the file.

    >>> try:
    ...     with during(Stage.DECODE):
    ...         int("Doe^Jane")
    ... except ValueError as error:
    ...     failure(error)
    ('decode', 'ValueError')
    """
    return str(getattr(error, "stage", Stage.READ)), type(error).__name__
