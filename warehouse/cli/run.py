"""Entry point: run a command, and turn failures into messages and exit codes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from cyclopts import CycloptsError
from cyclopts.exceptions import UnusedCliTokensError

from warehouse import errors
from warehouse.cli.app import app, close_all, opened_roots
from warehouse.cli.screen import Screen, any_locale
from warehouse.cli.stopping import received, say
from warehouse.escape import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

USAGE_ERRORS = (
    errors.UsageError, errors.SourceNotFound, errors.UnknownTable, errors.NotAWarehouse,
    errors.InstanceNotFound, errors.SeriesNotFound, errors.SchedulerUnreachable,
    errors.WrongMachine,
)  # fmt: skip


def run(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 the work failed, 2 wrong usage, 130 and 143 stopped."""
    any_locale()
    try:
        _list_commands(sys.argv[1:] if arguments is None else arguments)
        code = app(
            arguments, console=Screen(), exit_on_error=False, print_error=False,
            result_action="return_value",
        )  # fmt: skip
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        code = say(stop)
    except Exception as error:
        # A library may turn the interrupt into an error of its own.
        code = _report_error(error) if received() is None else say(error)
        if code is None:
            raise
    close_all()
    sys.exit(code if isinstance(code, int) else 0)


def _list_commands(arguments: list[str]) -> None:
    """Import all commands if the help lists them, with their docstrings."""
    named = arguments[0] if arguments else ""
    if named not in app or named in app.help_flags:
        app.resolved_commands()


def _report_error(error: Exception) -> int | None:
    """Print an error and return the exit code; None for unexpected errors."""
    match error:
        case CycloptsError():
            print(f"error: {escaped(_message_of_extra_arguments(error) or error)}", file=sys.stderr)
            command = " ".join(("dicom-warehouse", *_known(error.command_chain or ())))
            print(f"try: {command} --help", file=sys.stderr)
            return 2
        case errors.WarehouseError() if not isinstance(error, errors.QueryFailed):
            print(f"error: {escaped(error)}", file=sys.stderr)
            return 2 if isinstance(error, USAGE_ERRORS) else 1
        case BrokenPipeError():
            # The reader of standard output, such as `head`, has closed it.
            _silence()
            return 0
        case OSError():
            # A file named by the caller, or a disk: a bad source file would be a row.
            where = error.filename or "standard output"
            print(f"error: {escaped(where)}: {errors.cause_of(error)[0]}", file=sys.stderr)
            _silence()
            return 1
    return _report_engine_error(error)


def _message_of_extra_arguments(error: CycloptsError) -> str:
    """Return the message for too many arguments, most often an unquoted query; else empty."""
    # Its subclasses, for unknown commands and options, have better messages of their own.
    words = error.unused_tokens if type(error) is UnusedCliTokensError else None
    if not words:
        return ""
    return f"too many arguments: {' '.join(words)}; put quotes around text with spaces"


def _report_engine_error(error: Exception) -> int | None:
    """Print an engine's error, or which part of a warehouse is damaged if that is the cause.

    Returns
    -------
    int or None
        None if it is not an error of an engine.
    """
    from warehouse.store.damage import explained, failures

    if not isinstance(error, failures()):
        return None
    damage = next(filter(None, (explained(root, error) for root in opened_roots())), None)
    # DuckDB marks the wrong word on a line below it.
    print(escaped(f"error: {damage or error}", keep="\n"), file=sys.stderr)
    return 1


def _silence() -> None:
    """Redirect standard output to /dev/null, so that the final flush cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _known(chain: Iterable[str]) -> Iterator[str]:
    """Yield the words of a command line that are names of commands."""
    group = app
    for word in chain:
        if word.startswith("-") or word not in group:
            return
        group = group[word]
        yield word
