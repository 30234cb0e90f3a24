"""What a command costs before it does anything: CPU seconds of short commands, medians.

CPU seconds are those of user and system that the kernel counts for each process and its children,
so that a busy machine says little else than a quiet one. Every module is compiled beforehand, as an
installer does it, and the views of ``sql/`` are made: the first run of each command is not counted.

    python benchmarks/startup.py --runs 11
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

ROOT = Path(__file__).parents[1]

COMMANDS = {
    "python -c pass": ("-c", "pass"),
    'python -c "import duckdb"': ("-c", "import duckdb"),
    "--version": ("-m", "warehouse", "--version"),
    "--help": ("-m", "warehouse", "--help"),
    "sql --help": ("-m", "warehouse", "sql", "--help"),
    'sql "select 1"': ("-m", "warehouse", "sql", "select 1"),
    "info": ("-m", "warehouse", "info"),
    "tables": ("-m", "warehouse", "tables"),
    "describe series": ("-m", "warehouse", "describe", "series"),
    "select series": ("-m", "warehouse", "select", "series"),
}
"""What is run, by name; the second one is what all are compared with."""


def made(folder: Path) -> dict[str, str]:
    """Make a warehouse of one CT image; return the environment of commands that ask it."""
    environment = {
        name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    environment |= {
        "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        "XDG_CACHE_HOME": str(folder / "cache"), "DICOM_WAREHOUSE": str(folder / "warehouse"),
    }  # fmt: skip
    from pydicom.data import get_testdata_file

    ingest = (
        sys.executable,
        "-m",
        "warehouse",
        "ingest",
        get_testdata_file("CT_small.dcm"),
        "--workers",
        "1",
    )
    subprocess.run(ingest, env=environment, check=True, capture_output=True)
    return environment


def seconds(arguments: tuple[str, ...], environment: dict[str, str]) -> float:
    """Return the CPU seconds of one run."""
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run((sys.executable, *arguments), env=environment, check=True, capture_output=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(runs: int) -> dict[str, list[float]]:
    """Return CPU seconds of each run by command; in rounds, so that all meet the same machine."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        environment = made(Path(folder))
        for turn in range(runs + 1):
            for name, arguments in COMMANDS.items():
                spent = seconds(arguments, environment)
                if turn:
                    found[name].append(spent)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=11)
    found = {
        name: statistics.median(spent) for name, spent in measure(parser.parse_args().runs).items()
    }
    duckdb = found['python -c "import duckdb"']
    print("| command | CPU s | ÷ import duckdb |\n| --- | ---: | ---: |")
    for name, median in found.items():
        print(f"| `{name}` | {median:.2f} | {median / duckdb:.1f} |")


if __name__ == "__main__":
    main()
