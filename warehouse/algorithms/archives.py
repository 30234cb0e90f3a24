"""Archives of images, as ``docker save``, ``podman save`` and ``crane`` write them.

In: a tar file, packed with gzip or xz or not at all. Out: ``ImageArchive``, if the seven rules of
Grand Challenge hold, or ``ArchiveRefused``. It is read once from front to back; nothing of it is
unpacked to the disk. Layers are unpacked only for runners that have no engine, below a folder that
no name of the archive can leave.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import re
import shutil
import stat
import tarfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from warehouse.errors import ArchiveRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_MEMBERS = 100_000
MAX_TEXT = 4 << 20
"""Bytes of a description in an archive: manifests and configurations."""

MAX_TEXTS = 64 << 20
MAX_UNPACKED = 256 << 30
"""Bytes that an archive may have when it is unpacked."""

MAX_DESCRIPTION = 1 << 20
"""Bytes of a long name, or of the attributes of a member."""

_DESCRIBING = frozenset({
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
})  # fmt: skip

API_LABEL = "org.grand-challenge.api-method"

_DIGEST = re.compile(r"(?:^|[/:])([0-9a-f]{64})(?:\.json)?$")
_BROKEN = (
    tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError,
    RecursionError,  # of headers that only describe further headers
)  # fmt: skip


class Member(tarfile.TarInfo):
    """A header of an archive that takes bounded memory to read.

    Long names and attributes are blocks of any size that ``tarfile`` reads at once, and the map of
    a sparse file goes on for as long as it says.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read one header, which may announce such a block."""
        member = super().frombuf(buf, encoding, errors)
        is_described = member.type in _DESCRIBING and member.size > MAX_DESCRIPTION
        if is_described or member.type == tarfile.GNUTYPE_SPARSE:
            raise ArchiveRefused("a name or an attribute in it is longer than any has to be")
        return member


@dataclass(frozen=True, slots=True)
class ImageArchive:
    """An image in an archive."""

    sha256: str
    """Digest of its configuration: the id under which engines know it."""
    layers: tuple[str, ...]
    """Members of the archive, the lowest layer first."""
    size: int
    """Bytes of layers and configuration in the archive."""
    api_method: str
    """``exec`` or ``invoke``, as its label says."""
    config: dict[str, Any]
    """``User``, ``Env``, ``Entrypoint``, ``Cmd``, ``WorkingDir``."""
    diff_ids: tuple[str, ...] = ()
    """Digests of its layers, not packed, as its configuration has them."""


@dataclass(slots=True)
class _Listing:
    sizes: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)

    def text(self, name: str) -> bytes | None:
        return self.texts.get(self.resolved(name))

    def resolved(self, name: str) -> str:
        for _ in range(8):
            if name not in self.links:
                break
            name = self.links[name]
        return name


def read_archive(path: Path) -> ImageArchive:
    """Return the image of an archive.

    Raises
    ------
    ArchiveRefused
        The archive cannot be read, holds no image or several, or one that may not be run: as root,
        or for another kind of processor.
    """
    listing = _listed(path)
    config_name, layers = _described(listing)
    config_text = listing.text(config_name)
    if config_text is None:
        raise ArchiveRefused("the configuration that its manifest names is not in the archive")
    found = _DIGEST.search(config_name)
    digest = hashlib.sha256(config_text).hexdigest()
    if found is None or found[1] != digest:
        raise ArchiveRefused("the name of its configuration is not the digest of its content")
    config = _json(config_text, "configuration")
    if not isinstance(config, dict) or not isinstance(config.get("config") or {}, dict):
        raise ArchiveRefused("its configuration is no object of JSON")
    how = config.get("config") or {}
    user = str(how.get("User") or "").strip()
    if user.lower() in {"", "0", "root"} or user.lower().startswith(("0:", "root:")):
        raise ArchiveRefused("its user is root; write USER in the Dockerfile, with any other user")
    if config.get("architecture") != "amd64":
        raise ArchiveRefused("it is for another processor; build it with --platform linux/amd64")
    missing = [name for name in layers if listing.resolved(name) not in listing.sizes]
    if missing:
        raise ArchiveRefused(f"{len(missing)} of its layers are not in the archive")
    labels = how.get("Labels") or {}
    method = labels.get(API_LABEL, "exec") if isinstance(labels, dict) else "exec"
    if method not in {"exec", "invoke"}:
        raise ArchiveRefused(f"its label {API_LABEL} is neither exec nor invoke")
    kept = {name: how.get(name) for name in ("User", "Env", "Entrypoint", "Cmd", "WorkingDir")}
    size = sum(listing.sizes[listing.resolved(name)] for name in layers) + len(config_text)
    return ImageArchive(
        digest, tuple(listing.resolved(name) for name in layers), size, str(method), kept,
        _diff_ids(config),
    )  # fmt: skip


def _diff_ids(config: dict[str, Any]) -> tuple[str, ...]:
    root = config.get("rootfs")
    found = root.get("diff_ids") if isinstance(root, dict) else None
    return tuple(str(each) for each in found) if isinstance(found, list) else ()


def _listed(path: Path) -> _Listing:
    """Read an archive from front to back, and keep what describes it."""
    found = _Listing()
    kept = unpacked = 0
    try:
        with tarfile.open(path, "r|*", tarinfo=Member) as tar:
            for number, member in enumerate(tar):
                unpacked += member.size
                if number >= MAX_MEMBERS or unpacked > MAX_UNPACKED:
                    raise ArchiveRefused("it is beyond what an image may be")  # noqa: TRY301
                name = os.path.normpath(member.name)
                if member.issym():
                    target = os.path.join(os.path.dirname(name), member.linkname)
                    found.links[name] = os.path.normpath(target)
                if not member.isreg():
                    continue
                found.sizes[name] = member.size
                if member.size <= MAX_TEXT and kept + member.size <= MAX_TEXTS:
                    file = tar.extractfile(member)
                    head = file.read() if file else b""
                    if head.lstrip()[:1] in {b"{", b"["}:
                        found.texts[name] = head
                        kept += len(head)
    except ArchiveRefused:
        raise
    except _BROKEN:
        raise ArchiveRefused("it is no tar archive that can be read, or it is cut off") from None
    return found


def _described(listing: _Listing) -> tuple[str, list[str]]:
    """Return the name of the configuration and those of the layers."""
    text = listing.text("manifest.json")
    if text is None:
        return _of_layout(listing)
    manifest = _json(text, "manifest")
    if not isinstance(manifest, list) or len(manifest) != 1:
        raise ArchiveRefused("it has to hold exactly one image; save one by its name and tag")
    entry = manifest[0]
    config = entry.get("Config") if isinstance(entry, dict) else None
    layers = entry.get("Layers") if isinstance(entry, dict) else None
    if not isinstance(config, str) or not isinstance(layers, list):
        raise ArchiveRefused("its manifest names no configuration")
    return os.path.normpath(config), [os.path.normpath(str(layer)) for layer in layers]


def _of_layout(listing: _Listing) -> tuple[str, list[str]]:
    """Return the same of an archive that is an OCI layout alone."""
    text = listing.text("index.json")
    if text is None:
        raise ArchiveRefused("it has no manifest.json; save the image with docker or podman")
    manifests = _part(_json(text, "index"), "manifests")
    if len(manifests) != 1:
        raise ArchiveRefused("it has to hold exactly one image; save one by its name and tag")
    manifest = _json(listing.text(_blob(manifests[0])) or b"null", "manifest")
    if not isinstance(manifest, dict):
        raise ArchiveRefused("its manifest is not in the archive")
    return _blob(manifest.get("config")), [_blob(each) for each in _part(manifest, "layers")]


def _part(found: Any, name: str) -> list[Any]:
    part = found.get(name) if isinstance(found, dict) else None
    if not isinstance(part, list):
        raise ArchiveRefused(f"it names no {name}")
    return part


def _blob(descriptor: Any) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise ArchiveRefused("it names a part without a SHA-256")
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _json(text: bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ArchiveRefused(f"its {what} is no JSON") from None


# -- unpacking ------------------------------------------------------------------------------------


def unpack_layers(path: Path, image: ImageArchive, target: Path) -> None:
    """Unpack the layers of an image, one over the other, for runners without an engine.

    Raises
    ------
    ArchiveRefused
        A name leads out of the folder, or a layer cannot be read.
    """
    try:
        with tarfile.open(path, "r:*", tarinfo=Member) as outer:
            for layer in image.layers:
                file = outer.extractfile(layer)
                if file is None:
                    raise ArchiveRefused("a layer is no file")  # noqa: TRY301
                with tarfile.open(fileobj=file, mode="r:*", tarinfo=Member) as tar:
                    unpack(tar, target)
    except ArchiveRefused:
        raise
    except (*_BROKEN, KeyError):
        raise ArchiveRefused("a layer cannot be unpacked") from None


def unpack(tar: tarfile.TarFile, target: Path) -> None:
    """Unpack files, folders and links of an archive; what it marks as removed is removed.

    Names are resolved below ``target`` as if that were the root of a disk, links too, so nothing
    lies outside of it. Devices are left out, as are owners and set-user bits.

    Raises
    ------
    ArchiveRefused
        There are too many files or bytes.
    """
    target.mkdir(parents=True, exist_ok=True)
    total = 0
    for number, member in enumerate(tar):
        total += member.size if member.isreg() else 0
        if number >= 10 * MAX_MEMBERS or total > MAX_UNPACKED:
            raise ArchiveRefused("the archive is beyond what may be unpacked")
        parts = [part for part in member.name.split("/") if part not in {"", "."}]
        if not parts:
            continue
        if ".." in parts or "\0" in member.name:
            raise ArchiveRefused("a name in the archive leads out of it")
        folder = inside(target, parts[:-1])
        folder.mkdir(parents=True, exist_ok=True)
        name = parts[-1]
        if name == ".wh..wh..opq":
            for each in list(folder.iterdir()):
                _remove(each)
        elif name.startswith(".wh."):
            gone = name.removeprefix(".wh.")
            if gone in {"", ".", ".."}:
                raise ArchiveRefused("a name in the archive leads out of it")
            _remove(folder / gone)
        else:
            _put(tar, member, folder / name, target)


def _put(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path, target: Path) -> None:
    if member.isdir():
        if place.is_symlink() or not place.is_dir():
            _remove(place)
            place.mkdir()
        place.chmod(0o755 | (member.mode & 0o777))
        return
    if not (member.isreg() or member.issym() or member.islnk()):
        return
    _remove(place)
    if member.issym():
        place.symlink_to(member.linkname)
    elif member.islnk():
        source = inside(target, [p for p in member.linkname.split("/") if p not in {"", ".", ".."}])
        if source.is_symlink() or not source.is_file():
            raise ArchiveRefused("a link in the archive leads to nothing in it")
        os.link(source, place)
    else:
        file = tar.extractfile(member)
        assert file is not None
        with place.open("xb") as written:
            shutil.copyfileobj(file, written, 1 << 20)
        place.chmod(stat.S_IMODE(member.mode) & 0o777 | 0o444)


def inside(target: Path, parts: list[str]) -> Path:
    """Return a place below ``target``, links resolved as if that were the root."""
    done: list[str] = []
    waiting = list(reversed(parts))
    for _ in range(4096):
        if not waiting:
            return target.joinpath(*done)
        part = waiting.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            done = done[:-1]
            continue
        place = target.joinpath(*done, part)
        if place.is_symlink():
            link = os.readlink(place)
            if link.startswith("/"):
                done = []
            waiting += reversed(link.split("/"))
            continue
        done.append(part)
    raise ArchiveRefused("links in the archive lead in circles")


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def model_members(path: Path) -> Iterator[str]:
    """Yield the names of a model archive, to see that it can be read.

    Raises
    ------
    ArchiveRefused
    """
    try:
        with tarfile.open(path, "r|gz", tarinfo=Member) as tar:
            total = 0
            for number, member in enumerate(tar):
                total += member.size
                if number >= 10 * MAX_MEMBERS or total > MAX_UNPACKED:
                    raise ArchiveRefused("it is beyond what a model may be")  # noqa: TRY301
                if ".." in member.name.split("/"):
                    raise ArchiveRefused("a name in it leads out of it")  # noqa: TRY301
                yield member.name
    except ArchiveRefused:
        raise
    except _BROKEN:
        raise ArchiveRefused("it is no tar archive packed with gzip, or it is cut off") from None
