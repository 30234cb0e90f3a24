"""Every command together, and how each way of failing ends."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from cyclopts import CycloptsError

from warehouse import errors
from warehouse.cli import (  # noqa: F401 - each adds its commands
    ask,
    batch,
    buckets,
    cohort,
    headers,
    intake,
    select,
    sequence_rules,
    store,
    volume,
)
from warehouse.cli.app import app
from warehouse.cli.screen import Screen, any_locale

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

USAGE_ERRORS = (
    errors.UsageError, errors.SourceNotFound, errors.UnknownTable, errors.NotAWarehouse,
    errors.InstanceNotFound, errors.SeriesNotFound, errors.SchedulerUnreachable,
    errors.WrongMachine,
)  # fmt: skip


def run(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 the work failed, 2 wrong usage."""
    any_locale()
    try:
        code = app(
            arguments, console=Screen(), exit_on_error=False, print_error=False,
            result_action="return_value",
        )  # fmt: skip
        buckets.publish()
        sys.stdout.flush()
    except CycloptsError as error:
        print(f"error: {error}", file=sys.stderr)
        asked = " ".join(("dicom-warehouse", *_known(error.command_chain or ())))
        print(f"try: {asked} --help", file=sys.stderr)
        code = 2
    except errors.WarehouseError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2 if isinstance(error, USAGE_ERRORS) else 1
    except KeyboardInterrupt:
        print("stopped; what was committed stays, run it again to go on", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; nothing is left to say to it.
        _silence()
        code = 0
    except OSError as error:
        where = error.filename or "standard output"
        print(f"error: {where}: {errors.cause_of(error)[0]}", file=sys.stderr)
        _silence()
        code = 1
    buckets.close()
    sys.exit(code if isinstance(code, int) else 0)


def _silence() -> None:
    """Let nothing more be written to standard output, not even at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _known(chain: Iterable[str]) -> Iterator[str]:
    """Yield the words of a command line that name a command."""
    group = app
    for word in chain:
        if word.startswith("-") or word not in group:
            return
        group = group[word]
        yield word
