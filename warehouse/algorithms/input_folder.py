"""Write the inputs of a job to the folder that is mounted at ``/input``.

In: a ``Task``. Out: a folder with a file or folder per socket, and ``inputs.json``. JSON values are
written, files are copied, and a series becomes one ``.mha`` with its exact geometry, or its DICOM
files. All files are readable by every user.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.algorithms.mha import volume_of, write_volume
from warehouse.algorithms.unzip import unzip
from warehouse.components.images import suffix_of
from warehouse.dicom.open import open_source
from warehouse.dicom.source import known_source
from warehouse.errors import NotAsIngested, SourceChanged, SourceError, WarehouseError
from warehouse.settings import S3Access
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from warehouse.algorithms.tasks import Content, Task
    from warehouse.catalog.connect import Catalog

DECOMPRESSED = "predictions-zip-file"
"""Slug of the socket whose ZIP file is unpacked into its folder, as on Grand Challenge."""


class InputRefused(Exception):
    """An input cannot be written; ``title`` is the title of its socket."""

    def __init__(self, title: str, why: str) -> None:
        self.title, self.why = title, why
        super().__init__(why)


def write_inputs(task: Task, catalog: Catalog, folder: Path) -> None:
    """Write the inputs of a task into an empty folder.

    Raises
    ------
    InputRefused
        A series is not a volume, or a file is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for content in task.inputs:
        try:
            entries.append(_write_input(content, catalog, folder))
        except WarehouseError as error:
            raise InputRefused(content.socket.title, str(error)) from None
    text = json.dumps(entries, ensure_ascii=False, indent=1)
    (folder / "inputs.json").write_text(text, encoding="utf-8")
    readable(folder)


def _write_input(content: Content, catalog: Catalog, folder: Path) -> dict[str, Any]:
    """Write one input and return its entry in ``inputs.json``."""
    socket = content.socket
    target = folder / content.prefix / socket.relative_path
    target.parent.mkdir(parents=True, exist_ok=True)
    name = None
    if content.form == "value":
        target.write_text(json.dumps(content.value, ensure_ascii=False), encoding="utf-8")
    elif content.series_key is not None:
        target.mkdir(parents=True)
        name = content.name
        if socket.kind == "DCMIS":
            _write_dicom(catalog, content.series_key, target)
        else:
            name = f"{content.pk}.mha"
            write_volume(volume_of(catalog, content.series_key), target / name)
    else:
        assert content.path is not None
        if content.form == "image":
            target.mkdir(parents=True)
            name = f"{content.pk}{suffix_of(content.path)}"
            shutil.copyfile(content.path, target / name)
        elif socket.slug == DECOMPRESSED:
            unzip(content.path, target.parent)
        else:
            shutil.copyfile(content.path, target)
    socket_json = socket.serialized()
    return {
        "interface": socket_json,
        "socket": socket_json,
        "value": content.value if content.form == "value" else None,
        "file": socket.relative_path if content.form == "file" else None,
        "image": {"pk": content.pk, "name": name} if name is not None else None,
        "pk": content.pk,
    }


def _write_dicom(catalog: Catalog, series_key: str, target: Path) -> None:
    """Copy the files of a series, as they were ingested, to ``<SOPInstanceUID>.dcm``."""
    query = statement("series_files", "components")
    rows = catalog.connection.execute(query, [series_key]).fetchall()
    access = S3Access.from_variables(os.environ)
    for name, path, size_bytes, modified_us in rows:
        if os.path.basename(name) != name:
            raise SourceError("a SOP Instance UID of the series cannot be the name of a file")
        try:
            source = known_source(path, size_bytes, modified_us, access)
            with open_source(source) as file, (target / f"{name}.dcm").open("xb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
                copied_bytes = copy.tell()
        except NotAsIngested as error:
            raise SourceChanged(path, str(error)) from None
        if copied_bytes != size_bytes:
            raise SourceChanged(path, "its size is not that of its ingest")


def readable(folder: Path) -> None:
    """Make a folder tree readable by every user; symbolic links are not followed."""
    folder.chmod(0o755)
    for parent, folders, names in os.walk(folder):
        for mode, entries in ((0o755, folders), (0o644, names)):
            for name in entries:
                if not os.path.islink(os.path.join(parent, name)):
                    Path(parent, name).chmod(mode)


def invocation(task: Task) -> list[dict[str, Any]]:
    """Return the ``invocation.json`` of Grand Challenge for a job: the location of each input.

    >>> invocation  # doctest: +ELLIPSIS
    <function invocation at ...>
    """
    prefix = f"io/{task.name}"
    inputs = []
    for content in task.inputs:
        path = content.socket.relative_path
        if content.form in {"image", "series"} and content.socket.kind != "DCMIS":
            suffix = ".mha" if content.path is None else suffix_of(content.path)
            path += f"/{content.pk}{suffix}"
        folder = f"{content.prefix.rstrip('/')}/" if content.prefix else ""
        inputs.append(
            {
                "relative_path": f"{folder}{path}",
                "bucket_name": "input",
                "bucket_key": f"{prefix}/{folder}{path}",
                "decompress": content.socket.slug == DECOMPRESSED,
            }
        )
    inputs.append(
        {"relative_path": "inputs.json", "bucket_name": "input",
         "bucket_key": f"{prefix}/inputs.json", "decompress": False}
    )  # fmt: skip
    return [
        {"pk": task.name, "inputs": inputs, "output_bucket_name": "output",
         "output_prefix": prefix, "timeout": f"{int(task.seconds)}s"}
    ]  # fmt: skip
