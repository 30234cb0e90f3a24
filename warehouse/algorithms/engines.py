"""Find a container engine, and control podman or docker by their command lines.

In: an image, and folders to mount. Out: the command that runs a container, and how to stop it. No
client library is needed. Containers have no network, no capabilities and no new privileges; memory
and processes are limited. Their root is writable and discarded, because existing images write to
their home. ``bubblewrap`` runs images where neither engine is installed.
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
"""Maximum number of processes of a container."""

MB_PER_GB = 1024
_TMP = "/tmp:rw,exec,size={}m,mode=1777"  # noqa: S108 - inside the container
LABEL = "dicom-warehouse"
"""Label of all containers, and prefix of their names."""

INFO_FD = "{info}"
"""Placeholder in a command for the number of the file descriptor to which bwrap writes the PID."""

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
    """Folders on the host that are mounted into a container."""

    input: Path
    output: Path
    model: Path | None = None
    ground_truth: Path | None = None

    def places(self) -> list[tuple[Path, str, str]]:
        """Return folder on the host, path in the container, and ``ro`` or ``rw`` of each mount."""
        mounts = [
            (self.input, "/input", "ro"), (self.output, "/output", "rw"),
            (self.model, "/opt/ml/model", "ro"),
            (self.ground_truth, "/opt/ml/input/data/ground_truth", "ro"),
        ]  # fmt: skip
        return [(folder, path, mode) for folder, path, mode in mounts if folder]


@dataclass(frozen=True, slots=True)
class Command:
    """A command that runs a container until it ends."""

    words: list[str]
    name: str
    tells_pid: bool = False
    """Whether it writes the PID of the container to a file descriptor, see ``INFO_FD``."""
    id_file: Path | None = None
    """File to which the engine writes the id of the container."""
    clean: tuple[str, ...] = ()
    """Command that removes the container; run by ``keeping`` after killing the process."""
    processes: int | None = None
    """Maximum number of processes that ``keeping`` enforces; None if engine or kernel does."""


def found_engine(wanted: str | None) -> str:
    """Return the requested engine, or else the first installed of podman, docker and bwrap.

    Raises
    ------
    EngineMissing
    """
    for name in [wanted] if wanted else ["podman", "docker", "bwrap"]:
        if _program(name) is not None:
            return name
    missing = wanted or "podman"
    raise EngineMissing(
        f"{missing} is not installed; to run images: apt install {PACKAGES[missing]}"
        + ("" if wanted else ", or docker, or bubblewrap")
    )


def _program(name: str) -> str | None:
    """Return the path of a program, or None."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def required(name: str) -> str:
    """Return the path of a program.

    Raises
    ------
    EngineMissing
    """
    path = _program(name)
    if path is None:
        raise EngineMissing(f"{name} is not installed; apt install {PACKAGES[name]}")
    return path


def run_engine(
    words: Sequence[str], *, seconds: float = 60, data: Any = None
) -> tuple[int, str, str]:
    """Run a short command of an engine; return exit code (-1: timeout), stdout and stderr."""
    try:
        result = subprocess.run(  # noqa: S603 - no shell
            words, capture_output=True, text=True, check=False, timeout=seconds, stdin=data,
            start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return -1, "", f"it took more than {seconds} s"
    return result.returncode, result.stdout, result.stderr


class Engine:
    """podman or docker; the ``docker`` command of ``podman-docker`` counts as podman."""

    def __init__(self, name: str) -> None:
        self.name = name
        program = required(name)
        self._is_podman = (
            name == "podman" or "podman" in run_engine([program, "--version"])[1].lower()
        )
        if self._is_podman and name == "docker":
            # The wrapper script prints a notice to stderr at every call.
            program = _program("podman") or program
        self._words = [program]
        # runc is preferred because crun does not support hybrid cgroups.
        if self._is_podman and (runc := _program("runc")):
            self._words += ["--runtime", runc]
        self._references: dict[str, str] = {}

    def _engine_options(self) -> list[str]:
        """Return the options of ``run`` that differ between podman and docker."""
        if not self._is_podman:
            # The daemon sets the limits of open files and processes.
            return ["--init"]
        words = ["--pull", "never"]
        # An init process that forwards signals; podman needs a separate program for it.
        if any(map(os.path.exists, _INITS)):
            words.append("--init")
        # podman's default limits exceed the hard limits of a process without CAP_SYS_RESOURCE.
        for limit, number, maximum in (
            ("nofile", resource.RLIMIT_NOFILE, 1 << 20), ("nproc", resource.RLIMIT_NPROC, 1 << 14),
        ):  # fmt: skip
            hard_limit = resource.getrlimit(number)[1]
            if hard_limit != resource.RLIM_INFINITY:
                words += [
                    "--ulimit",
                    f"{limit}={min(hard_limit, maximum)}:{min(hard_limit, maximum)}",
                ]
        return words

    def _gpu_options(self) -> list[str]:
        return ["--device", "nvidia.com/gpu=all"] if self._is_podman else ["--gpus", "1"]

    def load(self, archive: Path, image: ImageArchive) -> None:
        """Load an image into the engine, unless it has it already.

        Raises
        ------
        EngineMissing
            The engine cannot load it, or does not run.
        """
        if self._reference(image, _tag_of(image)):
            return
        # Some versions cannot load compressed archives: decompress to a plain tar.
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
        reference = self._reference(image, *names) if code == 0 else None
        if reference is None:
            raise EngineMissing(f"{self.name} does not load the image: {_reason_in(message)}")
        if reference != image.sha256:
            run_engine([*self._words, "tag", reference, _tag_of(image)])

    def _reference(self, image: ImageArchive, *names: str) -> str | None:
        """Return the first name by which the engine has an image, or None; digest first.

        Docker with the containerd image store uses another id than the configuration digest.
        """
        for name in (image.sha256, *names):
            if not name or name.startswith("-"):
                continue
            code, output, _ = run_engine([*self._words, "image", "inspect", name])
            if code == 0 and (name == image.sha256 or _layers_in(output) == image.diff_ids != ()):
                self._references[image.sha256] = name
                return name
        return None

    def command(
        self, image: ImageArchive, mounts: Mounts, *, memory_gb: int, gpu: str = "", owner: str = ""
    ) -> Command:
        """Return the command that runs a container of an image.

        Raises
        ------
        EngineMissing
            A folder has ``:`` in its path, so that it cannot be mounted.
        """
        name = f"{LABEL}-{uuid.uuid4().hex[:20]}"
        # By default podman copies the content of the image's folder into the tmpfs.
        tmp = _TMP.format(memory_gb * MB_PER_GB // 2) + ",notmpcopyup" * self._is_podman
        words = [
            *self._words, "run", "--rm", "--name", name, "--label", f"{LABEL}={owner}",
            "--network", "none", "--cap-drop", "all", "--security-opt", "no-new-privileges",
            "--pids-limit", str(PIDS), "--memory", f"{memory_gb * MB_PER_GB}m",
            "--memory-swap", f"{memory_gb * MB_PER_GB}m",
            "--shm-size", f"{memory_gb * MB_PER_GB // 2}m", "--log-driver", "none",
            "--tmpfs", tmp, *self._engine_options(), *(self._gpu_options() if gpu else []),
        ]  # fmt: skip
        for folder, path, mode in mounts.places():
            if ":" in str(folder):
                raise EngineMissing(
                    f"{self.name} cannot mount a folder with ':' in its path; move the warehouse, "
                    "or run it with bwrap"
                )
            words += ["-v", f"{folder}:{path}:{mode}"]
        id_file = mounts.output.with_name("container")
        words += ["--cidfile", str(id_file), self._references.get(image.sha256, image.sha256)]
        return Command(words, name, id_file=id_file, clean=tuple(self._remove_command(name)))

    def _remove_command(self, name: str) -> list[str]:
        quickly = ["-t", "0"] if self._is_podman else []
        return [*self._words, "rm", "-f", *quickly, name]

    def stop(self, name: str, grace: float) -> None:
        """Stop and remove a container: SIGTERM, and SIGKILL after ``grace`` seconds."""
        if grace > 0:
            run_engine([*self._words, "stop", "-t", str(int(grace)), name], seconds=grace + 30)
        run_engine(self._remove_command(name), seconds=30)

    def pid(self, name: str) -> int | None:
        """Return the PID of the first process of a container on the host, or None."""
        code, out, _ = run_engine([*self._words, "inspect", "--format", "{{.State.Pid}}", name])
        return int(out) if code == 0 and out.strip().isdecimal() and int(out) > 0 else None

    def sweep(self, owner: str) -> int:
        """Remove containers left by a killed run of this warehouse; return their number."""
        words = [*self._words, "ps", "-a", "-q", "--filter", f"label={LABEL}={owner}"]
        names = run_engine(words)[1].split()
        if names:
            run_engine([*self._words, "rm", "-f", *names])
        return len(names)


def _tag_of(image: ImageArchive) -> str:
    """Return the tag of an image in an engine that has another id for it than its digest."""
    return f"{LABEL}:{image.sha256}"


def _layers_in(inspected: str) -> tuple[str, ...]:
    """Return the layer digests in the output of ``image inspect``; empty if there are none."""
    try:
        return tuple(json.loads(inspected)[0]["RootFS"]["Layers"])
    except (ValueError, LookupError, TypeError):
        return ()


def _reason_in(text: str) -> str:
    """Return the last line of an error message, quoted; of podman, the ``docker-archive`` line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    chosen = [line for line in lines if "docker-archive:" in line] or lines
    return json.dumps(chosen[-1][:200]) if chosen else "no message"
