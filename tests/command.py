"""The command in this process: seconds cheaper than the one of tests/test_cli.py, which shells out."""

from __future__ import annotations

import io
import subprocess
from contextlib import redirect_stderr, redirect_stdout

import pytest

from warehouse.cli import main


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command; return its exit code and what it printed."""
    given = [str(argument) for argument in arguments]
    said, failed = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(said), redirect_stderr(failed):
        for name, value in environment.items():
            patched.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(given)
    assert isinstance(ended.value.code, int)
    out, err = (stream.buffer.getvalue().decode() for stream in (said, failed))
    return subprocess.CompletedProcess(given, ended.value.code, out, err)
