"""Collect and validate the outputs of a task, all of them or none.

In: an executed ``Task``. Out: ``Prepared`` values, or ``OutputRefused`` with the error of each
socket. The folder was written by an untrusted program: symbolic links are not followed, only
regular files are opened, and number and sizes of files are checked before anything is read.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from warehouse.algorithms.mha import geometry_of, read_geometry, volume_of
from warehouse.components.set_files import IMAGE_SUFFIXES
from warehouse.components.values import MISSING, Given, Prepared, prepare
from warehouse.errors import OutputRefused, ValueRefused, WarehouseError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from warehouse.algorithms.tasks import Done, Task
    from warehouse.catalog.connect import Catalog
    from warehouse.components.sockets import Socket

MAX_FILES = 1000
"""Maximum number of entries in the folder of an image."""

MAX_BYTES = 4 << 30
"""Maximum size of one output in bytes."""


def collected(
    root: Path, task: Task, done: Done, sockets: Mapping[str, Socket], stack: ExitStack, *,
    folder: Path | None = None,
) -> dict[str, Prepared]:  # fmt: skip
    """Return the validated outputs of a task by socket; ``stack`` owns temporary copies.

    They are read from ``folder``, by default ``output`` in the folder of the task.

    Raises
    ------
    OutputRefused
        An output is missing or invalid for its socket.
    """
    outputs: dict[str, Prepared] = {}
    details: dict[str, str] = {}
    for socket in task.outputs:
        try:
            given = _as_given(task, done, socket, folder or task.folder / "output")
            outputs[socket.slug] = prepare(root, given, sockets, stack)
        except ValueRefused as error:
            path_prefix = "" if error.path == "$" else f"{error.path}: "
            details[socket.title] = f"{path_prefix}{error.why}"
        except (OutputRefused, WarehouseError) as error:
            details[socket.title] = str(error)
    if details:
        title, why = next(iter(details.items()))
        raise OutputRefused(f"output {title!r}: {why}", details)
    return outputs


def _as_given(task: Task, done: Done, socket: Socket, folder: Path) -> Given:
    """Return the value or file of an output for validation."""
    values = done.values or {}
    value: Any = values.get(socket.slug, MISSING)
    file = None
    if value is MISSING:
        file = find_output(folder, socket)
    about = task.spec.series_key
    name = f"{task.spec.algorithm}@{task.spec.algorithm_version}"
    return Given(
        socket.slug, value, file, about="series" if about else None, about_key=about,
        added_by=name, tool=task.spec.algorithm, tool_version=str(task.spec.algorithm_version),
    )  # fmt: skip


def find_output(folder: Path, socket: Socket) -> Path:
    """Return the path of the file of an output, below a folder that an algorithm wrote.

    Raises
    ------
    OutputRefused
        There is no file, more than one image, or the file is not a regular file or too large.
    """
    path = folder
    parts = socket.relative_path.split("/")
    for number, part in enumerate(parts):
        path /= part
        is_last = number == len(parts) - 1
        is_folder = not is_last or socket.of_kind.is_image
        _require_type(path, socket.relative_path, is_folder=is_folder)
    if not socket.of_kind.is_image:
        return path
    names = _entry_names(path, socket)
    images = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    if len(images) != 1:
        raise OutputRefused(
            f"{socket.relative_path} must contain one image (.mha, .tif, .nii), but contains "
            f"{len(images)}"
        )
    _require_type(path / images[0], socket.relative_path, is_folder=False)
    return path / images[0]


def _entry_names(folder: Path, socket: Socket) -> list[str]:
    """Return the sorted names in a folder; refuse too many or non-printable names."""
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) > MAX_FILES:
                raise OutputRefused(f"{socket.relative_path} contains more than {MAX_FILES} files")
            if not entry.name.isprintable():
                raise OutputRefused(
                    f"{socket.relative_path} contains a file with a non-printable name"
                )
    return sorted(names)


def _require_type(path: Path, shown: str, *, is_folder: bool) -> None:
    """Check the type of one component of a path, without following links."""
    try:
        info = path.lstat()
    except OSError:
        raise OutputRefused(f"{shown} was not produced") from None
    if stat.S_ISLNK(info.st_mode):
        raise OutputRefused(f"{shown} is a symbolic link, which is not followed")
    if is_folder != stat.S_ISDIR(info.st_mode) or not (is_folder or stat.S_ISREG(info.st_mode)):
        expected = "folder" if is_folder else "file"
        raise OutputRefused(f"{shown} is not a {expected}")
    if not is_folder and info.st_size > MAX_BYTES:
        raise OutputRefused(f"{shown} is larger than {MAX_BYTES >> 30} GiB")
    if not os.access(path, os.R_OK | (os.X_OK if is_folder else 0)):
        raise OutputRefused(f"{shown} cannot be read: permission denied")


def misplaced(task: Task, catalog: Catalog, outputs: Mapping[str, Prepared]) -> dict[str, str]:
    """Return warnings for images on another grid than the input series, by title of socket.

    The images are kept, as an algorithm may resample. Files that cannot be compared have a warning,
    too.
    """
    series = task.reference
    images = [
        (output.socket, output.content.file) for output in outputs.values()
        if output.socket.kind in {"SEG", "HMAP", "IMG"} and output.content.file is not None
    ]  # fmt: skip
    if series is None or not images:
        return {}
    try:
        volume = volume_of(catalog, series)
    except WarehouseError:
        return {}
    if volume.affine is None:
        return {}
    expected = geometry_of(volume.shape[-3:], volume.affine)
    warnings = {}
    for socket, file in images:
        geometry = read_geometry(file)
        if geometry is None:
            warnings[socket.title] = (
                "it was not compared with the input series: it is not a three-dimensional .mha "
                "file with a geometry"
            )
        elif not geometry.is_close(expected):
            warnings[socket.title] = "its grid of voxels differs from that of the input series"
    return warnings
