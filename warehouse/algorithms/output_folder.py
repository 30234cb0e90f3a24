"""Collect and validate the outputs of a task, all of them or none.

In: a ``Task`` that was executed. Out: ``Prepared`` values, or ``OutputRefused`` with what is wrong
with each socket. No link is followed, nothing that is no plain file is opened, and number and sizes
are bounded before anything is read: the folder is that of a program nobody knows.
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
"""Entries that the folder of an image may have."""

MAX_BYTES = 4 << 30
"""Bytes that one output may have."""


def collected(
    root: Path, task: Task, done: Done, sockets: Mapping[str, Socket], stack: ExitStack, *,
    folder: Path | None = None,
) -> dict[str, Prepared]:  # fmt: skip
    """Return the outputs of a task by socket; copies of files go when ``stack`` ends.

    They lie in ``folder``, which is that of the task by default.

    Raises
    ------
    OutputRefused
        One of them is missing or not what its socket takes.
    """
    found: dict[str, Prepared] = {}
    details: dict[str, str] = {}
    for socket in task.outputs:
        try:
            given = _given(task, done, socket, folder or task.folder / "output")
            found[socket.slug] = prepare(root, given, sockets, stack)
        except ValueRefused as error:
            where = "" if error.path == "$" else f"{error.path}: "
            details[socket.title] = f"{where}{error.why}"
        except (OutputRefused, WarehouseError) as error:
            details[socket.title] = str(error)
    if details:
        title, why = next(iter(details.items()))
        raise OutputRefused(f"output {title!r}: {why}", details)
    return found


def _given(task: Task, done: Done, socket: Socket, folder: Path) -> Given:
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
    """Return the file of an output, below a folder that an algorithm wrote.

    Raises
    ------
    OutputRefused
        There is none, more than one, or it is no plain file of a size that can be.
    """
    path = folder
    parts = socket.relative_path.split("/")
    for number, part in enumerate(parts):
        path /= part
        is_last = number == len(parts) - 1
        is_folder = not is_last or socket.of_kind.is_image
        _require(path, socket.relative_path, is_folder=is_folder)
    if not socket.of_kind.is_image:
        return path
    names = _names(path, socket)
    images = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    if len(images) != 1:
        raise OutputRefused(
            f"{socket.relative_path} has to hold one image (.mha, .tif, .nii), and holds "
            f"{len(images)}"
        )
    _require(path / images[0], socket.relative_path, is_folder=False)
    return path / images[0]


def _names(folder: Path, socket: Socket) -> list[str]:
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            names.append(entry.name)
            if len(names) > MAX_FILES:
                raise OutputRefused(f"{socket.relative_path} holds more than {MAX_FILES} files")
            if not entry.name.isprintable():
                raise OutputRefused(
                    f"{socket.relative_path} holds a file with a name that cannot be printed"
                )
    return sorted(names)


def _require(path: Path, shown: str, *, is_folder: bool) -> None:
    """Check one part of a path, without following it."""
    try:
        found = path.lstat()
    except OSError:
        raise OutputRefused(f"{shown} was not produced") from None
    if stat.S_ISLNK(found.st_mode):
        raise OutputRefused(f"{shown} is a link, which is not followed")
    if is_folder != stat.S_ISDIR(found.st_mode) or not (is_folder or stat.S_ISREG(found.st_mode)):
        wanted = "folder" if is_folder else "file"
        raise OutputRefused(f"{shown} is no {wanted}")
    if not is_folder and found.st_size > MAX_BYTES:
        raise OutputRefused(f"{shown} has more than {MAX_BYTES >> 30} GiB")
    if not os.access(path, os.R_OK | (os.X_OK if is_folder else 0)):
        raise OutputRefused(f"{shown} may not be read: its permissions forbid it")


def misplaced(task: Task, catalog: Catalog, outputs: Mapping[str, Prepared]) -> dict[str, str]:
    """Return the images that do not lie where the input series lies, by title of their socket.

    They are kept: an algorithm may resample. Of files that are not compared, that is said.
    """
    series = task.reference
    images = [
        (each.socket, each.content.file) for each in outputs.values()
        if each.socket.kind in {"SEG", "HMAP", "IMG"} and each.content.file is not None
    ]  # fmt: skip
    if series is None or not images:
        return {}
    try:
        volume = volume_of(catalog, series)
    except WarehouseError:
        return {}
    if volume.affine is None:
        return {}
    wanted = geometry_of(volume.shape[-3:], volume.affine)
    away = {}
    for socket, file in images:
        geometry = read_geometry(file)
        if geometry is None:
            away[socket.title] = (
                "it was not compared with the input series: it is no .mha of three axes with a "
                "geometry"
            )
        elif not geometry.is_close(wanted):
            away[socket.title] = "its voxels do not lie where those of the input series lie"
    return away
