"""Memory and processors of a container while it runs, from the files of the kernel.

In: the file to which an engine writes what it calls a container. Out: rows of a time series, and
whether the kernel killed processes of it for want of memory. Where the kernel does not tell, there
are no rows, and what nobody saw is said to be unknown.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from warehouse.algorithms.tasks import MEMORY_TEXT

_GROUPS = Path("/sys/fs/cgroup")
_SOUGHT_EVERY = 0.2


@dataclass(frozen=True, slots=True)
class Kills:
    """Processes that the kernel killed for want of memory while a container ran."""

    of_container: int | None
    """None where its control group was not seen."""
    of_machine: int

    def said(self, code: int) -> str:
        """Return what they say about an exit code; empty if that has nothing to do with them.

        Examples
        --------
        >>> Kills(0, 0).said(137)
        ''
        >>> Kills(1, 1).said(1)
        'the algorithm ended with exit code 1 after a process of it was killed for want of memory'
        """
        if self.of_container:
            after = "after a process of it was killed for want of memory"
            return (
                MEMORY_TEXT if code == 137 else f"the algorithm ended with exit code {code} {after}"
            )
        if code == 137 and self.of_machine:
            # Another process of the machine may be what was killed, and the last kill of a
            # container may go unseen, since its group goes with it.
            return (
                "the algorithm was killed or ended with exit code 137 while the kernel killed "
                "processes of this machine for want of memory, which may have been those of it"
            )
        return ""


class Meter:
    """Measures one container now and then."""

    def __init__(self, id_file: Path | None = None) -> None:
        self.rows: list[tuple[str, float, float]] = []
        self._id_file = id_file
        self._groups: dict[str, Path] = {}
        self._sought = 0.0
        self._seen = 0
        self._events: int | None = None
        self._kills: int | None = None
        self._log = _kernel_log()
        self._in_log = 0
        self.begin()

    def begin(self) -> None:
        """Begin anew, with the next case of a container."""
        self.rows = []
        self._before: tuple[float, float] | None = None
        self.look_for_kills()
        self._kills_before = self._kills or 0
        self._read_log()
        self._in_log = 0
        self._machine_before = _killed_on_machine()

    def look(self, seconds: float) -> None:
        """Measure: bytes of memory, and percent of one processor since the last time."""
        memory, cpu = self._usage()
        if memory is not None:
            self.rows.append(("memory_bytes", seconds, float(memory)))
        if cpu is not None:
            if self._before is not None and seconds > self._before[0]:
                percent = 100 * (cpu - self._before[1]) / (seconds - self._before[0])
                self.rows.append(("cpu_percent", seconds, percent))
            else:
                self.rows.append(("cpu_count", seconds, float(os.cpu_count() or 1)))
            self._before = (seconds, cpu)

    def look_for_kills(self) -> None:
        """Read the counter of the container, which is gone soon after its last process."""
        if self._events is None:
            self._seek()
        if self._events is not None:
            with suppress(OSError):
                self._kills = _counted(os.pread(self._events, 4096, 0))

    def kills(self) -> Kills:
        """Return what was killed since it began."""
        of_container = None if self._kills is None else self._kills - self._kills_before
        self._read_log()
        machine = _killed_on_machine()
        return Kills(self._in_log or of_container, machine - self._machine_before)

    def close(self) -> None:
        """Let go of what it reads; what it has found out stays."""
        self._read_log()
        for descriptor in (self._events, self._log):
            if descriptor is not None:
                os.close(descriptor)
        self._events = self._log = self._id_file = None

    def _read_log(self) -> None:
        """Count the kills of which the kernel's log says that they were in this container.

        The counter of a container goes with it, and with the kill of its first process that is at
        once: often nobody has read it.
        """
        name = b""
        if self._id_file is not None:
            with suppress(OSError):
                name = self._id_file.read_bytes().strip()
        while self._log is not None:
            try:
                line = os.read(self._log, 8192)
            except BrokenPipeError:
                continue  # lines that were overwritten before they were read
            except OSError:
                break
            self._in_log += len(name) >= 32 and b"oom-kill:" in line and name in line

    def _seek(self) -> None:
        """Find the control groups of the container by its id: each engine puts them elsewhere."""
        clock = time.monotonic()
        if self._id_file is None or clock - self._sought < _SOUGHT_EVERY or self._seen > 5:
            return
        self._sought = clock
        self._seen += bool(self._groups)  # then one that is not there yet comes soon, or never
        with suppress(OSError):
            name = self._id_file.read_text(encoding="ascii").strip()
            if len(name) < 32 or not name.isalnum():
                return
            for folder, folders, _ in os.walk(_GROUPS):
                for each in folders:
                    if name in each and not each.startswith("libpod-conmon"):
                        place = Path(folder, each)
                        self._groups.setdefault(place.relative_to(_GROUPS).parts[0], place)
                folders[:] = [each for each in folders if name not in each]
        for place in self._groups.values():
            for file in ("memory.events", "memory.oom_control"):
                with suppress(OSError):
                    self._events = self._events or os.open(place / file, os.O_RDONLY)

    def _usage(self) -> tuple[int | None, float | None]:
        """Return bytes of memory and seconds of processors."""
        memory = cpu = None
        for place in self._groups.values():
            for file in ("memory.current", "memory.usage_in_bytes"):
                memory = _number(place / file) if memory is None else memory
            nanoseconds = _number(place / "cpuacct.usage")
            if cpu is None and nanoseconds is not None:
                cpu = nanoseconds / 1e9
            if cpu is None:
                with suppress(OSError, ValueError, IndexError):
                    text = (place / "cpu.stat").read_text(encoding="ascii")
                    cpu = int(text.split("usage_usec ")[1].split()[0]) / 1e6
        return memory, cpu


def _kernel_log() -> int | None:
    """Open the kernel's log at its end; None for those who may not read it."""
    try:
        descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    os.lseek(descriptor, 0, os.SEEK_END)
    return descriptor


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _counted(text: bytes) -> int | None:
    for line in text.splitlines():
        if line.startswith(b"oom_kill "):
            return int(line.split()[1])
    return None


def _killed_on_machine() -> int:
    with suppress(OSError):
        return _counted(Path("/proc/vmstat").read_bytes()) or 0
    return 0
