"""Run a Python function over cases, in worker processes instead of containers.

In: a ``Task``. Out: ``Done`` with the JSON values that the function returned; arrays and files are
in the folder of the task, as for a container. The kernel kills the worker at the time limit, and
allocations beyond the memory limit raise ``MemoryError``.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import importlib.util
import os
import resource
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.algorithms.input_folder import InputRefused, write_inputs
from warehouse.algorithms.logs import Tail
from warehouse.algorithms.mha import displayed, volume_of, write_array
from warehouse.algorithms.registry import code_digest
from warehouse.algorithms.scratch import clear_folder
from warehouse.algorithms.tasks import MEMORY_TEXT, Content, Done, Task
from warehouse.catalog.connect import Catalog, open_catalog
from warehouse.components import json_text
from warehouse.components.checking import now
from warehouse.errors import AlgorithmError, OutputRefused, WarehouseError
from warehouse.pixels.stack import open_stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    from warehouse.components.sockets import Socket
    from warehouse.pixels.volume import LazyVolume

NAME = "python"
"""Name of this runner."""

_catalogs: dict[tuple[Path, int], Catalog] = {}
_functions: dict[tuple[str, str], Callable[[Any], Mapping[str, Any]]] = {}


class CaseInputs(Mapping[str, Any]):
    """The argument of a function: its inputs by socket.

    A series is a ``LazyVolume`` of displayed values (Hounsfield units of CT), whose voxels are read
    when it is sliced; in a socket for DICOM image sets it is a ``Stack`` of frames, which every
    series has. A JSON value is a Python object. A file, or an image that is not a series, is a
    ``Path``.

    Attributes
    ----------
    series_key
        The series that the outputs are about, or None.
    item
        The item of a set, or None.

    Examples
    --------
    A function to run::

        def measure(case):
            volume = case["ct"]
            return {"mean-value": float(volume[:].mean())}
    """

    def __init__(self, task: Task) -> None:
        # In an evaluation a socket has many values; they are read as files instead.
        self._inputs = {content.socket.slug: content for content in task.inputs}
        self._task = task
        self._volumes: dict[str, LazyVolume] = {}
        self.series_key = task.spec.series_key
        self.item = task.spec.item

    def __getitem__(self, slug: str) -> Any:
        content = self._inputs[slug]
        if content.form == "value":
            return content.value
        if content.series_key is None:
            return content.path
        if content.socket.kind == "DCMIS":
            return displayed(open_stack(_catalog(self._task), content.series_key))
        return self.volume(slug)

    def __iter__(self) -> Iterator[str]:
        return iter(self._inputs)

    def __len__(self) -> int:
        return len(self._inputs)

    @property
    def input_folder(self) -> Path:
        """Folder with the inputs as files, like ``/input`` of a container; written on first use."""
        path = self._task.folder / "input"
        if not path.exists():
            write_inputs(self._task, _catalog(self._task), path)
        return path

    @property
    def folder(self) -> Path:
        """Writable folder, initially empty, for files to return."""
        path = self._task.folder / "files"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def volume(self, slug: str) -> LazyVolume:
        """Return an input that is a series as a volume."""
        if slug not in self._volumes:
            key = self._inputs[slug].series_key
            assert key is not None
            self._volumes[slug] = volume_of(_catalog(self._task), key)
        return self._volumes[slug]

    def series(self, slug: str) -> str | None:
        """Return the series key of an input; None if it is not a series."""
        return self._inputs[slug].series_key


def _catalog(task: Task) -> Catalog:
    key = (task.root, task.version)
    if key not in _catalogs:
        _catalogs.clear()
        _catalogs[key] = open_catalog(task.root, task.version, threads=1)
    return _catalogs[key]


def load(function: str, code_sha256: str | None) -> Callable[[Any], Mapping[str, Any]]:
    """Import a function, ``module:name`` or ``/path/file.py:name``.

    Raises
    ------
    AlgorithmError
        It does not exist or cannot be imported, or its file has changed since the algorithm was
        created.
    """
    key = (function, code_sha256 or "")
    if key not in _functions:
        require_same_code(function, code_sha256)
        location, _, name = function.rpartition(":")
        try:
            module = _imported(location)
            _functions[key] = getattr(module, name)
        except AttributeError:
            raise AlgorithmError(f"{location!r} has no function {name!r}") from None
    return _functions[key]


def require_same_code(function: str, code_sha256: str | None) -> None:
    """Check that the file of a function has not changed since the algorithm was created.

    Raises
    ------
    AlgorithmError
    """
    if code_sha256 and code_digest(function) != code_sha256:
        raise AlgorithmError(
            "the code of the function has changed since the algorithm was created; "
            "create its next version with dicom-warehouse algorithm create"
        )


class _UncachedLoader(importlib.machinery.SourceFileLoader):
    """A loader that compiles the file each time, without cached bytecode.

    Cached bytecode is matched by modification time in seconds and size of the file, so outdated
    code could run under the digest of the new file.
    """

    def get_code(self, _fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def _imported(location: str) -> Any:
    """Import a module by name, or from a file."""
    try:
        if not location.endswith(".py"):
            return importlib.import_module(location)
        name = f"dicom_warehouse_{Path(location).stem}"
        spec = importlib.util.spec_from_file_location(
            name, location, loader=_UncachedLoader(name, location)
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001 - importing a module can raise anything
        raise AlgorithmError(
            f"the module {location!r} cannot be imported: {type(error).__name__}"
        ) from None
    return module


def perform(task: Task) -> Done:
    """Run the function of a task in this process, and return its result."""
    done = Done(task.spec.job_id, "failed", NAME)
    done.began_at = now()
    stdout, stderr = Tail(), Tail()
    redirected = contextlib.redirect_stdout, contextlib.redirect_stderr
    try:
        with _resource_limits(task), redirected[0](stdout), redirected[1](stderr):
            _call(task, done)
    except MemoryError:
        done.error = MEMORY_TEXT
    except (WarehouseError, InputRefused) as error:
        done.error = str(error)
    except KeyboardInterrupt:
        done.what = "interrupted"
    except BaseException as error:  # noqa: BLE001 - any exception of the function is its failure
        # The message may contain a header value, so it goes only to the log of the job.
        done.error = f"the function raised {type(error).__name__}; see the log of the job"
        stderr.write("".join(traceback.format_exception(error)))
    done.ended_at = done.ended_at or now()
    done.stdout, done.stderr = stdout.text(), stderr.text()
    return done


def _call(task: Task, done: Done) -> None:
    """Open the inputs, call the function, and collect its outputs."""
    assert task.algorithm.function is not None
    clear_folder(task.folder)  # left by a killed run
    began = time.perf_counter()
    case = CaseInputs(task)
    try:
        function = load(task.algorithm.function, task.algorithm.code_sha256)
        for content in task.inputs:
            if content.series_key and content.socket.kind != "DCMIS":
                _open_volume(case, content, done)
    except AlgorithmError as error:
        done.what, done.error = "not provisioned", str(error)
    if done.what == "not provisioned":
        return
    done.provisioned_at = done.started_at = now()
    call_start = time.perf_counter()
    returned = function(case)
    call_end = time.perf_counter()
    done.invoke_seconds = call_end - call_start
    done.values = _collected(task, case, returned)
    done.exec_seconds = time.perf_counter() - began
    done.what, done.exit_code = "executed", 0


def _open_volume(case: CaseInputs, content: Content, done: Done) -> None:
    """Open an input volume; mark the task as not provisioned if the series is not a volume."""
    try:
        volume = case.volume(content.socket.slug)
    except WarehouseError as error:
        why: str | None = str(error)
    else:
        why = None if volume.affine is not None else "its frames have no position in space"
    if why:
        done.what = "not provisioned"
        done.error = f"the series cannot be an input: {why}"
        done.details[content.socket.title] = why


def _collected(task: Task, case: CaseInputs, returned: Any) -> dict[str, Any]:
    """Return the JSON values, and write arrays and files to the output folder of the task."""
    expected = {socket.slug: socket for socket in task.outputs}
    if not isinstance(returned, Mapping):
        raise OutputRefused("the function must return a mapping of socket to value")
    unknown = sorted(str(slug) for slug in set(returned) - set(expected))
    if unknown:
        raise OutputRefused(
            f"the function returned {', '.join(unknown)}, which is not an output of it"
        )
    values = {}
    for slug, value in returned.items():
        socket = expected[slug]
        if socket.of_kind.is_image and isinstance(value, np.ndarray):
            _write_array(task, case, socket, value)
        elif isinstance(value, os.PathLike):
            _copy_file(task, socket, Path(value))
        else:
            values[slug] = _as_json(value)
            json_text.canonical(values[slug])
    return values


def _as_json(value: Any) -> Any:
    """Convert NumPy scalars and arrays in a value to Python objects."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return value


def _write_array(task: Task, case: CaseInputs, socket: Socket, array: np.ndarray) -> None:
    """Write an array as an image on the grid of the reference input volume."""
    slugs = [content.socket.slug for content in task.inputs if content.series_key == task.reference]
    if task.reference is None:
        raise OutputRefused(f"{socket.slug}: an array needs one input series with its grid")
    volume = case.volume(slugs[0])
    if volume.affine is None:
        raise OutputRefused(
            f"{socket.slug}: the frames of the input series have no position in space"
        )
    target = task.folder / "output" / socket.relative_path / "output.mha"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_array(array, volume.affine, target)


def _copy_file(task: Task, socket: Socket, path: Path) -> None:
    """Copy a returned file to the output folder of the task."""
    target = task.folder / "output" / socket.relative_path
    if socket.of_kind.is_image:
        target /= path.name
    if path.is_symlink() or not path.is_file():
        raise OutputRefused(f"{socket.slug}: the returned path is not a regular file")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


@contextlib.contextmanager
def _resource_limits(task: Task) -> Iterator[None]:
    """Set the time limit (SIGALRM ends the process) and memory limit of this process.

    Nothing is limited outside of the main thread, because a thread cannot set its own alarm.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = resource.getrlimit(resource.RLIMIT_DATA)
    limit = task.spec.requires_memory_gb << 30
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, task.seconds)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, previous[1]))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_DATA, previous)
