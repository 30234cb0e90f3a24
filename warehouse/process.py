"""Process-wide tuning for reading: memory, garbage collector, scheduling. No result changes.

``keep_freed_memory``, ``do_without_pandas``, ``do_without_requests`` and ``go_last`` affect all
other code in the process, so only the command line and its workers call them, never a library
function.
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
    """Make malloc keep freed memory, in a process that only reads headers.

    By default malloc returns the memory of large arrays to the system and maps it again; zeroing
    these pages takes a quarter of the reading time. Only glibc has this setting. Arrow is switched
    to malloc, too, which makes a worker 40 MiB smaller.
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
    """Lower the scheduling priority of this process and of processes that it starts later.

    Parameters
    ----------
    nice
        Added to the niceness, 0 to 19.
    idle
        Use the scheduling class ``SCHED_IDLE``, to which Linux also gives the lowest I/O priority.

    Raises
    ------
    UsageError
        ``nice`` is out of range, or the system has no such scheduling class.
    """
    if not 0 <= nice <= 19:
        raise UsageError(f"--nice {nice} is out of range; choose a number from 0 to 19")
    if nice:
        os.nice(nice)
    if idle:
        if not hasattr(os, "SCHED_IDLE"):
            raise UsageError("--idle needs Linux; use --nice 19 on this system")
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


@contextmanager
def collector_paused() -> Iterator[None]:
    """Disable the cyclic garbage collector while rows are created, which creates no cycles.

    Thousands of small objects live as long as a chunk and trigger collections. Each full collection
    scans every imported object, which takes 5 % of the reading time. Cycles created by other
    threads are collected when the chunk is done.
    """
    was_running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_running:
            gc.enable()


class _NoPandas:
    """An import hook that makes ``import pandas`` fail."""

    @staticmethod
    def find_spec(name: str, _path: Sequence[str] | None, _target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name, name=name)


def do_without_pandas() -> None:
    """Keep pyarrow from importing pandas in this process.

    When it creates its first array, pyarrow imports pandas, if installed, to recognize pandas
    objects. This costs a third of a second and 40 MB in each process, and this package passes it no
    pandas objects. pyarrow tries the import only once, so it is made to fail once here; afterwards
    ``import pandas`` works as before.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa  # noqa: PLC0415

    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(_NoPandas)


class _NoRequests:
    """An import hook that makes ``import requests`` fail while pydicom's downloader is imported."""

    @staticmethod
    def find_spec(name: str, _path: Sequence[str] | None, _target: object = None) -> None:
        if name == "requests":
            downloader = sys.modules.get("pydicom.data.download")
            # pydicom sets this constant according to whether it could import requests.
            if downloader is not None and not hasattr(downloader, "HAVE_REQUESTS"):
                raise ModuleNotFoundError(name, name=name)


def do_without_requests() -> None:
    """Keep pydicom from importing requests in this process.

    ``import pydicom`` imports its downloader of test files, which imports requests, if installed.
    This costs a tenth of a second in each process, and without it the downloader uses urllib. Every
    other ``import requests`` works.
    """
    if _NoRequests not in sys.meta_path:
        sys.meta_path.insert(0, _NoRequests)
