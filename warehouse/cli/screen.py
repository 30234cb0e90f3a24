"""What people see on a terminal: progress, tables, sizes."""

from __future__ import annotations

import io
import shutil
import sys
import time
from contextlib import redirect_stdout
from typing import Self

import duckdb
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from warehouse import errors


class Bar:
    """A live bar on standard error; silent when that is no terminal."""

    def __init__(self, *, enabled: bool) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("files  {task.fields[rate]:,.0f}/s  {task.fields[rejected]} rejected"),
            TimeRemainingColumn(), console=console, transient=True,
            disable=not (enabled and console.is_terminal),
        )  # fmt: skip
        self._task = self._progress.add_task("listing", total=None, rate=0.0, rejected=0)
        self._done = self._rejected = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def listed(self, files: int) -> None:
        """Show how many files were found so far."""
        self._progress.update(self._task, completed=files)

    def planned(self, files: int) -> None:
        """Begin to read so many files."""
        self._started = time.monotonic()
        self._progress.reset(self._task, total=files, description="reading")

    def read(self, files: int, rejected: int) -> None:
        """Go on by these files, of which so many were rejected."""
        self._done += files
        self._rejected += rejected
        rate = self._done / max(time.monotonic() - self._started, 1e-3)
        self._progress.update(self._task, completed=self._done, rate=rate, rejected=self._rejected)


def boxed(relation: duckdb.DuckDBPyRelation) -> str:
    """Draw rows as DuckDB does: the first and last of many, as wide as the terminal."""
    width = shutil.get_terminal_size((160, 40)).columns if sys.stdout.isatty() else 10_000
    box = io.StringIO()
    try:
        with redirect_stdout(box):
            relation.show(max_width=width, max_rows=40)
    except duckdb.Error as error:
        raise errors.QueryFailed(str(error)) from error
    return box.getvalue().rstrip("\n")


def console() -> Console:
    """Return standard output; off a terminal nothing is wrapped, so that programs can read it."""
    return Console(width=None if sys.stdout.isatty() else 10_000)


def printable(cell: object) -> str:
    """Return a value on one line, cut after 60 characters."""
    text = " ".join(str(cell).split())
    return text if len(text) <= 60 else text[:59] + "…"


def size_text(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
