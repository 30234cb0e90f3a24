"""Names of the steps between a file and its rows, for what is said when one fails.

In: a step that runs. Out: its name on any exception that leaves it. What becomes of the exception
is decided in ``warehouse.reading``.
"""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stage(StrEnum):
    """A step between a file and its rows."""

    READ = "read"
    """The file is opened; the reference reader parses it, too."""
    SCAN = "scan"
    """Elements are found in many headers at once."""
    DECODE = "decode"
    """Value fields become typed values."""
    COLUMNS = "columns"
    """Values become sorted rows."""
    INSTANCES = "instances"
    """Rows become attributes of instances, and these rows of ``instances``."""
    VENDOR = "vendor"
    """Payloads of vendors become rows."""
    WRITE = "write"
    """Rows become Parquet files."""


@contextmanager
def during(stage: Stage) -> Iterator[None]:
    """Note on an exception in which step it was raised; the innermost step counts."""
    try:
        yield
    except Exception as error:
        if not hasattr(error, "stage"):
            error.stage = stage  # type: ignore[attr-defined]
        raise


def unexpected(stage: str, kind: str) -> str:
    """Return the reason of a file that is rejected for an exception nobody expected.

    >>> unexpected(Stage.VENDOR, "KeyError")
    'KeyError in stage vendor: not read, the next ingest tries again'
    """
    return f"{kind} in stage {stage}: not read, the next ingest tries again"


def failure(error: BaseException) -> tuple[str, str]:
    """Return the step in which an exception was raised, and its kind.

    Its text is left out, because that of a library may quote values of the file.

    >>> try:
    ...     with during(Stage.DECODE):
    ...         int("Doe^Jane")
    ... except ValueError as error:
    ...     failure(error)
    ('decode', 'ValueError')
    """
    return str(getattr(error, "stage", Stage.READ)), type(error).__name__
