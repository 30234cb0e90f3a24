"""Run images over cases: one container per case (exec), or one for many cases (invoke).

In: a ``Task``. Out: ``Done``; outputs are in the folder of the task. Containers are removed when
they end; those left by a killed run are removed by the next run.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from warehouse.algorithms import container
from warehouse.algorithms.container import (
    Loaded,
    catalog_of,
    judge,
    load,
    start,
    watch,
)
from warehouse.algorithms.input_folder import InputRefused, write_inputs
from warehouse.algorithms.scratch import clear_folder
from warehouse.algorithms.sessions import close_sessions, invoke
from warehouse.algorithms.tasks import Done, Task
from warehouse.components.checking import now
from warehouse.errors import WarehouseError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Allow jobs to run; on exit, stop all containers of this process."""
    container.all_stopped.clear()
    try:
        yield
    finally:
        container.stop_all()
        close_sessions()
        container.stopped.clear()


def perform(task: Task, runner: str) -> Done:
    """Run a task in a container, which writes outputs to the folder of the task."""
    done = Done(task.spec.job_id, "failed", runner, began_at=now())
    try:
        loaded = load(task, runner)
        clear_folder(task.folder)  # left by a killed run
        output = task.folder / "output"
        output.mkdir(parents=True)
        output.chmod(0o777)
        if task.algorithm.api_method == "invoke":
            invoke(task, done, loaded)
        else:
            write_inputs(task, catalog_of(task), task.folder / "input")
            done.provisioned_at = now()
            _execute(task, done, loaded)
    except InputRefused as error:
        done.what = "not provisioned"
        done.error = f"an input cannot be written: {error.why}"
        done.details[error.title] = error.why
    except WarehouseError as error:
        done.what = "not provisioned" if done.started_at is None else "failed"
        done.error = str(error)
    except OSError as error:
        done.what = "not provisioned" if done.started_at is None else "failed"
        done.error = f"the folder of the job cannot be used: {os.strerror(error.errno or 0)}"
    done.ended_at = now()
    return done


def _execute(task: Task, done: Done, loaded: Loaded) -> None:
    """Run a container for one task (the exec contract)."""
    began = time.perf_counter()
    mounts = loaded.mounts(task.folder / "input", task.folder / "output")
    run = start(task, loaded, mounts)
    done.started_at = now()
    try:
        reason = watch(task, run, done)
    finally:
        run.end()
    done.exec_seconds = time.perf_counter() - began
    done.invoke_seconds = done.exec_seconds
    done.stdout, done.stderr = (tail.text() for tail in run.tails)
    judge(done, run.process.returncode, reason, run.meter.kills())
