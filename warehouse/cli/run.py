"""Every command together, and how each way of failing ends."""

from __future__ import annotations

import os
import sys

from cyclopts import CycloptsError

from warehouse import errors
from warehouse.cli import (  # noqa: F401 - each adds its commands
    ask,
    batch,
    buckets,
    cohort,
    headers,
    intake,
    sequence_rules,
    store,
    volume,
)
from warehouse.cli.app import app
from warehouse.cli.stopping import received, say

USAGE_ERRORS = (
    errors.UsageError, errors.SourceNotFound, errors.UnknownTable, errors.NotAWarehouse,
    errors.InstanceNotFound, errors.SeriesNotFound, errors.SchedulerUnreachable,
    errors.WrongMachine,
)  # fmt: skip


def run(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 the work failed, 2 wrong usage, 130 and 143 stopped."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        buckets.publish()
    except KeyboardInterrupt as stop:
        code = say(stop)
    except Exception as error:
        # A library may turn the interrupt into an error of its own.
        code = _said_of(error) if received() is None else say(error)
        if code is None:
            raise
    buckets.close()
    sys.exit(code if isinstance(code, int) else 0)


def _said_of(error: Exception) -> int | None:
    """Say what went wrong and return the exit code; None if it is nobody's to be said."""
    match error:
        case CycloptsError():
            print(f"error: {error}", file=sys.stderr)
            print("try: dicom-warehouse --help", file=sys.stderr)
            return 2
        case errors.WarehouseError():
            print(f"error: {error}", file=sys.stderr)
            return 2 if isinstance(error, USAGE_ERRORS) else 1
        case BrokenPipeError():
            # The reader of our output has gone, as `head` does; nothing is left to say to it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
    return None
