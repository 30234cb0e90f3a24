"""Describe how a process ended, as text for messages.

In: an exit code or signal, and the kernel's counter of out-of-memory kills. Out: a phrase that
completes a sentence.
"""

from __future__ import annotations

import signal
from contextlib import suppress

_OUT_OF_MEMORY = "oom_kill "
"""The line of a cgroup's ``memory.events`` and of ``/proc/vmstat`` that counts killed processes."""


def how_it_ended(code: int | None, *, is_for_memory: bool = False) -> str:
    """Return how a process ended, as a phrase that follows its name.

    Parameters
    ----------
    code
        Exit code, a negative signal, or None if it is unknown.
    is_for_memory
        The kernel's count of out-of-memory kills has increased.

    Examples
    --------
    >>> how_it_ended(3)
    'ended with exit code 3'
    >>> how_it_ended(-9, is_for_memory=True)
    'was killed by the kernel (SIGKILL) because memory ran out'
    """
    if code is None:
        return "was lost with the process that it was forked from"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if is_for_memory and -code == signal.SIGKILL:
        return f"was killed by the kernel ({name}) because memory ran out"
    return f"was killed by {name}"


def killed_for_memory() -> int | None:
    """Return the kernel's count of out-of-memory kills in this cgroup, else on this machine."""
    places = ["/proc/vmstat"]
    with suppress(OSError), open("/proc/self/cgroup", encoding="utf-8") as lines:
        places[:0] = [
            f"/sys/fs/cgroup{line.rstrip().removeprefix('0::')}/memory.events"
            for line in lines if line.startswith("0::")
        ]  # fmt: skip
    for place in places:
        with suppress(OSError), open(place, encoding="utf-8") as lines:
            for line in lines:
                if line.startswith(_OUT_OF_MEMORY):
                    return int(line.removeprefix(_OUT_OF_MEMORY))
    return None
