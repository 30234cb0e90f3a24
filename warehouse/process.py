"""What the process is told before and while it reads. Nothing here changes a row.

``keep_freed_memory``, ``do_without_pandas`` and ``go_last`` change what other code finds: they are
for processes that belong to this project alone, the command and its workers, and are called by
nothing else.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from warehouse.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, for a process that does nothing but read headers.

    By default large arrays are given back to the system and asked for again, and each page is
    cleared anew: a quarter of the time of reading. Other C libraries than GNU's are left as they
    are. Arrow's arrays come from the same memory then, which makes a worker 40 MiB smaller.
    """
    try:
        tune = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    import pyarrow as pa  # noqa: PLC0415 - go_last is asked without

    for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        tune(parameter, _KEPT_BYTES)
    pa.set_memory_pool(pa.system_memory_pool())


def go_last(nice: int, *, idle: bool = False) -> None:
    """Let other processes go before this one and those that it starts from now on.

    Parameters
    ----------
    nice
        Added to the niceness, 0 to 19.
    idle
        Run only when nobody else wants to; Linux asks the disk for such a process last, too.

    Raises
    ------
    UsageError
        The number has no meaning, or the system has no such class.
    """
    if not 0 <= nice <= 19:
        raise UsageError(f"--nice {nice} has no meaning; choose a number from 0 to 19")
    if nice:
        os.nice(nice)
    if idle:
        if not hasattr(os, "SCHED_IDLE"):
            raise UsageError("--idle needs Linux; use --nice 19 on this system")
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from looking for cycles while rows are made, which makes none.

    Thousands of small objects live as long as a chunk, and each some hundred of them have the
    collector look at others, at last at all that was ever imported: a twentieth of the time of
    reading. Other threads wait for theirs no longer than a chunk takes.
    """
    was_running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_running:
            gc.enable()


class _NoPandas:
    """An import hook that finds no pandas."""

    @staticmethod
    def find_spec(name: str, _path: Sequence[str] | None, _target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)


def do_without_pandas() -> None:
    """Let pyarrow look for pandas now, and find none.

    At the first array that it makes, pyarrow imports pandas where it is installed, to know its
    types when it is given them: a third of a second and 40 MB for each process, and nothing here
    gives it any. It looks once. Who asks for pandas by name gets it as ever.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa  # noqa: PLC0415

    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(_NoPandas)
