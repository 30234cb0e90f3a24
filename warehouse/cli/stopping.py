"""Turn Ctrl-C and SIGTERM into one line and an exit code.

The first signal raises ``KeyboardInterrupt`` in the main thread, so that cleanup runs as after any
error. Raised in a destructor the exception is lost, and is raised again; if other code suppresses
it, the command ends at its next step (``go_on``). If the process does not end in time, because a
call of a library does not return, it exits as if it had been killed, which is safe: committed data
are kept.
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
    from collections.abc import Iterator, Sequence
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

SECONDS = 1.5
"""Time that the process has to end by itself."""

LOST_SECONDS = 0.01
"""Delay before a lost exception is raised again; if the destructor still runs, it is raised once
more."""

STOPPED = "stopped; what was committed is kept, run the same command again to continue"

COMMIT_NOTHING = frozenset({
    "sql", "tables", "describe", "header", "tags", "duplicates", "select", "volume", "gradients",
    "info", "audit", "completion", "serve", "listen", "token", "viewer",
})  # fmt: skip
"""Commands that commit nothing, or run until they are stopped: the message is only "stopped"."""

_received: list[int] = []
"""The signal that ends this process, if one was received."""
_command: list[str] = []
"""The words of the command line, if they are known."""
_printed: list[str] = []
"""The message, once it is printed."""
_lost = threading.Event()
"""Set if the exception was lost in a destructor, and must be raised again."""


def received() -> int | None:
    """Return the signal that ends this process, if one was received."""
    return _received[0] if _received else None


def go_on() -> None:
    """Raise KeyboardInterrupt if a signal was received; called at each step of a command."""
    if _received:
        raise KeyboardInterrupt


def say(error: BaseException) -> int:
    """Print once what is kept; return the exit code, 128 plus the number of the signal."""
    if not _printed:
        has_message = isinstance(error, KeyboardInterrupt) and str(error)
        _printed.append(str(error) if has_message else _message())
        print(_printed[0], file=sys.stderr)
    return 128 + (received() or signal.SIGINT)


def speak_for(words: Sequence[str]) -> None:
    """Note the command line, so that the message says what is kept only if it commits."""
    _command[:] = words or ["--help"]


def _message() -> str:
    is_help = {"--help", "-h", "--version"} & {*_command}
    return "stopped" if is_help or COMMIT_NOTHING & {*_command[:1]} else STOPPED


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Handle both signals from now on: print one line and exit.

    For a process that only runs a command. The first process of a container ignores SIGTERM unless
    it has a handler. A signal that the parent has set to be ignored, as ``nohup`` and shells do for
    background jobs, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread receives signals, and it belongs to another program.
        yield
        return
    handled = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    # The C handler writes to it at once, even if the interpreter is blocked in a library.
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_exit_after_grace, args=(reader,), daemon=True).start()
    sys.unraisablehook = _unraisable
    for number in handled:
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
            # A signal of the system also wakes the main thread if it sleeps.
            signal.pthread_kill(threading.main_thread().ident or 0, numbers[0])
    if not _printed:
        shown = "\x1b[?25h\r\x1b[K" if sys.stderr.isatty() else ""
        os.write(2, f"{shown}{_message()}\n".encode())
    os._exit(128 + numbers[0])


def _unraisable(event: sys.UnraisableHookArgs) -> None:
    """Have an interrupt that was lost in a destructor raised again, without a message.

    For example, the import system destroys a lock of each module.
    """
    if isinstance(event.exc_value, KeyboardInterrupt):
        _lost.set()
    else:
        sys.__unraisablehook__(event)
