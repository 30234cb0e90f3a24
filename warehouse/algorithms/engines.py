"""Container engines by their command lines: find one, and drive podman or docker.

In: an image, and folders. Out: the words of a command, and what stops it. No daemon is needed and
no library: what is run is what a person could type. Containers have no network, no capabilities, no
new privileges, bounded memory and processes; their root is writable and thrown away, since existing
images write to their home. ``bubblewrap`` runs images where neither of the two is.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.errors import EngineMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.algorithms.archives import ImageArchive

PIDS = 512
MB_PER_GB = 1024
_TMP = "/tmp:rw,exec,size={}m,mode=1777"  # noqa: S108 - of the container
LABEL = "dicom-warehouse"

INFO_FD = "{info}"
"""Stands in a command for the number of the descriptor to which it tells its process."""

_INITS = ("/usr/libexec/podman/catatonit", "/usr/bin/catatonit", "/usr/lib/podman/catatonit")

PACKAGES = {
    "podman": "podman",
    "docker": "docker.io",
    "bwrap": "bubblewrap",
    "prlimit": "util-linux",
}
"""Program → its package in Debian and Ubuntu."""


@dataclass(frozen=True, slots=True)
class Mounts:
    """Folders of a container."""

    input: Path
    output: Path
    model: Path | None = None
    ground_truth: Path | None = None

    def places(self) -> list[tuple[Path, str, str]]:
        """Return each folder, where a container finds it, and ``ro`` or ``rw``."""
        found = [
            (self.input, "/input", "ro"), (self.output, "/output", "rw"),
            (self.model, "/opt/ml/model", "ro"),
            (self.ground_truth, "/opt/ml/input/data/ground_truth", "ro"),
        ]  # fmt: skip
        return [(folder, place, how) for folder, place, how in found if folder]


@dataclass(frozen=True, slots=True)
class Command:
    """A command that runs a container until it ends."""

    words: list[str]
    name: str
    tells_pid: bool = False
    """Whether it writes the process of the container to a descriptor, see ``INFO_FD``."""
    id_file: Path | None = None
    """To which the engine writes what it calls the container."""
    clean: tuple[str, ...] = ()
    """Command that removes the container, if nobody is there to end it."""
    processes: int | None = None
    """How many it may have at a time, where nothing else bounds them."""


def found_engine(wanted: str | None) -> str:
    """Return the program that runs containers here: the one that is wanted, or the first there is.

    Raises
    ------
    EngineMissing
    """
    for name in [wanted] if wanted else ["podman", "docker", "bwrap"]:
        if _program(name) is not None:
            return name
    asked = wanted or "podman"
    raise EngineMissing(
        f"{asked} is not installed, which runs images; apt install {PACKAGES[asked]}"
        + ("" if wanted else ", or docker, or bubblewrap")
    )


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def required(name: str) -> str:
    """Return where a program is.

    Raises
    ------
    EngineMissing
    """
    found = _program(name)
    if found is None:
        raise EngineMissing(f"{name} is not installed; apt install {PACKAGES[name]}")
    return found


def run_engine(
    words: Sequence[str], *, seconds: float = 60, data: Any = None
) -> tuple[int, str, str]:
    """Run a command of an engine that ends soon; return its exit code and what it printed."""
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            words, capture_output=True, text=True, check=False, timeout=seconds, stdin=data,
            start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return -1, "", f"it took more than {seconds} s"
    return done.returncode, done.stdout, done.stderr


class Engine:
    """podman or docker; a ``docker`` that is podman (``podman-docker``) is asked as podman."""

    def __init__(self, name: str) -> None:
        self.name = name
        program = required(name)
        self._is_podman = (
            name == "podman" or "podman" in run_engine([program, "--version"])[1].lower()
        )
        if self._is_podman and name == "docker":
            # Its script says on standard error, each time, that it is podman.
            program = _program("podman") or program
        self._words = [program]
        # Of the runtimes, runc works in more places: crun refuses hybrid control groups.
        if self._is_podman and (runc := _program("runc")):
            self._words += ["--runtime", runc]
        self._references: dict[str, str] = {}

    def _own(self) -> list[str]:
        """Return the words that one of the two has and the other has not, or does otherwise."""
        if not self._is_podman:
            # Limits of files and processes are those of its daemon.
            return ["--init"]
        words = ["--pull", "never"]
        # A first process that hands signals on; podman needs a program for it.
        if any(map(os.path.exists, _INITS)):
            words.append("--init")
        # What podman sets by default is more than a process without CAP_SYS_RESOURCE may give.
        for limit, number, enough in (
            ("nofile", resource.RLIMIT_NOFILE, 1 << 20), ("nproc", resource.RLIMIT_NPROC, 1 << 14),
        ):  # fmt: skip
            most = resource.getrlimit(number)[1]
            if most != resource.RLIM_INFINITY:
                words += ["--ulimit", f"{limit}={min(most, enough)}:{min(most, enough)}"]
        return words

    def _gpu(self) -> list[str]:
        return ["--device", "nvidia.com/gpu=all"] if self._is_podman else ["--gpus", "1"]

    def load(self, archive: Path, image: ImageArchive) -> None:
        """Give the engine an image, unless it has it.

        Raises
        ------
        EngineMissing
            The engine does not take it, or does not run.
        """
        if self._reference(image, _named(image)):
            return
        # Some versions fail on archives that are packed: we unpack, and it reads a plain tar.
        with subprocess.Popen(  # noqa: S603 - no shell
            [sys.executable, "-I", str(Path(__file__).with_name("unpacked.py")), str(archive)],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True,
        ) as unpacked:  # fmt: skip
            code, output, message = run_engine(
                [*self._words, "load"], seconds=3600, data=unpacked.stdout
            )
            if unpacked.stdout:
                unpacked.stdout.close()
            unpacked.kill()
        names = [line.partition(": ")[2].strip() for line in output.splitlines()]
        found = self._reference(image, *names) if code == 0 else None
        if found is None:
            raise EngineMissing(f"{self.name} does not load the image: {_last(message)}")
        if found != image.sha256:
            run_engine([*self._words, "tag", found, _named(image)])

    def _reference(self, image: ImageArchive, *names: str) -> str | None:
        """Return how the engine calls an image: by its digest, or else by one of some names.

        Docker with the image store of containerd has another id for it than its configuration.
        """
        for name in (image.sha256, *names):
            if not name or name.startswith("-"):
                continue
            code, output, _ = run_engine([*self._words, "image", "inspect", name])
            if code == 0 and (name == image.sha256 or _layers(output) == image.diff_ids != ()):
                self._references[image.sha256] = name
                return name
        return None

    def command(
        self, image: ImageArchive, mounts: Mounts, *, memory_gb: int, gpu: str = "", owner: str = ""
    ) -> Command:
        """Return what runs a container of an image.

        Raises
        ------
        EngineMissing
            The path of a folder is one that it cannot mount.
        """
        name = f"{LABEL}-{uuid.uuid4().hex[:20]}"
        # podman would fill it with what the image has there.
        tmp = _TMP.format(memory_gb * MB_PER_GB // 2) + ",notmpcopyup" * self._is_podman
        words = [
            *self._words, "run", "--rm", "--name", name, "--label", f"{LABEL}={owner}",
            "--network", "none", "--cap-drop", "all", "--security-opt", "no-new-privileges",
            "--pids-limit", str(PIDS), "--memory", f"{memory_gb * MB_PER_GB}m",
            "--memory-swap", f"{memory_gb * MB_PER_GB}m",
            "--shm-size", f"{memory_gb * MB_PER_GB // 2}m", "--log-driver", "none",
            "--tmpfs", tmp, *self._own(), *(self._gpu() if gpu else []),
        ]  # fmt: skip
        for folder, place, how in mounts.places():
            if ":" in str(folder):
                raise EngineMissing(
                    f"{self.name} cannot mount a folder with ':' in its path; move the warehouse, "
                    "or run it with bwrap"
                )
            words += ["-v", f"{folder}:{place}:{how}"]
        id_file = mounts.output.with_name("container")
        words += ["--cidfile", str(id_file), self._references.get(image.sha256, image.sha256)]
        return Command(words, name, id_file=id_file, clean=tuple(self._removing(name)))

    def _removing(self, name: str) -> list[str]:
        quickly = ["-t", "0"] if self._is_podman else []
        return [*self._words, "rm", "-f", *quickly, name]

    def stop(self, name: str, grace: float) -> None:
        """End a container: SIGTERM, and after a while SIGKILL."""
        if grace > 0:
            run_engine([*self._words, "stop", "-t", str(int(grace)), name], seconds=grace + 30)
        run_engine(self._removing(name), seconds=30)

    def pid(self, name: str) -> int | None:
        """Return the process of a container as this machine knows it."""
        code, out, _ = run_engine([*self._words, "inspect", "--format", "{{.State.Pid}}", name])
        return int(out) if code == 0 and out.strip().isdecimal() and int(out) > 0 else None

    def sweep(self, owner: str) -> int:
        """End the containers that a killed run of a warehouse left; return how many there were."""
        words = [*self._words, "ps", "-a", "-q", "--filter", f"label={LABEL}={owner}"]
        names = run_engine(words)[1].split()
        if names:
            run_engine([*self._words, "rm", "-f", *names])
        return len(names)


def _named(image: ImageArchive) -> str:
    """Return how an image is called in an engine that does not know its digest."""
    return f"{LABEL}:{image.sha256}"


def _layers(inspected: str) -> tuple[str, ...]:
    """Return the digests of the layers of an image, as an engine tells them."""
    try:
        return tuple(json.loads(inspected)[0]["RootFS"]["Layers"])
    except (ValueError, LookupError, TypeError):
        return ()


def _last(text: str) -> str:
    """Return the line that says why: of podman, which tries every format, that of the one it is."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    chosen = [line for line in lines if "docker-archive:" in line] or lines
    return json.dumps(chosen[-1][:200]) if chosen else "it says nothing"
