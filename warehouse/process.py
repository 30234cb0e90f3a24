"""What a process that belongs to this project alone does before it begins to work.

Nothing here changes a row; called in a notebook it would change what other code finds there. So
it is called by the command and by worker processes, and by nothing that is imported.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        tune(parameter, _KEPT_BYTES)
    pa.set_memory_pool(pa.system_memory_pool())


def keep_what_is_imported() -> None:
    """Spare the garbage collector all that exists now: modules, classes, dictionaries of tags.

    They stay to the end anyway, and there are a hundred thousand of them: each full collection
    takes a fifteenth of a second to find that out, and large batches bring several. Not for a
    process that has loaded DuckDB, which complains at its end of what was not collected.
    """
    gc.freeze()


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
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(_NoPandas)
