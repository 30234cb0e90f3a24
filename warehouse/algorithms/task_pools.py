"""Executors of jobs: worker processes, threads that start containers, Dask workers.

In: an algorithm and options. Out: a ``TaskPool``. A task does the same in each of them; the folder
of the warehouse has to be the same folder everywhere.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from warehouse.algorithms import container, containers, python_runner
from warehouse.algorithms.engines import found_engine
from warehouse.algorithms.runs import TaskPool
from warehouse.errors import AlgorithmError, SchedulerUnreachable, UsageError
from warehouse.executors import CONNECT_SECONDS
from warehouse.workers import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from warehouse.algorithms.registry import Algorithm


def pool_of(
    root: Path, algorithm: Algorithm, *, runner: str | None = None, workers: int | None = None,
    scheduler: str | None = None,
) -> Callable[[], Any]:  # fmt: skip
    """Return a function that opens the pool for the jobs of an algorithm.

    Parameters
    ----------
    root, algorithm
        Folder of the warehouse, and what is run.
    runner
        ``podman``, ``docker`` or ``bwrap`` for an image: the first that is installed by default. A
        Python function has ``python``.
    workers
        Jobs at a time: one per processor for functions, one for containers, which use all of them.
        With 0 a function is called in this process, where a debugger sees it; its time and memory
        have no limits then.
    scheduler
        Address of a Dask scheduler; its workers execute the jobs, those with ``GPU`` as a resource
        the ones that ask for one.

    Raises
    ------
    AlgorithmError
        The algorithm is executed by somebody outside, or not by this runner.
    EngineMissing
    """
    if algorithm.api_method == "external":
        raise AlgorithmError(
            f"{algorithm.algorithm} is executed outside: dicom-warehouse job claim takes a job"
        )
    runs_function = runner in {None, "python"} and bool(algorithm.function)
    if runs_function != bool(algorithm.function) or (runner == "python" and not runs_function):
        raise AlgorithmError(
            f"{algorithm.algorithm} is {'a Python function' if algorithm.function else 'an image'},"
            f" which {runner!r} does not run"
        )
    if workers is not None and workers < 0:
        raise UsageError("the number of jobs at a time is 0 (in this process) or more")
    if algorithm.function:
        python_runner.require_same_code(algorithm.function, algorithm.code_sha256)
        perform: Callable[..., Any] = python_runner.perform
        if scheduler:
            return lambda: _on_dask(scheduler, algorithm, perform, python_runner.NAME)
        if workers == 0:
            return lambda: _in_this_process(perform)
        return lambda: _in_processes(workers or os.cpu_count() or 1, perform)
    engine = found_engine(runner)
    in_container = partial(containers.perform, runner=engine)
    if scheduler:
        return lambda: _on_dask(scheduler, algorithm, in_container, engine)
    return lambda: _in_threads(root, workers or 1, in_container, engine)


@contextmanager
def _in_this_process(perform: Callable[..., Any]) -> Iterator[TaskPool]:
    with ThreadPoolExecutor(1) as thread:
        yield TaskPool(thread, perform, 4, python_runner.NAME)


@contextmanager
def _in_threads(
    root: Path, workers: int, perform: Callable[..., Any], engine: str
) -> Iterator[TaskPool]:
    with containers.running():
        container.engine_of(root, engine).sweep(container.owner_of(root))
        with ThreadPoolExecutor(workers) as threads:
            try:
                yield TaskPool(
                    threads, perform, workers + 1, engine, container.stop_jobs,
                    container.stop_all, watched=True,
                )  # fmt: skip
            except BaseException:
                # What runs is stopped before it is waited for.
                container.stop_all()
                threads.shutdown(cancel_futures=True)
                raise


@contextmanager
def _in_processes(workers: int, perform: Callable[..., Any]) -> Iterator[TaskPool]:
    with WorkerPool(workers) as pool:
        yield TaskPool(pool, perform, 4 * workers, python_runner.NAME)


@contextmanager
def _on_dask(
    address: str, algorithm: Algorithm, perform: Callable[..., Any], runner: str
) -> Iterator[TaskPool]:
    try:
        from distributed import Client  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise UsageError("running with Dask needs: pip install 'dicom-warehouse[dask]'") from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SchedulerUnreachable(address, error) from error
    with client:
        wishes = {"resources": {"GPU": 1}} if algorithm.requires_gpu_type else {}
        workers = client.scheduler_info()["workers"].values()
        if wishes and not any(each.get("resources", {}).get("GPU") for each in workers):
            # A job that no worker can take would wait for ever.
            raise AlgorithmError(
                f"{algorithm.algorithm} asks for a GPU and no worker of the scheduler has one; "
                "start workers with --resources GPU=1"
            )
        slots = sum(client.nthreads().values()) or 1
        yield TaskPool(client.get_executor(pure=False, **wishes), perform, 4 * slots, runner)
