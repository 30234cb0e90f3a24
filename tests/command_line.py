"""The command ``dicom-warehouse`` for tests: its arguments in, what it prints and its code out."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from warehouse.cli.run import run as run_command

ROOT = Path(__file__).parents[1]
COMMAND = "import sys; from warehouse.cli import main; main(sys.argv[1:])"


def run(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in this process: to start another and import everything takes a second.

    Nothing is left out but that start. An exception that the command does not turn into a message
    and a code is one here too.
    """
    given = [str(argument) for argument in arguments]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    code: object = None
    with (
        patch.dict(os.environ, environment),
        contextlib.chdir(cwd or Path.cwd()),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            run_command(given)
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    printed = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return subprocess.CompletedProcess(given, code, *printed)


ALL = """
import sys
from warehouse.process import do_without_pandas
do_without_pandas()
from warehouse.cli.run import run
given = sys.argv[1:]
while given:
    end = given.index("+")
    arguments, given = given[:end], given[end + 1:]
    try:
        run(arguments)
    except SystemExit as end:
        if end.code:
            sys.exit(f"{arguments}: {end.code}")
"""


def run_all_apart(
    *commands: tuple[object, ...], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run commands one after another in one process of their own, up to the first that fails."""
    # As arguments, so that they come in the encoding of the locale.
    asked = [str(argument) for command in commands for argument in (*command, "+")]
    return subprocess.run(
        [sys.executable, "-c", ALL, *asked], env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip


def run_apart(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a shell would."""
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
