"""Read and validate image archives written by ``docker save``, ``podman save`` and ``crane``.

In: a tar file, uncompressed or compressed with gzip, bzip2 or xz. Out: ``ImageArchive`` if it meets
the rules of Grand Challenge for images, else ``ArchiveRefused``. Validation reads the file once,
sequentially, and writes nothing to disk. Layers are unpacked only for runners without a container
engine, into a folder that no path in the archive can escape.
"""

from __future__ import annotations

import hashlib
import itertools
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
"""Maximum size in bytes of one JSON member: a manifest or configuration."""

MAX_TEXTS = 64 << 20
"""Maximum size in bytes of all JSON members that are held in memory."""

MAX_UNPACKED = 256 << 30
"""Maximum uncompressed size of an archive in bytes."""

MAX_DEPTH = 200
"""Maximum number of levels of folders; unpacked ones are walked recursively."""

MAX_DESCRIPTION = 1 << 20
"""Maximum size in bytes of an extended tar header: a GNU long name or pax attributes."""

_EXTENDED_HEADERS = frozenset({
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
})  # fmt: skip

API_LABEL = "org.grand-challenge.api-method"

_DIGEST = re.compile(r"(?:^|[/:])([0-9a-f]{64})(?:\.json)?$")
_READ_ERRORS = (
    tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError,
    RecursionError,  # extended headers that are followed by extended headers only
)  # fmt: skip


class Member(tarfile.TarInfo):
    """A tar header that is read with bounded memory.

    ``tarfile`` reads GNU long names and pax attributes into memory whatever their size, and the
    map of a sparse file to its end.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Parse one header; refuse a large extended header or a sparse file."""
        member = super().frombuf(buf, encoding, errors)
        is_too_large = member.type in _EXTENDED_HEADERS and member.size > MAX_DESCRIPTION
        if is_too_large or member.type == tarfile.GNUTYPE_SPARSE:
            raise ArchiveRefused("it has a tar header that is too long, or a sparse file")
        return member


@dataclass(frozen=True, slots=True)
class ImageArchive:
    """A container image in an archive."""

    sha256: str
    """SHA-256 of the image configuration, which container engines use as the image id."""
    layers: tuple[str, ...]
    """Names of the archive members with the layers, lowest layer first."""
    size: int
    """Size in bytes of layers and configuration as stored in the archive."""
    api_method: str
    """``exec`` or ``invoke``, from the label ``API_LABEL``; ``exec`` without one."""
    config: dict[str, Any]
    """``User``, ``Env``, ``Entrypoint``, ``Cmd``, ``WorkingDir``."""
    diff_ids: tuple[str, ...] = ()
    """Digests of the uncompressed layers, from ``rootfs.diff_ids`` of the configuration."""


@dataclass(slots=True)
class _Listing:
    """Members of an archive: sizes of files, targets of symbolic links, content of JSON files."""

    sizes: dict[str, int] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)

    def text(self, name: str) -> bytes | None:
        """Return the content of a JSON member, or None."""
        return self.texts.get(self.resolved(name))

    def resolved(self, name: str) -> str:
        """Follow symbolic links, at most eight."""
        for _ in range(8):
            if name not in self.links:
                break
            name = self.links[name]
        return name


def read_archive(path: Path) -> ImageArchive:
    """Validate an image archive and return its image.

    Raises
    ------
    ArchiveRefused
        The archive cannot be read, does not contain exactly one image, or the image runs as root
        or is for another processor architecture.
    """
    listing = _read_listing(path)
    config_name, layers = _config_and_layers(listing)
    config_text = listing.text(config_name)
    if config_text is None:
        raise ArchiveRefused("the configuration named in its manifest is not in the archive")
    name_match = _DIGEST.search(config_name)
    digest = hashlib.sha256(config_text).hexdigest()
    if name_match is None or name_match[1] != digest:
        raise ArchiveRefused("the name of its configuration is not the SHA-256 of its content")
    config = _json(config_text, "configuration")
    if not isinstance(config, dict) or not isinstance(config.get("config") or {}, dict):
        raise ArchiveRefused("its configuration is not a JSON object")
    settings = config.get("config") or {}
    user = str(settings.get("User") or "").strip()
    name = user.partition(":")[0].lower()
    if name in {"", "root"} or re.fullmatch(r"[+-]?0+", name):  # engines read 00 as 0
        raise ArchiveRefused("its user is root; set another user with USER in the Dockerfile")
    if config.get("architecture") != "amd64":
        raise ArchiveRefused("its architecture is not amd64; build it with --platform linux/amd64")
    missing = [name for name in layers if listing.resolved(name) not in listing.sizes]
    if missing:
        raise ArchiveRefused(f"{len(missing)} of its layers are not in the archive")
    labels = settings.get("Labels") or {}
    method = labels.get(API_LABEL, "exec") if isinstance(labels, dict) else "exec"
    if method not in {"exec", "invoke"}:
        raise ArchiveRefused(f"its label {API_LABEL} is neither exec nor invoke")
    runtime = {
        name: settings.get(name) for name in ("User", "Env", "Entrypoint", "Cmd", "WorkingDir")
    }
    values = [value if isinstance(value, list) else [value] for value in runtime.values()]
    if isinstance(runtime["Env"], str) or not all(
        value is None or (isinstance(value, str) and "\0" not in value)
        for value in itertools.chain(*values)
    ):
        raise ArchiveRefused("a user, variable, command or folder of its configuration is no text")
    size = sum(listing.sizes[listing.resolved(name)] for name in layers) + len(config_text)
    return ImageArchive(
        digest, tuple(listing.resolved(name) for name in layers), size, str(method), runtime,
        _diff_ids(config),
    )  # fmt: skip


def _diff_ids(config: dict[str, Any]) -> tuple[str, ...]:
    """Return the digests of the uncompressed layers in an image configuration."""
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    return tuple(str(digest) for digest in diff_ids) if isinstance(diff_ids, list) else ()


def _read_listing(path: Path) -> _Listing:
    """Read an archive sequentially; return member sizes, links and the content of JSON members."""
    listing = _Listing()
    text_bytes = unpacked = 0
    try:
        with tarfile.open(path, "r|*", tarinfo=Member) as tar:
            for number, member in enumerate(tar):
                unpacked += member.size
                if number >= MAX_MEMBERS or unpacked > MAX_UNPACKED:
                    raise ArchiveRefused("it has too many members or bytes")  # noqa: TRY301
                name = os.path.normpath(member.name)
                if member.issym():
                    target = os.path.join(os.path.dirname(name), member.linkname)
                    listing.links[name] = os.path.normpath(target)
                if not member.isreg():
                    continue
                listing.sizes[name] = member.size
                if member.size <= MAX_TEXT and text_bytes + member.size <= MAX_TEXTS:
                    file = tar.extractfile(member)
                    content = file.read() if file else b""
                    if content.lstrip()[:1] in {b"{", b"["}:
                        listing.texts[name] = content
                        text_bytes += len(content)
    except ArchiveRefused:
        raise
    except _READ_ERRORS:
        raise ArchiveRefused("it is not a readable tar file, or is truncated") from None
    return listing


def _config_and_layers(listing: _Listing) -> tuple[str, list[str]]:
    """Return the names of the members with the configuration and with the layers."""
    text = listing.text("manifest.json")
    if text is None:
        return _oci_config_and_layers(listing)
    manifest = _json(text, "manifest")
    if not isinstance(manifest, list) or len(manifest) != 1:
        raise ArchiveRefused("it must contain exactly one image; save one by its name and tag")
    entry = manifest[0]
    config = entry.get("Config") if isinstance(entry, dict) else None
    layers = entry.get("Layers") if isinstance(entry, dict) else None
    if not isinstance(config, str) or not isinstance(layers, list):
        raise ArchiveRefused("its manifest has no configuration or layers")
    return os.path.normpath(config), [os.path.normpath(str(layer)) for layer in layers]


def _oci_config_and_layers(listing: _Listing) -> tuple[str, list[str]]:
    """Return the same names for an OCI image layout, which has no ``manifest.json``."""
    text = listing.text("index.json")
    if text is None:
        raise ArchiveRefused("it has no manifest.json; save the image with docker or podman")
    manifests = _list_in(_json(text, "index"), "manifests")
    if len(manifests) != 1:
        raise ArchiveRefused("it must contain exactly one image; save one by its name and tag")
    manifest = _json(listing.text(_blob_name(manifests[0])) or b"null", "manifest")
    if not isinstance(manifest, dict):
        raise ArchiveRefused("its manifest is not in the archive")
    return _blob_name(manifest.get("config")), [
        _blob_name(layer) for layer in _list_in(manifest, "layers")
    ]


def _list_in(parsed: Any, name: str) -> list[Any]:
    """Return a list in a JSON object, or refuse the archive."""
    items = parsed.get(name) if isinstance(parsed, dict) else None
    if not isinstance(items, list):
        raise ArchiveRefused(f"it has no list of {name}")
    return items


def _blob_name(descriptor: Any) -> str:
    """Return the name of the member that a descriptor refers to."""
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise ArchiveRefused("it has a descriptor without a SHA-256 digest")
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _json(text: bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ArchiveRefused(f"its {what} is not valid JSON") from None


# -- unpacking ------------------------------------------------------------------------------------


def unpack_layers(path: Path, image: ImageArchive, target: Path) -> None:
    """Unpack the layers of an image in order into one folder, for runners without an engine.

    Raises
    ------
    ArchiveRefused
        A path points outside of the folder, or a layer cannot be read.
    """
    try:
        with tarfile.open(path, "r:*", tarinfo=Member) as outer:
            for layer in image.layers:
                file = outer.extractfile(layer)
                if file is None:
                    raise ArchiveRefused("a layer is not a file")  # noqa: TRY301
                with tarfile.open(fileobj=file, mode="r:*", tarinfo=Member) as tar:
                    unpack(tar, target)
    except ArchiveRefused:
        raise
    except (*_READ_ERRORS, KeyError):
        raise ArchiveRefused("a layer cannot be unpacked") from None


def unpack(tar: tarfile.TarFile, target: Path) -> None:
    """Unpack files, folders and links; apply whiteouts (``.wh.NAME``) as deletions.

    Paths and symbolic links are resolved with ``target`` as the root directory, so that nothing is
    written outside of it. Devices, owners, and setuid, setgid and sticky bits are omitted.

    Raises
    ------
    ArchiveRefused
        There are too many members, bytes or levels of folders, or a path or link points outside of
        ``target``.
    """
    target.mkdir(parents=True, exist_ok=True)
    total = 0
    for number, member in enumerate(tar):
        total += member.size if member.isreg() else 0
        if number >= 10 * MAX_MEMBERS or total > MAX_UNPACKED:
            raise ArchiveRefused("the archive has too many members or bytes to unpack")
        parts = [part for part in member.name.split("/") if part not in {"", "."}]
        if not parts:
            continue
        if ".." in parts or "\0" in member.name:
            raise ArchiveRefused("a path in the archive points outside of it")
        folder = inside(target, parts[:-1])
        if len(folder.relative_to(target).parts) > MAX_DEPTH:
            raise ArchiveRefused(f"its folders have more than {MAX_DEPTH} levels")
        folder.mkdir(parents=True, exist_ok=True)
        name = parts[-1]
        if name == ".wh..wh..opq":
            for child in list(folder.iterdir()):
                _remove(child)
        elif name.startswith(".wh."):
            deleted = name.removeprefix(".wh.")
            if deleted in {"", ".", ".."}:
                raise ArchiveRefused("a path in the archive points outside of it")
            _remove(folder / deleted)
        else:
            _write_member(tar, member, folder / name, target)


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path, target: Path) -> None:
    """Write one member to ``path``; skip devices and other special files."""
    if member.isdir():
        if path.is_symlink() or not path.is_dir():
            _remove(path)
            path.mkdir()
        path.chmod(0o755 | (member.mode & 0o777))
        return
    if not (member.isreg() or member.issym() or member.islnk()):
        return
    _remove(path)
    if member.issym():
        path.symlink_to(member.linkname)
    elif member.islnk():
        source = inside(target, [p for p in member.linkname.split("/") if p not in {"", ".", ".."}])
        if source.is_symlink() or not source.is_file():
            raise ArchiveRefused("a hard link in the archive has no target file")
        os.link(source, path)
    else:
        file = tar.extractfile(member)
        assert file is not None
        with path.open("xb") as output:
            shutil.copyfileobj(file, output, 1 << 20)
        path.chmod(stat.S_IMODE(member.mode) & 0o777 | 0o444)


def inside(target: Path, parts: list[str]) -> Path:
    """Return a path below ``target``, resolving symbolic links with ``target`` as the root."""
    resolved: list[str] = []
    pending = list(reversed(parts))
    for _ in range(4096):
        if not pending:
            return target.joinpath(*resolved)
        part = pending.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            resolved = resolved[:-1]
            continue
        path = target.joinpath(*resolved, part)
        if path.is_symlink():
            link = os.readlink(path)
            if link.startswith("/"):
                resolved = []
            pending += reversed(link.split("/"))
            continue
        resolved.append(part)
    raise ArchiveRefused("symbolic links in the archive form a loop")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def model_members(path: Path) -> Iterator[str]:
    """Yield the member names of a model archive, which validates it when exhausted.

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
                    raise ArchiveRefused("it has too many members or bytes")  # noqa: TRY301
                if ".." in member.name.split("/"):
                    raise ArchiveRefused("a path in it points outside of it")  # noqa: TRY301
                if member.name.count("/") > MAX_DEPTH:
                    raise ArchiveRefused(f"its folders have more than {MAX_DEPTH} levels")  # noqa: TRY301
                yield member.name
    except ArchiveRefused:
        raise
    except _READ_ERRORS:
        raise ArchiveRefused("it is not a gzip-compressed tar file, or is truncated") from None
