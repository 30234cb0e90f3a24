"""Every command together, and how each way of failing ends."""

from __future__ import annotations

import os
import sys

import duckdb
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
from warehouse.cli.app import DEFAULT_WAREHOUSE, app
from warehouse.store.damage import explained

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
    except (errors.QueryFailed, duckdb.Error) as error:
        print(f"error: {_damage(arguments, error) or error}", file=sys.stderr)
        code = 1
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
    except OSError as error:
        # A file that the caller named, or a disk: no fault of a source, which would be a row.
        named = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror or type(error).__name__}{named}", file=sys.stderr)
        code = 1
    buckets.close()
    sys.exit(code if isinstance(code, int) else 0)


def _damage(arguments: list[str] | None, error: Exception) -> errors.StoreDamaged | None:
    """Return what is damaged in the warehouse of a command, if that made an engine fail."""
    _, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    return explained(bound.arguments.get("warehouse", DEFAULT_WAREHOUSE), error)
