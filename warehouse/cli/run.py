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

USAGE_ERRORS = (
    errors.UsageError, errors.SourceNotFound, errors.UnknownTable, errors.NotAWarehouse,
    errors.InstanceNotFound, errors.SeriesNotFound, errors.SchedulerUnreachable,
    errors.WrongMachine,
)  # fmt: skip


def run(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 the work failed, 2 wrong usage."""
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        buckets.publish()
    except CycloptsError as error:
        print(f"error: {error}", file=sys.stderr)
        print("try: dicom-warehouse --help", file=sys.stderr)
        code = 2
    except errors.WarehouseError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2 if isinstance(error, USAGE_ERRORS) else 1
    except KeyboardInterrupt:
        print("stopped; what was committed stays, run it again to go on", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    buckets.close()
    sys.exit(code if isinstance(code, int) else 0)
