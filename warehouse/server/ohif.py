"""Install the OHIF viewer from its npm tarball.

In: the file that ``npm pack @ohif/app`` writes, of one version with a pinned digest. Out: its built
pages, without unused parts. No code of it is run, and no file is written outside of the folder.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import tarfile
import uuid
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from warehouse.errors import ExportFailed, TargetExists, UsageError, cause_of

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "3.13.2"
INTEGRITY = (
    "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjk"
    "ycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
)
"""Digest of the tarball, as npm's registry states it."""
MOST_BYTES = 256 << 20
"""Limit of the total size of the unpacked files."""
_DIST = PurePosixPath("package/dist")
_OMITTED = {"ort", "dicom-microscopy-viewer", "app-config.js"}
"""Omitted: a runtime for neural networks, a slide viewer, the configuration of another server."""


def install(tarball: Path, target: Path, *, force: bool = False) -> int:
    """Unpack the viewer; return the total size of its files in bytes.

    Parameters
    ----------
    tarball
        ``ohif-app-3.13.2.tgz``.
    target
        Folder that does not exist yet.
    force
        Replace an existing viewer.

    Raises
    ------
    UsageError
        The tarball has another digest, has no index.html, is too large or cannot be unpacked.
    TargetExists, ExportFailed
    """
    if target.exists() and not (force and (target / "index.html").is_file()):
        raise TargetExists(target, "replace a viewer with --force")
    draft = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with tarball.open("rb") as file:
            digest = hashlib.file_digest(file, "sha512").digest()
        actual = f"sha512-{base64.b64encode(digest).decode()}"
        if actual != INTEGRITY:
            raise UsageError(
                f"{tarball} is not @ohif/app {VERSION}: its digest is {actual}, not {INTEGRITY}; "
                f"get it with: npm pack @ohif/app@{VERSION}"
            )
        draft.mkdir(parents=True)
        size = sum(_unpack(tarball, draft))
        if not (draft / "index.html").is_file():
            raise UsageError(f"{tarball} has no index.html")
        if target.exists():
            shutil.rmtree(target)
        draft.rename(target)
    except OSError as error:
        raise ExportFailed(f"the viewer to {target}", cause_of(error)[0]) from error
    except tarfile.TarError as error:
        raise UsageError(f"{tarball} cannot be unpacked: {type(error).__name__}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return size


def _unpack(tarball: Path, folder: Path) -> Iterator[int]:
    total = 0
    with tarfile.open(tarball, "r:gz") as archive:
        for member in archive:
            name = PurePosixPath(member.name)
            if not member.isfile() or not name.is_relative_to(_DIST):
                continue
            inner = name.relative_to(_DIST)
            if ".." in inner.parts or inner.parts[0] in _OMITTED or inner.suffix == ".map":
                continue
            total += member.size
            if total > MOST_BYTES:
                raise UsageError(f"{tarball} unpacks to more than {MOST_BYTES >> 20} MiB")
            target = folder / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            source = archive.extractfile(member)
            assert source is not None
            with source, target.open("xb") as out:
                shutil.copyfileobj(source, out)
            yield member.size
