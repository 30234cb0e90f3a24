"""Measure memory and CPU usage of a running container from its cgroup.

In: the file to which an engine writes the container id. Out: rows of a time series, and the number
of processes that the OOM killer of the kernel ended. Without a readable cgroup there are no rows.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from warehouse.algorithms.tasks import MEMORY_TEXT

_CGROUP_ROOT = Path("/sys/fs/cgroup")
_SEARCH_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Kills:
    """Numbers of processes that the OOM killer ended while a container ran."""

    of_container: int | None
    """In the container; None if its cgroup was not read and the kernel log reports none."""
    of_machine: int
    """On the whole machine, including the container."""

    def message(self, code: int) -> str:
        """Return an error message for an exit code that the OOM killer explains; else empty.

        Examples
        --------
        >>> Kills(0, 0).message(137)
        ''
        >>> Kills(1, 1).message(1)
        'the algorithm ended with exit code 1 after a process was killed for lack of memory'
        """
        if self.of_container:
            after = "after a process was killed for lack of memory"
            return (
                MEMORY_TEXT if code == 137 else f"the algorithm ended with exit code {code} {after}"
            )
        if code == 137 and self.of_machine:
            # The killed process may be outside of the container; and the last kill in a container
            # may be missed, because its cgroup is removed with it.
            return (
                "the algorithm was killed or ended with exit code 137 while the kernel killed "
                "processes of this machine for lack of memory, possibly its own"
            )
        return ""


class Meter:
    """Measures the resource usage of one container at intervals."""

    def __init__(self, id_file: Path | None = None) -> None:
        self.rows: list[tuple[str, float, float]] = []
        self._id_file = id_file
        self._cgroups: dict[str, Path] = {}
        self._last_search = 0.0
        self._searches = 0
        self._events_fd: int | None = None
        self._kills: int | None = None
        self._log_fd = _kernel_log()
        self._kills_in_log = 0
        self.begin()

    def begin(self) -> None:
        """Reset rows and counts for the next case of a container."""
        self.rows = []
        self._last_cpu: tuple[float, float] | None = None
        self.look_for_kills()
        self._kills_before = self._kills or 0
        self._read_log()
        self._kills_in_log = 0
        self._machine_before = _oom_kills_of_machine()

    def look(self, seconds: float) -> None:
        """Add rows: memory in bytes, and CPU in percent of one core since the last call.

        Until a second measurement, the number of CPUs is added instead of a percentage.
        """
        memory, cpu = self._usage()
        if memory is not None:
            self.rows.append(("memory_bytes", seconds, float(memory)))
        if cpu is not None:
            if self._last_cpu is not None and seconds > self._last_cpu[0]:
                percent = 100 * (cpu - self._last_cpu[1]) / (seconds - self._last_cpu[0])
                self.rows.append(("cpu_percent", seconds, percent))
            else:
                self.rows.append(("cpu_count", seconds, float(os.cpu_count() or 1)))
            self._last_cpu = (seconds, cpu)

    def look_for_kills(self) -> None:
        """Read the OOM kill counter; its cgroup is removed soon after the last process ends."""
        if self._events_fd is None:
            self._find_cgroups()
        if self._events_fd is not None:
            with suppress(OSError):
                self._kills = _oom_kills_in(os.pread(self._events_fd, 4096, 0))

    def kills(self) -> Kills:
        """Return the kills since ``begin``."""
        of_container = None if self._kills is None else self._kills - self._kills_before
        self._read_log()
        machine = _oom_kills_of_machine()
        return Kills(self._kills_in_log or of_container, machine - self._machine_before)

    def close(self) -> None:
        """Close the files that it reads; counts are kept."""
        self._read_log()
        for descriptor in (self._events_fd, self._log_fd):
            if descriptor is not None:
                os.close(descriptor)
        self._events_fd = self._log_fd = self._id_file = None

    def _read_log(self) -> None:
        """Count the OOM kills in this container that the kernel log reports.

        The counter of the cgroup is often lost: when the init process of a container is killed,
        the cgroup is removed at once.
        """
        container_id = b""
        if self._id_file is not None:
            with suppress(OSError):
                container_id = self._id_file.read_bytes().strip()
        while self._log_fd is not None:
            try:
                line = os.read(self._log_fd, 8192)
            except BrokenPipeError:
                continue  # records were overwritten before they were read
            except OSError:
                break
            self._kills_in_log += (
                len(container_id) >= 32 and b"oom-kill:" in line and container_id in line
            )

    def _find_cgroups(self) -> None:
        """Find the cgroups of the container by its id: their location depends on the engine."""
        clock = time.monotonic()
        if (
            self._id_file is None
            or clock - self._last_search < _SEARCH_SECONDS
            or self._searches > 5
        ):
            return
        self._last_search = clock
        self._searches += bool(self._cgroups)  # further cgroups (v1) appear soon, or never
        with suppress(OSError):
            container_id = self._id_file.read_text(encoding="ascii").strip()
            if len(container_id) < 32 or not container_id.isalnum():
                return
            for folder, folders, _ in os.walk(_CGROUP_ROOT):
                for child in folders:
                    if container_id in child and not child.startswith("libpod-conmon"):
                        path = Path(folder, child)
                        self._cgroups.setdefault(path.relative_to(_CGROUP_ROOT).parts[0], path)
                folders[:] = [child for child in folders if container_id not in child]
        for path in self._cgroups.values():
            for file in ("memory.events", "memory.oom_control"):
                with suppress(OSError):
                    self._events_fd = self._events_fd or os.open(path / file, os.O_RDONLY)

    def _usage(self) -> tuple[int | None, float | None]:
        """Return memory in bytes and CPU time in seconds; None where unknown."""
        memory = cpu = None
        for path in self._cgroups.values():
            for file in ("memory.current", "memory.usage_in_bytes"):
                memory = _read_int(path / file) if memory is None else memory
            nanoseconds = _read_int(path / "cpuacct.usage")
            if cpu is None and nanoseconds is not None:
                cpu = nanoseconds / 1e9
            if cpu is None:
                with suppress(OSError, ValueError, IndexError):
                    text = (path / "cpu.stat").read_text(encoding="ascii")
                    cpu = int(text.split("usage_usec ")[1].split()[0]) / 1e6
        return memory, cpu


def _kernel_log() -> int | None:
    """Open the kernel log at its end; return None without permission to read it."""
    try:
        descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    os.lseek(descriptor, 0, os.SEEK_END)
    return descriptor


def _read_int(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _oom_kills_in(text: bytes) -> int | None:
    for line in text.splitlines():
        if line.startswith(b"oom_kill "):
            return int(line.split()[1])
    return None


def _oom_kills_of_machine() -> int:
    with suppress(OSError):
        return _oom_kills_in(Path("/proc/vmstat").read_bytes()) or 0
    return 0
