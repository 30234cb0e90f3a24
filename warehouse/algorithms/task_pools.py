"""Executors of jobs: worker processes, threads that start containers, Dask workers.

In: an algorithm and options. Out: a ``TaskPool``. All pools execute tasks in the same way; Dask
workers must see the folder of the warehouse at the same path.
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
        Folder of the warehouse, and the algorithm to run.
    runner
        ``podman``, ``docker`` or ``bwrap`` for an image, by default the first that is installed;
        ``python`` for a function.
    workers
        Number of concurrent jobs: by default one per CPU for functions, and 1 for containers, which
        use all CPUs. With 0 a function is called in this process, for debugging, without limits of
        time and memory.
    scheduler
        Address of a Dask scheduler whose workers execute the jobs; jobs that require a GPU run on
        workers with the resource ``GPU``.

    Raises
    ------
    AlgorithmError
        The algorithm is external, or the runner cannot execute it.
    EngineMissing
    UsageError
        ``workers`` is negative, or 0 for an image.
    """
    if algorithm.api_method == "external":
        raise AlgorithmError(
            f"{algorithm.algorithm} is executed outside; take jobs with dicom-warehouse job claim"
        )
    runs_function = runner in {None, "python"} and bool(algorithm.function)
    if runs_function != bool(algorithm.function) or (runner == "python" and not runs_function):
        raise AlgorithmError(
            f"{algorithm.algorithm} is {'a Python function' if algorithm.function else 'an image'},"
            f" which runner {runner!r} cannot execute"
        )
    if workers is not None and workers < 0:
        raise UsageError(f"workers is {workers}; use 0 (in this process) or more")
    if algorithm.function:
        python_runner.require_same_code(algorithm.function, algorithm.code_sha256)
        perform: Callable[..., Any] = python_runner.perform
        if scheduler:
            return lambda: _on_dask(scheduler, algorithm, perform, python_runner.NAME)
        if workers == 0:
            return lambda: _in_this_process(perform)
        return lambda: _in_processes(workers or os.cpu_count() or 1, perform)
    if workers == 0:
        raise UsageError(
            "workers is 0 (in this process), but images run in containers; use 1 or more"
        )
    engine = found_engine(runner)
    in_container = partial(containers.perform, runner=engine)
    if scheduler:
        return lambda: _on_dask(scheduler, algorithm, in_container, engine)
    return lambda: _in_threads(root, workers or 1, in_container, engine)


@contextmanager
def _in_this_process(perform: Callable[..., Any]) -> Iterator[TaskPool]:
    """Open a pool with one thread of this process."""
    with ThreadPoolExecutor(1) as thread:
        yield TaskPool(thread, perform, 4, python_runner.NAME)


@contextmanager
def _in_threads(
    root: Path, workers: int, perform: Callable[..., Any], engine: str
) -> Iterator[TaskPool]:
    """Open a pool of threads that start containers; stop all containers at the end."""
    with containers.running():
        container.engine_of(root, engine).sweep(container.owner_of(root))
        with ThreadPoolExecutor(workers) as threads:
            try:
                yield TaskPool(
                    threads, perform, workers + 1, engine, container.stop_jobs,
                    container.stop_all, watched=True,
                )  # fmt: skip
            except BaseException:
                # Stop running jobs before waiting for the threads.
                container.stop_all()
                threads.shutdown(cancel_futures=True)
                raise


@contextmanager
def _in_processes(workers: int, perform: Callable[..., Any]) -> Iterator[TaskPool]:
    """Open a pool of worker processes."""
    with WorkerPool(workers) as pool:
        yield TaskPool(pool, perform, 4 * workers, python_runner.NAME)


@contextmanager
def _on_dask(
    address: str, algorithm: Algorithm, perform: Callable[..., Any], runner: str
) -> Iterator[TaskPool]:
    """Open a pool that executes tasks on Dask workers."""
    try:
        from distributed import Client  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise UsageError("running with Dask needs: pip install 'dicom-warehouse[dask]'") from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SchedulerUnreachable(address, error) from error
    with client:
        options = {"resources": {"GPU": 1}} if algorithm.requires_gpu_type else {}
        workers = client.scheduler_info()["workers"].values()
        if options and not any(worker.get("resources", {}).get("GPU") for worker in workers):
            # A job that no worker can execute would wait forever.
            raise AlgorithmError(
                f"{algorithm.algorithm} requires a GPU, and no worker of the scheduler has one; "
                "start workers with --resources GPU=1"
            )
        slots = sum(client.nthreads().values()) or 1
        yield TaskPool(client.get_executor(pure=False, **options), perform, 4 * slots, runner)
