"""System programs that tests need: skipped where one is missing, a failure where CI installs it."""

from __future__ import annotations

import os
import shutil
import sys
from typing import NoReturn

import pytest

# What `.ci/run` installs, by the name of the program: its Debian package.
PACKAGES = {
    "bwrap": "bubblewrap",
    "chromium": "chromium",
    "cp": "coreutils",
    "docker": "docker.io",
    "dockerd": "docker.io",
    "echoscu": "dcmtk",
    "findscu": "dcmtk",
    "getscu": "dcmtk",
    "movescu": "dcmtk",
    "nginx": "nginx",
    "openssl": "openssl",
    "podman": "podman",
    "rsync": "rsync",
    "runc": "runc",
    "storescp": "dcmtk",
    "storescu": "dcmtk",
    "unshare": "util-linux",
    "unzip": "unzip",
}


def needed(program: str) -> str:
    """Return the path of a program, or skip the test; with ``$SYSTEM_PROGRAMS=required`` it fails instead."""
    # In an activated environment pynetdicom's programs have the names of those of dcmtk.
    folders = os.environ.get("PATH", "").split(os.pathsep)
    system = [folder for folder in folders if folder != os.path.dirname(sys.executable)]
    found = shutil.which(program, path=os.pathsep.join([*system, "/usr/sbin", "/sbin"]))
    if found is None:
        missing(f"{program} is not installed (Debian: {PACKAGES[program]})")
    return found


def missing(reason: str) -> NoReturn:
    """Skip the test for what this machine has not; with ``$SYSTEM_PROGRAMS=required`` it fails instead."""
    if os.environ.get("SYSTEM_PROGRAMS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)
