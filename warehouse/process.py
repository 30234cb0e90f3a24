"""Process-wide tuning for reading: memory, garbage collector, scheduling. Nothing changes a row.

``keep_freed_memory``, ``do_without_pandas`` and ``go_last`` affect all other code of the process:
only the command and its workers call them, never a library function.
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
    """Let malloc keep freed memory, for a process that does nothing but read headers.

    By default large arrays are returned to the system and mapped again, and zeroing their pages
    takes a quarter of the reading time. Only glibc has the setting. Arrow uses malloc, too,
    afterwards, which makes a worker 40 MiB smaller.
    """
    try:
        tune = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    import pyarrow as pa  # noqa: PLC0415 - go_last needs no pyarrow

    for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        tune(parameter, _KEPT_BYTES)
    pa.set_memory_pool(pa.system_memory_pool())


def go_last(nice: int, *, idle: bool = False) -> None:
    """Lower the scheduling priority of this process and of those that it starts afterwards.

    Parameters
    ----------
    nice
        Added to the niceness, 0 to 19.
    idle
        Use the scheduling class ``SCHED_IDLE``; Linux gives it the lowest I/O priority, too.

    Raises
    ------
    UsageError
        The number is out of range, or the system has no such class.
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
    """Disable the cyclic garbage collector while rows are made, which creates no cycles.

    Thousands of small objects live as long as a chunk and trigger collections; each full collection
    scans every imported object, 5 % of the reading time. Cycles of other threads are collected when
    the chunk is done.
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
    """Keep pyarrow from importing pandas in this process.

    With its first array pyarrow imports pandas, if installed, to recognize pandas objects: a third
    of a second and 40 MB in each process, and nothing here passes it any. It tries only once, so
    the import fails once here. ``import pandas`` works as before.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa  # noqa: PLC0415

    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(_NoPandas)
