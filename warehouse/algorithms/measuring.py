"""Memory and processors of a container while it runs, from the files of the kernel.

In: a process. Out: rows of a time series, and how many processes the kernel has killed for want of
memory. Where the kernel does not tell, there are no rows.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_OF_CONTAINERS = ("libpod", "docker", "containers")
_GROUPS = Path("/sys/fs/cgroup")


class Meter:
    """Measures one container now and then."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float]] = []
        self._before: tuple[float, float] | None = None

    def look(self, pid: int | None, seconds: float) -> None:
        """Measure: bytes of memory, and percent of one processor since the last time."""
        if pid is None:
            return
        memory, cpu = _usage(pid)
        if memory is not None:
            self.rows.append(("memory_bytes", seconds, float(memory)))
        if cpu is not None:
            if self._before is not None and seconds > self._before[0]:
                percent = 100 * (cpu - self._before[1]) / (seconds - self._before[0])
                self.rows.append(("cpu_percent", seconds, percent))
            else:
                self.rows.append(("cpu_count", seconds, float(os.cpu_count() or 1)))
            self._before = (seconds, cpu)


def _usage(pid: int) -> tuple[int | None, float | None]:
    """Return bytes of memory and seconds of processors of the control group of a process."""
    places: dict[str, str] = {}
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            # Before a container has a group of its own, it is in one that says nothing of it.
            if any(word in path for word in _OF_CONTAINERS):
                places |= dict.fromkeys(controllers.split(","), path)
    memory = _number(_GROUPS / f"memory{places.get('memory', '/none')}/memory.usage_in_bytes")
    nanoseconds = _number(_GROUPS / f"cpuacct{places.get('cpuacct', '/none')}/cpuacct.usage")
    cpu = None if nanoseconds is None else nanoseconds / 1e9
    unified = _GROUPS / places.get("", "/none").lstrip("/")
    if memory is None:
        memory = _number(unified / "memory.current")
    if cpu is None:
        with suppress(OSError, ValueError, IndexError):
            text = (unified / "cpu.stat").read_text(encoding="ascii")
            cpu = int(text.split("usage_usec ")[1].split()[0]) / 1e6
    return memory, cpu


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def killed_for_memory() -> int:
    """Return how many processes the kernel of this machine has killed for want of memory."""
    with suppress(OSError), open("/proc/vmstat", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
