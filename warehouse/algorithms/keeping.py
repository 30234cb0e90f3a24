"""Supervisor program: start a container command, and end it when the calling process ends.

In: a command line, and a socket as standard input. Out: the exit code of the command. It does not
import this library. It is needed because a SIGKILL of the process that runs jobs must not leave
containers behind: bubblewrap's ``--die-with-parent`` takes effect only some time after its start,
in both its outer and its inner process. If bubblewrap is killed before that, or ends because its
output pipe is closed, a process in the container waits forever. This program adopts and kills it.

When the other end of the socket is closed, all started processes are ended. The number of seconds
between SIGTERM and SIGKILL is received through the socket, and ``TOO_MANY`` is sent through it.
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
"""Message sent when the container was ended because it has too many processes."""

LOOKED_EVERY = 0.1
"""Seconds between counts of processes, if their number is limited."""

_ADOPT = 36
"""``PR_SET_CHILD_SUBREAPER`` of ``prctl``: orphaned descendants become our children."""


def main() -> int:
    """Start a command, wait for it, and return its exit code."""
    options = json.loads(sys.argv[1])
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # Child processes do not inherit handlers, but would inherit SIG_IGN.
    for each in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, lambda *_: None)
    if options["adopts"]:
        ctypes.CDLL(None).prctl(_ADOPT, 1)
    parent = os.getppid()
    baseline = _count_processes()
    try:
        pid = os.posix_spawn(
            sys.argv[2], sys.argv[2:], os.environ,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # ignored by Python
        )  # fmt: skip
    except OSError as error:
        sys.stderr.write(f"{sys.argv[2]}: {os.strerror(error.errno or 0)}\n")
        return 127
    for each in options["told"]:
        os.close(each)
    received, limit = b"", options["processes"]
    while True:
        ready = select.select([0, reader], [], [], LOOKED_EVERY if limit else 1.0)[0]
        if reader in ready:
            os.read(reader, 4096)
        exit_code = ended(pid)
        if exit_code is not None:
            break
        block = b"" if 0 in ready else None
        if 0 in ready:
            with suppress(OSError):
                block = os.read(0, 64)
            received += block or b""
        if block == b"" or os.getppid() != parent:
            exit_code = end(pid, float(received or 0), options["clean"])
            break
        # RLIMIT_NPROC does not apply to root, so processes are counted here.
        if limit and _count_processes() - baseline > limit and len(_descendants(pid)) > limit:
            with suppress(OSError):
                os.write(0, TOO_MANY)
            exit_code = end(pid, 0.0, options["clean"])
            break
    if options["adopts"]:
        kill_below(os.getpid())
    return exit_code


def ended(pid: int) -> "int | None":
    """Return the exit code of a process, 128 + N after signal N; None while it runs."""
    ended_pid, status = os.waitpid(pid, os.WNOHANG)
    if not ended_pid:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def end(pid: int, grace: float, clean: "list[str]") -> int:
    """End a process and its descendants, and return its exit code."""
    if grace > 0:
        # The init process of a container has no handler for SIGTERM: signal its children.
        inner = _descendants(pid, 2) or _descendants(pid)
        for child in inner or [pid]:
            _send(child, signal.SIGTERM)
        until = time.monotonic() + grace
        while time.monotonic() < until:
            code = ended(pid)
            if code is not None:
                return code
            time.sleep(0.02)
    # A stopped process starts no others while its descendants are killed; one that it was starting
    # is visible once it has stopped. The kernel ends a container with its init process.
    _send(pid, signal.SIGSTOP)
    status = os.waitpid(pid, os.WUNTRACED)[1]
    kill_below(pid)
    if os.WIFSTOPPED(status):
        _send(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
    if clean:
        # Processes that a daemon started are not descendants of this one.
        with suppress(OSError):
            os.waitpid(os.posix_spawn(clean[0], clean, os.environ), 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def kill_below(pid: int) -> None:
    """Kill the children of a process until it has none, for up to 10 s."""
    for _ in range(2000):
        children = _descendants(pid, 1)
        if not children:
            return
        for child in children:
            _send(child, signal.SIGKILL)
        time.sleep(0.005)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _count_processes() -> int:
    return sum(map(str.isdecimal, _proc_entries()))


def _proc_entries() -> "list[str]":
    with suppress(OSError):
        return os.listdir("/proc")
    return []


def _descendants(pid: int, depth: "int | None" = None) -> "list[int]":
    """Return the PIDs of running descendants of a process: all, or those at one depth."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdecimal, _proc_entries()):
        with suppress(OSError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
            state, parent, *_ = file.read().rpartition(b")")[2].split()
            if state not in {b"Z", b"X"}:
                children.setdefault(int(parent), []).append(int(name))
    level, pids, distance = [pid], [], 0
    while level and distance != depth:
        level = [child for ancestor in level for child in children.get(ancestor, [])]
        pids += level
        distance += 1
    return pids if depth is None else level


if __name__ == "__main__":
    sys.exit(main())
