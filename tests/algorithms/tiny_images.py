"""Images made by code, without a network: Python of this machine, as little of it as runs a script.

``archive`` writes any of the layouts that are met; with ``layer=b""`` it is a few kilobytes and runs
nothing, which is enough for the rules.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("inside.py")
LABEL = "org.grand-challenge.api-method"


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@cache
def python_layer() -> bytes:
    """A layer with an interpreter, the modules that ``inside.py`` imports, and that script."""
    names = (
        "import sys, json, os, socket, signal, time, resource, encodings.idna, re, stat, threading;"
    )
    program = (
        names
        + "print(*{m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)}, sep='\\n')"
    )
    python = os.path.realpath(sys.executable)
    home = {"PATH": "/usr/bin:/bin"}
    listed = subprocess.run(
        [python, "-I", "-S", "-c", program], capture_output=True, text=True, check=True, env=home
    ).stdout.split("\n")
    files = {os.path.realpath(path) for path in listed if path} | {python}
    landmark = os.path.join(os.path.dirname(os.__file__), "os.py")
    files.add(landmark)
    for path in [python, *(path for path in files if path.endswith(".so"))]:
        out = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
        files |= {
            word for line in out.splitlines() for word in line.split() if word.startswith("/")
        }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        made: set[str] = set()
        for path in sorted(files):
            for folder in reversed(Path(path).parents):
                if str(folder) not in made | {"/"}:
                    made.add(str(folder))
                    _folder(tar, str(folder))
            _file(tar, path, _stripped(path), 0o755)
        # Where Python looks for its dynamic modules, if none of them was needed.
        dynamic = os.path.join(os.path.dirname(landmark), "lib-dynload")
        if dynamic not in made:
            _folder(tar, dynamic)
        _file(tar, "/inside.py", SCRIPT.read_bytes(), 0o644)
        if "/etc" not in made:
            _folder(tar, "/etc")
        _file(
            tar,
            "/etc/passwd",
            b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
            0o644,
        )
        # Without an entry of its own, docker makes a folder that nobody may enter.
        if "/home" not in made:
            _folder(tar, "/home")
        _folder(tar, "/home/user", 0o777)
        for name in ("tmp", "input", "output", "proc", "dev", "sys"):
            _folder(tar, f"/{name}", 0o777)
        # What lies in /tmp of an image is not there when it runs.
        _file(tar, "/tmp/baked", b"x", 0o644)
    return buffer.getvalue()


def _stripped(path: str) -> bytes:
    """Without symbols for debuggers, which are most of an interpreter."""
    strip = shutil.which("strip")
    if strip and (path.endswith(".so") or ".so." in path or os.access(path, os.X_OK)):
        with tempfile.NamedTemporaryFile() as target:
            done = subprocess.run(
                [strip, "-o", target.name, path], capture_output=True, check=False
            )
            if done.returncode == 0:
                return Path(target.name).read_bytes()
    return Path(path).read_bytes()


def _folder(tar: tarfile.TarFile, name: str, mode: int = 0o755) -> None:
    member = tarfile.TarInfo(name.lstrip("/"))
    member.type, member.mode = tarfile.DIRTYPE, mode
    tar.addfile(member)


def _file(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name.lstrip("/"))
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))


def config(
    layer: bytes, *, user: str = "user", method: str = "exec", architecture: str = "amd64"
) -> bytes:
    python = os.path.realpath(sys.executable)
    how: dict[str, Any] = {
        "User": user, "Entrypoint": [python, "-S", "-B", "/inside.py"], "Cmd": [method],
        "Env": ["PATH=/bin", f"PYTHONHOME={sys.base_prefix}", "FROM_IMAGE=yes"], "WorkingDir": "/",
    }  # fmt: skip
    if method != "exec":
        how["Labels"] = {LABEL: method}
    return json.dumps(
        {
            "architecture": architecture, "os": "linux", "config": how,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(layer)}"]},
        }
    ).encode()  # fmt: skip


def archive(
    path: Path,
    *,
    layer: bytes = b"",
    layout: str = "docker20",
    packed: str = "",
    change: Any = None,
    **how: str,
) -> Path:
    """Write an archive; ``change`` may alter the names and contents before they are written."""
    if not layer:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            _file(tar, "/empty", b"")
        layer = buffer.getvalue()
    text = config(layer, **how)
    members: dict[str, bytes | str] = {}
    blobs = {f"blobs/sha256/{sha(each)}": each for each in (text, layer)}
    manifest = json.dumps(
        {
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": f"sha256:{sha(text)}", "size": len(text)},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{sha(layer)}", "size": len(layer)}],
        }
    ).encode()  # fmt: skip
    index = json.dumps(
        {
            "schemaVersion": 2, "manifests": [
                {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": f"sha256:{sha(manifest)}", "size": len(manifest)}
            ],
        }
    ).encode()  # fmt: skip
    if layout == "docker20":
        names = [f"{sha(text)}.json", f"{sha(layer)}/layer.tar"]
        members = {names[0]: text, names[1]: layer}
    elif layout == "podman":
        # The layer under its digest, and a link to it where docker had it.
        names = [f"{sha(text)}.json", f"{sha(layer)}.tar"]
        members = {names[1]: layer, f"{sha(layer)}/layer.tar": f"../{names[1]}", names[0]: text}
    elif layout == "crane":
        names = [f"sha256:{sha(text)}", f"{sha(layer)}.tar"]
        members = {names[0]: text, names[1]: layer}
    else:
        names = list(blobs)
        members = {**blobs, f"blobs/sha256/{sha(manifest)}": manifest, "index.json": index,
                   "oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}  # fmt: skip
    if layout != "oci":
        entry = {"Config": names[0], "RepoTags": ["tiny:latest"], "Layers": names[1:]}
        members["manifest.json"] = json.dumps([entry]).encode()
    if change:
        change(members)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            if isinstance(content, str):
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, content
                tar.addfile(link)
            else:
                _file(tar, name, content)
    content = buffer.getvalue()
    if packed:
        content = {"gz": gzip.compress, "xz": lzma.compress}[packed](content)
    path.write_bytes(content)
    return path


def model(path: Path, content: bytes = b"weights") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("weights.bin")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return path


if __name__ == "__main__":
    print(len(python_layer()))
