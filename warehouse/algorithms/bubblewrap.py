"""bubblewrap: images run without an engine, as an unpacked root that is read-only.

In: an image, and folders. Out: the words of a command, as ``engines`` has them for the others.
"""

from __future__ import annotations

import os
import shutil
import uuid
from typing import TYPE_CHECKING, Any

from warehouse.algorithms import engines
from warehouse.algorithms.archives import inside, unpack_layers
from warehouse.algorithms.engines import INFO_FD, LABEL, Command
from warehouse.errors import ArchiveRefused, EngineMissing

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.algorithms.archives import ImageArchive
    from warehouse.algorithms.engines import Mounts


class Bubblewrap:
    """bubblewrap: no engine and no images, but the unpacked layers as a root that is read-only.

    Home, ``/tmp`` and ``/var/tmp`` are writable and empty. Memory is bounded for each process, not
    for all of them.
    """

    name = "bwrap"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = engines.required("bwrap")

    def _root(self, image: ImageArchive) -> Path:
        return self._folder / image.sha256 / "root"

    def load(self, archive: Path, image: ImageArchive) -> None:
        """Unpack an image, unless it is.

        Raises
        ------
        ArchiveRefused
        """
        root = self._root(image)
        if root.is_dir():
            return
        root.parent.mkdir(parents=True, exist_ok=True)
        draft = root.with_name(f".{uuid.uuid4().hex}")
        try:
            unpack_layers(archive, image, draft)
            for place in (
                "input", "output", "tmp", "proc", "dev", "var/tmp", "opt/ml/model",
                "opt/ml/input/data/ground_truth",
            ):  # fmt: skip
                # A link of the image is one within the image.
                inside(draft, place.split("/")).mkdir(parents=True, exist_ok=True)
            _user(draft, image)[2].mkdir(parents=True, exist_ok=True)
            draft.rename(root)
        except (FileExistsError, NotADirectoryError):
            raise ArchiveRefused("the image has files where folders are needed") from None
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def command(
        self, image: ImageArchive, mounts: Mounts, *, memory_gb: int, gpu: str = "", owner: str = ""
    ) -> Command:
        """Return what runs an image.

        Raises
        ------
        EngineMissing
            It asks for a GPU.
        """
        if gpu:
            raise EngineMissing("bwrap gives no GPU; install podman or docker")
        root = self._root(image)
        uid, gid, home = _user(root, image)
        inside = f"/{home.relative_to(root)}"
        words = [
            self._program, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
            "--uid", str(uid), "--gid", str(gid), "--hostname", "localhost", "--cap-drop", "ALL",
            "--info-fd", INFO_FD, "--ro-bind", str(root), "/", "--proc", "/proc", "--dev", "/dev",
            *_tmpfs(
                memory_gb * engines.MB_PER_GB << 19, "/dev/shm", "/tmp", "/var/tmp", inside  # noqa: S108
            ),
        ]  # fmt: skip
        for folder, place, how in mounts.places():
            words += ["--bind" if how == "rw" else "--ro-bind", str(folder), place]
        config = image.config
        for pair in ["PATH=/usr/local/bin:/usr/bin:/bin", f"HOME={inside}", *(config["Env"] or [])]:
            key, _, value = str(pair).partition("=")
            words += ["--setenv", key, value]
        words += ["--chdir", str(config["WorkingDir"] or "/"), *_started(config)]
        del owner
        # Limits are set by a program that becomes the container: not by code between fork and exec,
        # where threads of ours may hold locks. Processes are counted for the user: his others too.
        most = memory_gb * engines.MB_PER_GB << 20
        processes = engines.PIDS + sum(name.isdecimal() for name in os.listdir("/proc"))
        limited = [engines.required("prlimit"), f"--as={most}:{most}", "--core=0:0"]
        limited.append(f"--nproc={processes}:{processes}")
        return Command(
            [*limited, *words], f"{LABEL}-{uuid.uuid4().hex[:20]}", tells_pid=True,
            # The kernel counts the processes of every user but of root.
            processes=None if os.geteuid() else engines.PIDS,
        )  # fmt: skip

    def stop(self, name: str, grace: float) -> None:
        """Nothing: the process itself is ended, and what it started with it."""

    def pid(self, name: str) -> int | None:
        """Return None: who started it knows."""
        del name
        return None

    def sweep(self, owner: str) -> int:
        """Return 0: what a killed run started has ended with it, see ``keeping``."""
        del owner
        return 0


def _user(root: Path, image: ImageArchive) -> tuple[int, int, Path]:
    """Return the numbers of the user of an image, and the home it has below its root."""
    user, _, group = str(image.config["User"]).partition(":")
    uid, gid, home = 65534, 65534, f"/home/{user if user.isalnum() else 'user'}"
    for line in _lines(root / "etc" / "passwd"):
        fields = line.split(":")
        if len(fields) > 5 and user in {fields[0], fields[2]}:
            uid, gid, home = int(fields[2]), int(fields[3]), fields[5] or home
    uid = int(user) if user.isdecimal() else uid
    if group.isdecimal():
        gid = int(group)
    for line in _lines(root / "etc" / "group"):
        fields = line.split(":")
        if len(fields) > 2 and group and fields[0] == group and fields[2].isdecimal():
            gid = int(fields[2])
    parts = [part for part in home.split("/") if part not in {"", ".", ".."}]
    place = root.joinpath(*parts) if parts else root / "home" / "user"
    for each in (place, *place.parents):
        if each == root:
            break
        if each.is_symlink():
            place = root / "tmp"
            break
    return uid or 65534, gid or 65534, place


def _tmpfs(size: int, *places: str) -> list[str]:
    return [word for place in places for word in ("--size", str(size), "--tmpfs", place)]


def _lines(path: Path) -> list[str]:
    try:
        if path.is_symlink() or path.stat().st_size > 1 << 20:
            return []
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _started(config: dict[str, Any]) -> list[str]:
    """Return the words that start an image: entry point and command as Docker puts them together.

    >>> _started({"Entrypoint": ["/run"], "Cmd": ["--fast"]})
    ['/run', '--fast']
    """
    words: list[str] = []
    for part in (config["Entrypoint"], config["Cmd"]):
        if isinstance(part, str):
            words += ["/bin/sh", "-c", part]
        else:
            words += [str(word) for word in part or []]
    return words
