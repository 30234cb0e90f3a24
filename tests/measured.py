"""What tests have a worker process do that counts for it alone, or ends it. Imports little.

A worker is forked from a process that has imported everything: to start another takes half a
second of a processor.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import resource
import signal
import tempfile
from pathlib import Path

from warehouse.dicom.scan import SourceFile, discover
from warehouse.elements.extract import extract
from warehouse.errors import WriteFailed
from warehouse.ingest import ingest
from warehouse.process import collector_paused
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


def written(begun: Path, root: Path, *sources: Path, limit: int = 0) -> tuple[str, str]:
    """Ingest in batches of six; return what could not be written, and all that was said.

    Parameters
    ----------
    begun
        Gets the number of this process as soon as it begins.
    root
        Of the warehouse.
    sources
        What to ingest.
    limit
        Bytes that a file may have, by the system; 0 for as many as one likes.
    """
    if limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    settings = IngestSettings(mode=Mode.FULL, workers=1, batch_files=6)
    why, said = "", io.StringIO()
    with tempfile.TemporaryFile() as of_libraries:
        # Also what is said by none of Python.
        os.dup2(of_libraries.fileno(), 2)
        draft = begun.with_suffix(".draft")
        draft.write_text(str(os.getpid()), encoding="ascii")
        draft.rename(begun)
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                ingest(root, sources, settings)
            except WriteFailed as failed:
                why = str(failed)
        of_libraries.seek(0)
        return why, said.getvalue() + of_libraries.read().decode()


def garbage(folder: Path, reader: str, step: int) -> tuple[int, int, int, bool]:
    """Read one file of ``step`` twice; return files, rows, objects left, if the collector runs."""
    # All kinds of them.
    found = [item for item in discover([folder]) if isinstance(item, SourceFile)][::step]

    def read() -> int:
        return sum(portion.rows.num_rows for portion in extract(found, 1, 10**6, reader=reader))  # type: ignore[arg-type]

    read()  # imports, and what is kept for the next time
    gc.collect()
    with collector_paused():
        rows, left = sum(read() for _ in range(2)), gc.collect()
    return len(found), rows, left, gc.isenabled()
