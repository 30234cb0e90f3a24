"""Terminal output: progress bar, tables, sizes."""

from __future__ import annotations

import codecs
import io
import os
import shutil
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape

from warehouse import errors
from warehouse.cli.stopping import go_on
from warehouse.escape import escaped
from warehouse.outputs import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

MAX_ROWS = 40
"""Maximum number of rows of a table; the other formats have all."""

_ASCII = str.maketrans(
    "┌┬┐├┼┤└┴┘╭╮╰╯─━╸╺│┃…·→" + "".join(map(chr, range(0x2800, 0x2900))),
    "+++++++++++++----||~.>" + "*" * 0x100,
)
"""Substitutes for the characters of tables and bars, one each, so that columns stay aligned."""

_WIDEST = 24
"""Maximum width of a text column on a terminal, in characters."""


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ASCII)
    return text.encode("ascii", "backslashreplace").decode(), error.end


def any_locale() -> None:
    """Make standard output escape characters that its encoding lacks.

    Lines of tables have ASCII substitutes; other characters are written as Python escapes.
    """
    codecs.register_error("dicom-warehouse", _in_ascii)
    # None if a shell has closed the stream with >&-.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="dicom-warehouse")


class Bar:
    """A progress bar on standard error; disabled if that is not a terminal.

    ``listed``, ``planned`` and ``read`` raise KeyboardInterrupt if the command was stopped.
    """

    def __init__(self, *, enabled: bool) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("files  {task.fields[rate]:,.0f}/s  {task.fields[rejected]} rejected"),
            TimeRemainingColumn(), console=console, transient=True,
            disable=not (enabled and console.is_terminal),
        )  # fmt: skip
        self._task = self._progress.add_task("listing", total=None, rate=0.0, rejected=0)
        self._done = self._rejected = 0
        self._started: float | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Rich 14 prints a newline even for a disabled bar.
        if not self._progress.disable:
            self._progress.stop()

    def listed(self, files: int) -> None:
        """Show the number of files listed so far, until the first are read."""
        go_on()
        if self._started is None:
            self._progress.update(self._task, completed=files)

    def planned(self, files: int) -> None:
        """Set the number of files to read."""
        go_on()
        if self._started is not None:
            self._progress.update(self._task, total=files)
            return
        self._started = time.monotonic()
        self._progress.reset(self._task, total=files, description="reading")

    def read(self, files: int, rejected: int) -> None:
        """Advance by the files read, and count those that were rejected."""
        go_on()
        self._done += files
        self._rejected += rejected
        began = self._started or 0.0
        rate = self._done / max(time.monotonic() - began, 1e-3)
        self._progress.update(self._task, completed=self._done, rate=rate, rejected=self._rejected)


def boxed(relation: duckdb.DuckDBPyRelation) -> str:
    """Draw rows as DuckDB does: the first and last of many, as wide as the terminal."""
    import duckdb

    width = shutil.get_terminal_size((160, 40)).columns if sys.stdout.isatty() else 10_000
    box = io.StringIO()
    try:
        with redirect_stdout(box):
            relation.show(max_width=width, max_rows=MAX_ROWS)
    except duckdb.Error as error:
        raise errors.QueryFailed(str(error)) from error
    return escaped(box.getvalue().rstrip("\n"), keep="\n")


def fitting(relation: duckdb.DuckDBPyRelation) -> tuple[duckdb.DuckDBPyRelation, list[str]]:
    """Select the columns that fit the terminal, in order; return the names of the others, too.

    UIDs and keys are never truncated, so that they can be copied; other text may be. If standard
    output is not a terminal, all columns are selected.
    """
    if not sys.stdout.isatty():
        return relation, []
    rows = relation.limit(MAX_ROWS).project("columns(*)::varchar").fetchall()
    room = shutil.get_terminal_size().columns - 1
    shown: list[str] = []
    left_out: list[str] = []
    for number, (name, kind) in enumerate(zip(relation.columns, relation.types, strict=True)):
        cells = [row[number] or "NULL" for row in rows]
        quoted = '"' + name.replace('"', '""') + '"'
        wide = max(map(cell_len, (name, str(kind), *cells)))
        if wide > _WIDEST and str(kind) == "VARCHAR" and not name.endswith(("UID", "_key")):
            wide = max(_WIDEST, len(name))
            quoted = (
                f"if(len({quoted}) > {wide}, {quoted}[:{wide - 1}] || '…', {quoted}) as {quoted}"
            )
        if wide + 3 <= room or not shown:
            shown.append(quoted)
            room -= wide + 3
        else:
            left_out.append(name)
    return relation.project(", ".join(shown)), left_out


def expanded(relation: duckdb.DuckDBPyRelation) -> str:
    """Draw rows as psql does when expanded: a line per column, a rule before each row."""
    import duckdb

    try:
        rows = relation.limit(MAX_ROWS + 1).project("columns(*)::varchar").fetchall()
    except duckdb.Error as error:
        raise errors.QueryFailed(str(error)) from error
    lines = list(_expanded(relation.columns, rows[:MAX_ROWS]))
    if not rows:
        lines = ["(0 rows)"]
    elif len(rows) > MAX_ROWS:
        lines.append(f"(the first {MAX_ROWS} rows; all of them: --format csv, json or parquet)")
    return "\n".join(lines)


def _expanded(names: list[str], rows: list[tuple[str | None, ...]]) -> Iterator[str]:
    wide = max(map(len, names))
    for number, row in enumerate(rows, 1):
        yield f"-[ RECORD {number} ]".ljust(wide + 1, "-") + "+----"
        for name, cell in zip(names, row, strict=True):
            yield f"{name:{wide}} | {'NULL' if cell is None else escaped(cell)}"


def console() -> Console:
    """Return a console for standard output that wraps lines only on a terminal."""
    return Screen(width=None if sys.stdout.isatty() else 10_000)


class Screen(Console):
    """A console whose reader may close the pipe, as ``head`` does."""

    def on_broken_pipe(self) -> None:
        """Raise, so that the command ends without a message; rich would exit with 1."""
        raise BrokenPipeError


def send_text(text: str, output: Path | None = None, *, force: bool = False) -> None:
    """Write text to standard output or a file, as UTF-8 whatever the locale."""
    content = text.encode("utf-8", "surrogateescape")
    if output:
        write_bytes(content, output, force=force)
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def say(text: str) -> None:
    """Print a note on standard error, unless it is empty."""
    if text:
        print(text, file=sys.stderr)


def printed(cell: object) -> str:
    """Return the text of a value, with control characters and console markup escaped."""
    return escape(escaped(cell))


def printable(cell: object) -> str:
    """Return the text of a value on one line, truncated to 60 characters."""
    text = escaped(" ".join(str(cell).split()))
    return text if len(text) <= 60 else text[:59] + "…"


def size_text(count: float) -> str:
    """Format a number of bytes with a binary unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
