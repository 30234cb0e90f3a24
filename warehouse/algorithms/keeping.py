"""A supervisor program: start a container command, and end it when the calling process is gone.

In: a command line, and a socket as standard input. Out: the exit code of the command. It does not
import this library. It is needed because a SIGKILL of the process that runs jobs must not leave
containers behind: bubblewrap's ``--die-with-parent`` takes effect only some time after its start,
outside and inside. If bubblewrap is killed before that, or ends because its output pipe is closed,
a process inside waits for ever. Such processes are adopted here.

When the other end of the socket is closed, all started processes are ended, with the seconds
received through the socket between SIGTERM and SIGKILL. Findings are sent through it.
"""

import ctypes
import json
import os
import select
import signal
import sys
import time
from contextlib import suppress

TOO_MANY = b"processes"
LOOKED_EVERY = 0.1
_ADOPT = 36
"""``PR_SET_CHILD_SUBREAPER`` of ``prctl``: orphaned descendants become our children."""


def main() -> int:
    """Start a command, wait for it, and return its exit code."""
    how = json.loads(sys.argv[1])
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # Handlers are not inherited by what is started; signals that are ignored would be.
    for each in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, lambda *_: None)
    if how["adopts"]:
        ctypes.CDLL(None).prctl(_ADOPT, 1)
    asked_by = os.getppid()
    before = _processes()
    try:
        pid = os.posix_spawn(
            sys.argv[2], sys.argv[2:], os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores
        )  # fmt: skip
    except OSError as error:
        sys.stderr.write(f"{sys.argv[2]}: {os.strerror(error.errno or 0)}\n")
        return 127
    for each in how["told"]:
        os.close(each)
    written, most = b"", how["processes"]
    while True:
        ready = select.select([0, reader], [], [], LOOKED_EVERY if most else 1.0)[0]
        if reader in ready:
            os.read(reader, 4096)
        code = ended(pid)
        if code is not None:
            break
        block = b"" if 0 in ready else None
        if 0 in ready:
            with suppress(OSError):
                block = os.read(0, 64)
            written += block or b""
        if block == b"" or os.getppid() != asked_by:
            code = end(pid, float(written or 0), how["clean"])
            break
        # For root the kernel counts no processes, so somebody has to.
        if most and _processes() - before > most and len(_below(pid)) > most:
            with suppress(OSError):
                os.write(0, TOO_MANY)
            code = end(pid, 0.0, how["clean"])
            break
    if how["adopts"]:
        kill_below(os.getpid())
    return code


def ended(pid: int) -> "int | None":
    """Return the exit code of a process as a shell tells it; None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def end(pid: int, grace: float, clean: "list[str]") -> int:
    """End a process and all that it started, and return its exit code."""
    if grace > 0:
        # The first process of a container has no handler: what it runs is told.
        inner = _below(pid, 2) or _below(pid)
        for each in inner or [pid]:
            _send(each, signal.SIGTERM)
        until = time.monotonic() + grace
        while time.monotonic() < until:
            code = ended(pid)
            if code is not None:
                return code
            time.sleep(0.02)
    # One that is stopped starts nothing while those below it are ended; what it was starting is
    # seen only when it has stopped. The kernel ends a whole container with its first process.
    _send(pid, signal.SIGSTOP)
    status = os.waitpid(pid, os.WUNTRACED)[1]
    kill_below(pid)
    if os.WIFSTOPPED(status):
        _send(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    if clean:
        # What a daemon runs is none of our processes.
        with suppress(OSError):
            os.waitpid(os.posix_spawn(clean[0], clean, os.environ), 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def kill_below(pid: int) -> None:
    """Kill the children of a process until it has none."""
    for _ in range(2000):
        below = _below(pid, 1)
        if not below:
            return
        for each in below:
            _send(each, signal.SIGKILL)
        time.sleep(0.005)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _processes() -> int:
    return sum(map(str.isdecimal, _listed()))


def _listed() -> "list[str]":
    with suppress(OSError):
        return os.listdir("/proc")
    return []


def _below(pid: int, depth: "int | None" = None) -> "list[int]":
    """Return the running processes that a process started: all, or those so far below it."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, _listed()):
        with suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
            state, parent, *_ = file.read().rpartition(b")")[2].split()
            if state not in {b"Z", b"X"}:
                children.setdefault(int(parent), []).append(int(name))
    level, found, distance = [pid], [], 0
    while level and distance != depth:
        level = [each for above in level for each in children.get(above, [])]
        found += level
        distance += 1
    return found if depth is None else level


if __name__ == "__main__":
    sys.exit(main())
