"""What one file costs to ingest, by the kernel's count, in a worker process. Imports little."""

from __future__ import annotations

import resource
from pathlib import Path

from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Mode


def peak() -> int:
    """Return the largest size that this process had, in bytes.

    VmHWM and not ru_maxrss, which begins with what the parent had: that of a long run is large.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def limit_memory(size: int) -> None:
    """Let this process allocate no more bytes than this."""
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))


def costs(folder: Path, *paths: Path) -> list[tuple[str, int, float]]:
    """Ingest ``good`` of a folder, then each path; return names, bytes more than before, seconds."""
    settings = IngestSettings(mode=Mode.FULL, workers=1)
    ingest(folder / "w", [folder / "good"], settings)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    before, began = peak(), usage.ru_utime + usage.ru_stime
    found = []
    for path in paths:
        ingest(folder / "w", [path], settings)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        found.append((path.name, peak() - before, usage.ru_utime + usage.ru_stime - began))
        began = usage.ru_utime + usage.ru_stime
    return found
