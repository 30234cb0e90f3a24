"""Turn Ctrl-C and SIGTERM into one line and an exit code.

The first signal raises ``KeyboardInterrupt`` where the program is, so that all is left as after
any error. Raised while an object is being destroyed it would be lost, and is raised again; where
other code loses it, a command ends at its next step (``go_on``). Where that does not end the
process in time, because a library does not come back, it ends as if it had been killed, which
harms nothing: what was committed stays.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

SECONDS = 1.5
"""How long the process may take to end by itself."""

LOST_SECONDS = 0.01
"""After how long a lost exception is raised again; the object is destroyed by then, or it is lost
once more."""

STOPPED = "stopped; what was committed is kept, run the same command again to continue"

_received: list[int] = []
"""The signal that ends this process, if one came."""
_said: list[str] = []
"""What was said of it."""
_lost = threading.Event()
"""The exception that the signal raised ended nothing, and is to be raised again."""


def received() -> int | None:
    """Return the signal that ends this process, if one came."""
    return _received[0] if _received else None


def go_on() -> None:
    """Do nothing, unless a signal came: then it is what ends the step of a command here."""
    if _received:
        raise KeyboardInterrupt


def say(error: BaseException) -> int:
    """Say once what is kept; return the exit code, 128 and the number of the signal."""
    if not _said:
        is_ours = isinstance(error, KeyboardInterrupt) and str(error)
        _said.append(str(error) if is_ours else STOPPED)
        print(_said[0], file=sys.stderr)
    return 128 + (received() or signal.SIGINT)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let both signals end the process with one line, until it has ended.

    For a process that does nothing but run a command. SIGTERM needs a handler to end the first
    process of a container at all. A signal that is ignored from outside, as ``nohup`` and shells do
    for what runs in the background, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread receives signals, and it belongs to another program.
        yield
        return
    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # Written to by the system at once, even if the interpreter does not come to its turn.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_exit_after_grace, args=(reader,), daemon=True).start()
    sys.unraisablehook = _unraisable
    for number in heard:
        signal.signal(number, _stop)
    try:
        yield
    except SystemExit:
        if received() is None:
            raise
        sys.exit(say(KeyboardInterrupt()))
    except BaseException as error:
        if received() is None:
            raise
        sys.exit(say(error))


def _stop(number: int, _frame: FrameType | None) -> None:
    if not _received:
        _received.append(number)
    elif not _lost.is_set():
        return
    _lost.clear()
    raise KeyboardInterrupt


def _exit_after_grace(reader: int) -> None:
    while not (numbers := [number for number in os.read(reader, 64) if number in SIGNALS]):
        pass
    until = time.monotonic() + SECONDS
    while (left := until - time.monotonic()) > 0:
        if _lost.wait(left):
            time.sleep(LOST_SECONDS)
            # By the system, which wakes the main thread if it sleeps.
            signal.pthread_kill(threading.main_thread().ident or 0, numbers[0])
    if not _said:
        shown = "\x1b[?25h\r\x1b[K" if sys.stderr.isatty() else ""
        os.write(2, f"{shown}{STOPPED}\n".encode())
    os._exit(128 + numbers[0])


def _unraisable(event: sys.UnraisableHookArgs) -> None:
    """Say nothing of an interrupt that came while an object was being destroyed; have it again.

    The import system, for one, destroys a lock of each module.
    """
    if isinstance(event.exc_value, KeyboardInterrupt):
        _lost.set()
    else:
        sys.__unraisablehook__(event)
