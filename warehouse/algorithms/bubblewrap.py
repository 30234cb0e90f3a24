"""Run images with bubblewrap: without an engine, with the unpacked image as read-only root.

In: an image, and folders to mount. Out: a ``Command``, like that of ``engines.Engine``.
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
    """Runs images with bubblewrap: the layers are unpacked once and mounted as read-only root.

    Home, ``/tmp``, ``/var/tmp`` and ``/dev/shm`` are writable and empty. Memory is limited per
    process, not for the container.
    """

    name = "bwrap"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = engines.required("bwrap")

    def _root(self, image: ImageArchive) -> Path:
        return self._folder / image.sha256 / "root"

    def load(self, archive: Path, image: ImageArchive) -> None:
        """Unpack an image, unless it is unpacked already.

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
            for path in (
                "input", "output", "tmp", "proc", "dev", "var/tmp", "opt/ml/model",
                "opt/ml/input/data/ground_truth",
            ):  # fmt: skip
                # Symbolic links of the image are resolved within it.
                inside(draft, path.split("/")).mkdir(parents=True, exist_ok=True)
            _user_and_home(draft, image)[2].mkdir(parents=True, exist_ok=True)
            draft.rename(root)
        except (FileExistsError, NotADirectoryError):
            raise ArchiveRefused("the image has files where folders are needed") from None
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def command(
        self, image: ImageArchive, mounts: Mounts, *, memory_gb: int, gpu: str = "", owner: str = ""
    ) -> Command:
        """Return the command that runs a container of an image.

        Raises
        ------
        EngineMissing
            A GPU is requested.
        """
        if gpu:
            raise EngineMissing("bwrap does not support GPUs; install podman or docker")
        root = self._root(image)
        uid, gid, home = _user_and_home(root, image)
        home_dir = f"/{home.relative_to(root)}"
        words = [
            self._program, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
            "--uid", str(uid), "--gid", str(gid), "--hostname", "localhost", "--cap-drop", "ALL",
            "--info-fd", INFO_FD, "--ro-bind", str(root), "/", "--proc", "/proc", "--dev", "/dev",
            *_tmpfs_options(
                memory_gb * engines.MB_PER_GB << 19, "/dev/shm", "/tmp", "/var/tmp", home_dir  # noqa: S108
            ),
        ]  # fmt: skip
        for folder, path, mode in mounts.places():
            words += ["--bind" if mode == "rw" else "--ro-bind", str(folder), path]
        config = image.config
        for pair in [
            "PATH=/usr/local/bin:/usr/bin:/bin",
            f"HOME={home_dir}",
            *(config["Env"] or []),
        ]:
            key, _, value = str(pair).partition("=")
            words += ["--setenv", key, value]
        words += ["--chdir", str(config["WorkingDir"] or "/"), *_start_command(config)]
        del owner
        # prlimit sets the limits and then execs bwrap: Python code between fork and exec is unsafe
        # with threads. RLIMIT_NPROC counts all processes of the user, so running ones are added.
        limit = memory_gb * engines.MB_PER_GB << 20
        processes = engines.PIDS + sum(name.isdecimal() for name in os.listdir("/proc"))
        limited = [engines.required("prlimit"), f"--as={limit}:{limit}", "--core=0:0"]
        limited.append(f"--nproc={processes}:{processes}")
        return Command(
            [*limited, *words], f"{LABEL}-{uuid.uuid4().hex[:20]}", tells_pid=True,
            # The kernel does not enforce RLIMIT_NPROC for root.
            processes=None if os.geteuid() else engines.PIDS,
        )  # fmt: skip

    def stop(self, name: str, grace: float) -> None:
        """Do nothing: ``keeping`` kills the process with all its descendants."""

    def pid(self, name: str) -> int | None:
        """Return None: bubblewrap itself writes the PID to ``INFO_FD``."""
        del name
        return None

    def sweep(self, owner: str) -> int:
        """Return 0: ``keeping`` ends all containers of a run that is killed."""
        del owner
        return 0


def _user_and_home(root: Path, image: ImageArchive) -> tuple[int, int, Path]:
    """Return uid and gid of the user of an image, and the path of the home below ``root``."""
    user, _, group = str(image.config["User"]).partition(":")
    uid, gid, home = 65534, 65534, f"/home/{user if user.isalnum() else 'user'}"
    for line in _lines_of_file(root / "etc" / "passwd"):
        fields = line.split(":")
        is_whole = len(fields) > 5 and fields[2].isdecimal() and fields[3].isdecimal()
        if is_whole and user in {fields[0], fields[2]}:
            uid, gid, home = int(fields[2]), int(fields[3]), fields[5] or home
    uid = int(user) if user.isdecimal() else uid
    if group.isdecimal():
        gid = int(group)
    for line in _lines_of_file(root / "etc" / "group"):
        fields = line.split(":")
        if len(fields) > 2 and group and fields[0] == group and fields[2].isdecimal():
            gid = int(fields[2])
    parts = [part for part in home.split("/") if part not in {"", ".", ".."}]
    path = root.joinpath(*parts) if parts else root / "home" / "user"
    for part_path in (path, *path.parents):
        if part_path == root:
            break
        if part_path.is_symlink():
            path = root / "tmp"
            break
    return uid or 65534, gid or 65534, path


def _tmpfs_options(size: int, *paths: str) -> list[str]:
    return [word for path in paths for word in ("--size", str(size), "--tmpfs", path)]


def _lines_of_file(path: Path) -> list[str]:
    """Return the lines of a small regular file; none of a symbolic link or an unreadable file."""
    try:
        if path.is_symlink() or path.stat().st_size > 1 << 20:
            return []
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _start_command(config: dict[str, Any]) -> list[str]:
    """Return the start command of an image: entrypoint followed by command, as in Docker.

    >>> _start_command({"Entrypoint": ["/run"], "Cmd": ["--fast"]})
    ['/run', '--fast']
    """
    words: list[str] = []
    for part in (config["Entrypoint"], config["Cmd"]):
        if isinstance(part, str):
            words += ["/bin/sh", "-c", part]
        else:
            words += [str(word) for word in part or []]
    return words
