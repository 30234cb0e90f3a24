"""Runs a Python function over cases, in worker processes: features without containers.

In: a ``Task``. Out: ``Done`` with the JSON values that the function returned; arrays and files lie
in the folder of the task, as a container would have left them. The worker is killed by the kernel
when the time of the task is over, and gets ``MemoryError`` beyond the memory that it asked for.
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
from warehouse.algorithms.mha import volume_of, write_array
from warehouse.algorithms.registry import code_digest
from warehouse.algorithms.scratch import clear_folder
from warehouse.algorithms.tasks import MEMORY_TEXT, Content, Done, Task
from warehouse.catalog.connect import Catalog, open_catalog
from warehouse.components import json_text
from warehouse.components.checking import now
from warehouse.errors import AlgorithmError, OutputRefused, WarehouseError
from warehouse.pixels.stack import open_stack
from warehouse.pixels.values import Values

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    from warehouse.components.sockets import Socket
    from warehouse.pixels.volume import LazyVolume

NAME = "python"

_catalogs: dict[tuple[Path, int], Catalog] = {}
_functions: dict[tuple[str, str], Callable[[Any], Mapping[str, Any]]] = {}


class CaseInputs(Mapping[str, Any]):
    """What a function is given: its inputs by socket.

    A series is a ``LazyVolume`` in the unit of its modality (Hounsfield units of a CT), whose
    voxels are read when they are sliced; of a socket for DICOM image sets it is a ``Stack`` of
    frames, which any series has. JSON is as Python has it; a file or an image that is no series is
    the ``Path`` of it.

    Attributes
    ----------
    series_key
        The series that the outputs will be about; None without one.
    item
        Item of a set; None without one.

    Examples
    --------
    A function that can be run::

        def measure(case):
            volume = case["ct"]
            return {"mean-value": float(volume[:].mean())}
    """

    def __init__(self, task: Task) -> None:
        # Of an evaluation a socket has many values, which are read as files.
        self._inputs = {each.socket.slug: each for each in task.inputs}
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
            return open_stack(_catalog(self._task), content.series_key, values=Values(rescale=True))
        return self.volume(slug)

    def __iter__(self) -> Iterator[str]:
        return iter(self._inputs)

    def __len__(self) -> int:
        return len(self._inputs)

    @property
    def input_folder(self) -> Path:
        """Folder with the inputs as files, as a container finds them in ``/input``."""
        path = self._task.folder / "input"
        if not path.exists():
            write_inputs(self._task, _catalog(self._task), path)
        return path

    @property
    def folder(self) -> Path:
        """Folder that is empty and writable, for files to return."""
        path = self._task.folder / "files"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def volume(self, slug: str) -> LazyVolume:
        """Return a series as volume."""
        if slug not in self._volumes:
            key = self._inputs[slug].series_key
            assert key is not None
            self._volumes[slug] = volume_of(_catalog(self._task), key)
        return self._volumes[slug]

    def series(self, slug: str) -> str | None:
        """Return the SeriesInstanceUID of an input that is a series."""
        return self._inputs[slug].series_key


def _catalog(task: Task) -> Catalog:
    key = (task.root, task.version)
    if key not in _catalogs:
        _catalogs.clear()
        _catalogs[key] = open_catalog(task.root, task.version, threads=1)
    return _catalogs[key]


def load(function: str, code_sha256: str | None) -> Callable[[Any], Mapping[str, Any]]:
    """Return a function by its name.

    Raises
    ------
    AlgorithmError
        It is not there, or its file is not what it was when the algorithm was made.
    """
    key = (function, code_sha256 or "")
    if key not in _functions:
        require_same_code(function, code_sha256)
        place, _, name = function.rpartition(":")
        try:
            module = _module(place)
            _functions[key] = getattr(module, name)
        except AttributeError:
            raise AlgorithmError(f"there is no function {name!r} in {place!r}") from None
    return _functions[key]


def require_same_code(function: str, code_sha256: str | None) -> None:
    """Check that the file of a function is what it was when the algorithm was made.

    Raises
    ------
    AlgorithmError
    """
    if code_sha256 and code_digest(function) != code_sha256:
        raise AlgorithmError(
            "the code of the function has changed since the algorithm was made; "
            "dicom-warehouse algorithm create makes the next version of it"
        )


class _Source(importlib.machinery.SourceFileLoader):
    """Compiles the file each time.

    Kept bytecode is taken for a file by the second of its change and its size: the code of an older
    version of a function would run under the digest of the newest.
    """

    def get_code(self, _fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def _module(place: str) -> Any:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        name = f"dicom_warehouse_{Path(place).stem}"
        found = importlib.util.spec_from_file_location(name, place, loader=_Source(name, place))
        assert found is not None
        assert found.loader is not None
        module = importlib.util.module_from_spec(found)
        sys.modules[found.name] = module
        found.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001 - whatever a module raises when it is imported
        raise AlgorithmError(
            f"the module {place!r} cannot be imported: {type(error).__name__}"
        ) from None
    return module


def perform(task: Task) -> Done:
    """Run the function of a task in this process, and take what it returns."""
    done = Done(task.spec.job_id, "failed", NAME)
    done.began_at = now()
    stdout, stderr = Tail(), Tail()
    redirected = contextlib.redirect_stdout, contextlib.redirect_stderr
    try:
        with _limited(task), redirected[0](stdout), redirected[1](stderr):
            _call(task, done)
    except MemoryError:
        done.error = MEMORY_TEXT
    except (WarehouseError, InputRefused) as error:
        done.error = str(error)
    except KeyboardInterrupt:
        done.what = "interrupted"
    except BaseException as error:  # noqa: BLE001 - whatever the function raises is its failure
        # Its message may hold a value of a header; the log is for who may see it.
        done.error = f"the function raised {type(error).__name__}; its log says where"
        stderr.write("".join(traceback.format_exception(error)))
    done.ended_at = done.ended_at or now()
    done.stdout, done.stderr = stdout.text(), stderr.text()
    return done


def _call(task: Task, done: Done) -> None:
    assert task.algorithm.function is not None
    clear_folder(task.folder)  # that a killed run left
    began = time.perf_counter()
    case = CaseInputs(task)
    try:
        function = load(task.algorithm.function, task.algorithm.code_sha256)
        for content in task.inputs:
            if content.series_key and content.socket.kind != "DCMIS":
                _provisioned(case, content, done)
    except AlgorithmError as error:
        done.what, done.error = "not provisioned", str(error)
    if done.what == "not provisioned":
        return
    done.provisioned_at = done.started_at = now()
    called = time.perf_counter()
    returned = function(case)
    ended = time.perf_counter()
    done.invoke_seconds = ended - called
    done.values = _outputs(task, case, returned)
    done.exec_seconds = time.perf_counter() - began
    done.what, done.exit_code = "executed", 0


def _provisioned(case: CaseInputs, content: Content, done: Done) -> None:
    """Open a volume; a series that is none is refused before the function is called."""
    try:
        volume = case.volume(content.socket.slug)
    except WarehouseError as error:
        why: str | None = str(error)
    else:
        why = None if volume.affine is not None else "its frames lie in no space"
    if why:
        done.what = "not provisioned"
        done.error = f"the series cannot be an input: {why}"
        done.details[content.socket.title] = why


def _outputs(task: Task, case: CaseInputs, returned: Any) -> dict[str, Any]:
    """Return the JSON values, and put arrays and files where an algorithm leaves them."""
    expected = {socket.slug: socket for socket in task.outputs}
    if not isinstance(returned, Mapping):
        raise OutputRefused("the function has to return a mapping of socket to value")
    unknown = sorted(str(slug) for slug in set(returned) - set(expected))
    if unknown:
        raise OutputRefused(f"the function returned {', '.join(unknown)}, which is no output of it")
    values = {}
    for slug, value in returned.items():
        socket = expected[slug]
        if socket.of_kind.is_image and isinstance(value, np.ndarray):
            _put_array(task, case, socket, value)
        elif isinstance(value, os.PathLike):
            _put_file(task, socket, Path(value))
        else:
            values[slug] = _plain(value)
            json_text.canonical(values[slug])
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _put_array(task: Task, case: CaseInputs, socket: Socket, array: np.ndarray) -> None:
    """Write an array where the voxels of the input volume lie that the job is about."""
    slugs = [each.socket.slug for each in task.inputs if each.series_key == task.reference]
    if task.reference is None:
        raise OutputRefused(f"{socket.slug}: an array needs one input series to lie on")
    volume = case.volume(slugs[0])
    if volume.affine is None:
        raise OutputRefused(f"{socket.slug}: the input series lies in no space")
    target = task.folder / "output" / socket.relative_path / "output.mha"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_array(array, volume.affine, target)


def _put_file(task: Task, socket: Socket, path: Path) -> None:
    target = task.folder / "output" / socket.relative_path
    if socket.of_kind.is_image:
        target /= path.name
    if path.is_symlink() or not path.is_file():
        raise OutputRefused(f"{socket.slug}: what the function returned is no plain file")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)


@contextlib.contextmanager
def _limited(task: Task) -> Iterator[None]:
    """Let the kernel end this process at the end of its time, and bound its memory.

    Only in the main thread of a worker: a thread cannot be given an alarm of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    most = task.spec.requires_memory_gb << 30
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, task.seconds)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (most, before[1]))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_DATA, before)
