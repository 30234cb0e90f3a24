"""Headers into a table: the warehouse against what users would pick today, on one core.

    python benchmarks/extraction.py            # 20,000 files, 3 rounds; writes docs/benchmarks.md
    python benchmarks/extraction.py --quick    # 300 files, 1 round; prints only
    DICOM_CORPUS=/data/dicom python benchmarks/extraction.py

Methods run one after another, A B C A B C, each in a process of its own (``measure.py``); ratios
are taken round by round. README.md beside this file says why it is done so.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peers
from ours import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
METHODS = [OURS, *peers.METHODS]
DEFAULT_FILES, QUICK_FILES = 20_000, 300
SMALL = 2_000
"""Below so many files a run is short, and a corpus gets three times the rounds."""

AMONG = 2_000
"""Files of the corpus that one long header is put among."""

CLONES = ("(c) in folders of series", "(c) unordered, in one folder")
CLONES_READ_BY = (OURS.name, "pydicom_long")

ALONE, BESIDE = "one ingest bound to a core", "two concurrent ingests, each bound to a core"
"""What two cores of the machine give to programs that have nothing to do with one another."""

Run = dict[str, Any]


@dataclass
class Corpus:
    """Files to measure on."""

    name: str
    folder: Path
    about: list[str]
    rounds: int
    files: int = 0
    total_bytes: int = 0


@dataclass
class Results:
    """All runs on one corpus."""

    corpus: Corpus
    runs: dict[str, list[Run]] = field(default_factory=dict)
    """Method → its runs, one a round."""
    failed: dict[str, str] = field(default_factory=dict)
    """Method → why it has no runs."""
    scaling: dict[str, list[Run]] = field(default_factory=dict)
    stages: list[dict[str, float]] = field(default_factory=list)
    fixed: list[float] = field(default_factory=list)
    """Seconds of an ingest of three files."""
    among: dict[str, list[Run]] = field(default_factory=dict)
    """Some files alone, and with one long header among them → runs, one a round."""


# -- corpora ------------------------------------------------------------------------------------


def generated(folder: Path | None, files: int, rounds: int) -> Corpus:
    """Return corpus (a), made if it is not there."""
    if folder is None:
        folder = Path(tempfile.gettempdir()) / "dicom-warehouse-bench" / f"corpus-{files}"
    manifest = folder.parent / f"{folder.name}.json"
    if manifest.exists():
        about = json.loads(manifest.read_text(encoding="utf-8"))
    elif folder.exists() and any(folder.iterdir()):
        return Corpus("(a) the folder given as --corpus", folder, [], rounds)
    else:
        from corpus import make_corpus  # here, so that the runner stays small

        say(f"making {files:,} files in {folder}")
        part = folder.parent / f"{folder.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        about = make_corpus(part, files).lines()
        part.replace(folder)
        manifest.write_text(json.dumps(about, indent=1), encoding="utf-8")
    return Corpus("(a) generated corpus", folder, about, rounds)


def real(folder: str, rounds: int) -> Corpus:
    """Return corpus (b), the user's own files."""
    path = Path(folder)
    if not path.is_dir():
        raise SystemExit(f"DICOM_CORPUS names no folder: {folder}")
    about = ["the folder named by DICOM_CORPUS"]
    corpus = Corpus("(b) real files", path, about, rounds)
    count = len(peers.paths_of(folder))
    if rounds > 1 and count < SMALL:
        corpus.rounds = 3 * rounds
    return corpus


def warm(corpus: Corpus) -> None:
    """Read every byte, so that all methods find the files in the page cache."""
    corpus.files = corpus.total_bytes = 0
    for path in peers.paths_of(str(corpus.folder)):
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(1 << 20):
                corpus.total_bytes += len(chunk)
        corpus.files += 1


# -- runs ---------------------------------------------------------------------------------------


def run(method: str, corpus: Corpus, core: int | None, *options: str) -> Run:
    """Run a method once in a fresh process and a fresh folder; raise RuntimeError if it fails."""
    with tempfile.TemporaryDirectory(prefix="dicom-warehouse-bench-") as out:
        command = [sys.executable, str(HERE / "measure.py"), method, str(corpus.folder), out]
        command += [] if core is None else ["--core", str(core)]
        done = subprocess.run(
            [*command, *options],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), *_python_path()])},
        )
    if done.returncode:
        say(done.stderr.strip())
        reason = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(reason[-1])
    answer: Run = json.loads(done.stdout.splitlines()[-1])
    return answer


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def compare(corpus: Corpus, methods: Sequence[peers.Method], core: int | None) -> Results:
    """Run all methods in rounds."""
    results = Results(corpus)
    for method in methods:
        missing = method.missing()
        if missing:
            results.failed[method.name] = f"not installed: {missing}"
    warm(corpus)
    for number in range(corpus.rounds):
        for method in methods:
            if method.name in results.failed:
                continue
            options = ["--sizes"] if method is OURS and number == 0 else []
            try:
                done = run(method.name, corpus, core, *options)
            except RuntimeError as why:
                if method is OURS:
                    raise SystemExit(f"our own path failed: {why}") from why
                results.failed[method.name] = f"failed: {why}"
                results.runs.pop(method.name, None)
                continue
            results.runs.setdefault(method.name, []).append(done)
            say(
                f"{corpus.name} round {number + 1}/{corpus.rounds}  {method.name:<15}"
                f"{done['seconds']:9.2f} s {done['files'] / done['seconds']:10,.0f} files/s"
            )
    return results


def scale(results: Results) -> None:
    """Measure one against two workers, on all cores; alternating, like everything else."""
    least = 2 * results.runs[OURS.name][0]["chunk_files"]
    if results.corpus.files < least:
        say(f"two workers are not measured: that takes {least:,} files")
        return
    variants: dict[str, list[str]] = {
        "1 worker": [],
        "2 workers": ["--workers", "2"],
        "2 workers, started before the clock": ["--workers", "2", "--pool"],
    }
    for number in range(results.corpus.rounds):
        for name, options in variants.items():
            done = run(OURS.name, results.corpus, None, *options)
            results.scaling.setdefault(name, []).append(done)
            say(f"{results.corpus.name} round {number + 1}  {name}: {done['seconds']:.2f} s")
        results.scaling.setdefault(ALONE, []).append(run(OURS.name, results.corpus, 0))
        results.scaling.setdefault(BESIDE, []).append(_beside_one_another(results.corpus))


def _beside_one_another(corpus: Corpus) -> Run:
    """Ingest twice at once, each on its own core into its own warehouse; nothing is shared.

    No division of work can be faster than this: what two cores of this machine give.
    """
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda core: run(OURS.name, corpus, core), (0, 1)))
    return {
        **both[0],
        "files": sum(done["files"] for done in both),
        "seconds": max(done["seconds"] for done in both),
    }


def profile(results: Results, core: int | None) -> None:
    """Measure where the time goes."""
    for _ in range(results.corpus.rounds):
        results.stages.append(run(OURS.name, results.corpus, core, "--stages")["stages"])


def fixed_cost(results: Results, core: int | None) -> None:
    """Measure what an ingest costs however few the files are: three of the corpus."""
    with tempfile.TemporaryDirectory(prefix="dicom-warehouse-bench-") as folder:
        for number, path in enumerate(peers.paths_of(str(results.corpus.folder))[:3]):
            shutil.copyfile(path, os.path.join(folder, str(number)))
        few = Corpus("three files", Path(folder), [], results.corpus.rounds)
        for _ in range(few.rounds):
            results.fixed.append(run(OURS.name, few, core)["seconds"])


def long_headers(results: Results, core: int | None) -> None:
    """Measure files alone, and with one long header among them."""
    from long_headers import make  # here, so that the runner stays small

    files = peers.paths_of(str(results.corpus.folder))[:AMONG]
    with tempfile.TemporaryDirectory(prefix="dicom-warehouse-bench-") as folder:
        mixtures = {f"{len(files):,} files of the corpus": None, **make(Path(folder) / "long")}
        for number, long in enumerate(mixtures.values()):
            mixed = Path(folder) / str(number)
            mixed.mkdir()
            for place, path in enumerate([*files, *([long] if long else [])]):
                shutil.copyfile(path, mixed / str(place))
        for _ in range(results.corpus.rounds):
            for number, name in enumerate(mixtures):
                corpus = Corpus(name, Path(folder) / str(number), [], 1)
                done = run(OURS.name, corpus, core, "--sizes")
                results.among.setdefault(name, []).append(done)


def clones(source: str, rounds: int, core: int | None) -> list[Results]:
    """Compare on clones of real files, in folders of series and in no order."""
    from clones import make  # here, so that the runner stays small

    methods = [method for method in METHODS if method.name in CLONES_READ_BY]
    place = Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="dicom-warehouse-bench-", dir=place) as folder:
        say("cloning real files")
        return [
            compare(Corpus(name, made, [], rounds), methods, core)
            for name, made in zip(CLONES, make(source, Path(folder)), strict=True)
        ]


# -- tables -------------------------------------------------------------------------------------


def middle(values: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(list(values))


def rate(done: Run, what: str = "files") -> float:
    """Return files or elements per second of a run."""
    return float(done[what]) / float(done["seconds"])


def ratios(ours: Sequence[Run], theirs: Sequence[Run]) -> list[float]:
    """Return how many times as many files per second the first made, round by round."""
    return [rate(a) / rate(b) for a, b in zip(ours, theirs, strict=False)]


def spread(values: Sequence[float]) -> str:
    """Write median, smallest and largest.

    >>> spread([2.0, 1.0, 4.0])
    '2.00 (1.00-4.00)'
    """
    digits = 1 if middle(values) >= 10 else 2
    text = f"{middle(values):.{digits}f}"
    if len(values) == 1:
        return text
    return f"{text} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Draw a Markdown table with aligned columns, numbers to the right."""
    cells = [list(head), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [
        "| " + " | ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ) + " |"
        for row in [cells[0], rule, *cells[1:]]
    ]  # fmt: skip


def comparison(results: Results, methods: Sequence[peers.Method]) -> list[str]:
    """Draw the table of all methods."""
    head = [
        "method", "files/s", "elements/s", "refused", "peak RSS MiB", "written MiB", "ours ÷ it",
    ]  # fmt: skip
    mine = results.runs.get(OURS.name)
    rows = []
    for method in methods:
        runs = results.runs.get(method.name)
        if not runs:
            why = results.failed[method.name].partition(": ")
            why = "failed" if why[0] == "failed" else "".join(why)
            rows.append([f"{method.title} ({why})", *["-"] * (len(head) - 1)])
            continue
        against = "-" if method is OURS or not mine else spread(ratios(mine, runs))
        rows.append([
            method.title,
            f"{middle(map(rate, runs)):,.0f}",
            f"{middle(rate(r, 'elements') for r in runs):,.0f}",
            f"{runs[0]['refused']:,}",
            f"{middle(r['peaks'][0] for r in runs) / 2**20:,.0f}",
            f"{middle(r['written'] for r in runs) / 2**20:,.1f}",
            against,
        ])  # fmt: skip
    notes = [f"`{name}` {why}" for name, why in results.failed.items() if why.startswith("failed")]
    return [*table(head, rows), *(line for note in notes for line in ("", note))]


def workers(results: Results) -> list[str]:
    """Draw the table of one and two workers."""
    if not results.scaling:
        return []
    one = results.scaling["1 worker"]
    rows = []
    for name, runs in results.scaling.items():
        peaks = [r["peaks"] for r in runs]
        several = len(peaks[0]) > 1
        against = results.scaling[ALONE] if name == BESIDE else one
        rows.append([
            name,
            f"{middle(map(rate, runs)):,.0f}",
            "-" if name in {"1 worker", ALONE} else spread(ratios(runs, against)),
            "-" if name in {ALONE, BESIDE} else spread(ratios(runs, results.scaling[ALONE])),
            f"{middle(max(p[1:]) for p in peaks) / 2**20:,.0f}" if several else "-",
            f"{middle(map(sum, peaks)) / 2**20:,.0f}" if several or runs is one else "-",
        ])  # fmt: skip
    note = (
        "Workers are not bound to a core, and one worker uses the second core, too: for the threads "
        "of DuckDB and Arrow. RSS is the peak of the largest worker, and the sum of "
        "the peaks of all processes, which counts shared pages several times; it is known only if "
        "the benchmark owns the pool. The ratio of the last line is to the line before it."
    )
    return [
        "### Two workers",
        "",
        note,
        "",
        *table(
            [
                "",
                "files/s",
                "÷ 1 worker",
                "÷ one bound to a core",
                "RSS MiB, worker",
                "RSS MiB, all processes",
            ],
            rows,
        ),
        "",
    ]


ASKED = {
    "(a)": {"pydicom_long": 30, "fastdicom_long": 2.5, "gdcm_scanner": 1, "gdcm_scan": 1},
    "(b)": {"pydicom_long": 20, "fastdicom_long": 1.6, "gdcm_scanner": 1, "gdcm_scan": 1},
}
"""Targets: ratio of files per second to a peer, by corpus."""

ASKED_WORKERS, ASKED_CORES, ASKED_WORKER_MIB, ASKED_TOGETHER_MIB = 1.8, 1.75, 512, 1024
ASKED_SMALLER, ASKED_BYTES_A_ROW = 5, 1
ASKED_SHARE = 0.85
"""Of the times of pydicom: files in no order, and the same in folders of series."""


def asked(results: Results) -> list[str]:
    """Draw the targets beside the measurements."""
    mine = results.runs.get(OURS.name)
    if not mine:
        return []
    rows = []

    def judge(what: str, least: str, measured: float, *, is_met: bool) -> None:
        rows.append([what, least, f"{measured:,.2f}", "met" if is_met else "MISSED"])

    for name, least in ASKED.get(results.corpus.name[:3], {}).items():
        if name in results.runs:
            times = middle(ratios(mine, results.runs[name]))
            judge(f"speed ÷ `{name}`", f"at least {least:g}", times, is_met=times >= least)
    two = results.scaling.get("2 workers, started before the clock")
    if two:
        times = middle(ratios(two, results.scaling["1 worker"]))
        judge(
            "2 workers ÷ 1 worker",
            f"at least {ASKED_WORKERS}",
            times,
            is_met=times >= ASKED_WORKERS,
        )
        times = middle(ratios(two, results.scaling[ALONE]))
        judge(f"2 workers ÷ {ALONE}", f"at least {ASKED_CORES}", times, is_met=times >= ASKED_CORES)
        for what, most, pick in (
            ("RSS of a worker, MiB", ASKED_WORKER_MIB, lambda peaks: max(peaks[1:])),
            ("RSS of all processes, MiB", ASKED_TOGETHER_MIB, sum),
        ):
            size = middle(pick(r["peaks"]) for r in two) / 2**20
            judge(what, f"at most {most:,}", size, is_met=size <= most)
    if "sizes" in mine[0]:
        size = mine[0]["sizes"]
        times = size["header_bytes"] / (sum(size["tables"].values()) + size["rest"])
        judge(
            "size of headers ÷ warehouse", f"at least {ASKED_SMALLER}", times,
            is_met=times >= ASKED_SMALLER,
        )  # fmt: skip
        per_row = size["tables"]["elements"] / max(1, size["rows"])
        judge(
            "bytes per row of `elements`", f"at most {ASKED_BYTES_A_ROW}", per_row,
            is_met=per_row <= ASKED_BYTES_A_ROW,
        )  # fmt: skip
    return [
        "### Targets",
        "",
        *table(["", "target", "measured", ""], rows),
        "",
    ]


def disk(results: Results) -> list[str]:
    """Draw the table of bytes on disk."""
    mine = results.runs.get(OURS.name)
    if not mine or "sizes" not in mine[0]:
        return []
    size = mine[0]["sizes"]
    tables, raw, long = size["tables"], size["header_bytes"], size["long_bytes"]
    everything = sum(tables.values()) + size["rest"]
    without = everything - tables["blobs"]

    def times(whole: int, part: int) -> str:
        return f"1/{whole / part:.1f}" if part and whole else "-"

    rows = [
        ["everything", f"{everything:,}", times(raw, everything)],
        ["without long binary values", f"{without:,}", times(raw - long, without)],
        *([f"`{name}`", f"{count:,}", ""] for name, count in tables.items()),
        ["logs and other files", f"{size['rest']:,}", ""],
    ]
    read_by = ", ".join(f"{reader} {files:,}" for reader, files in size["readers"].items())
    per_row = tables["elements"] / max(1, size["rows"])
    note = (
        f"Headers of {size['files']:,} ingested files (read by: {read_by}; "
        f"{size['duplicates']:,} duplicates left out): {raw:,} bytes before the pixel data, "
        f"{long:,} of them in {size['long_values']:,} binary values over 256 bytes. "
        f"{size['rows']:,} rows: **{per_row:.2f} bytes a row** in `elements`."
    )
    return [
        "### Bytes on disk",
        "",
        note,
        "",
        *table(["", "bytes", "of the headers"], rows),
        "",
    ]


def stages(results: Results) -> list[str]:
    """Draw where the time goes."""
    if not results.stages:
        return []
    names = list(dict.fromkeys(name for run_ in results.stages for name in run_))
    seconds = {name: middle(r.get(name, 0.0) for r in results.stages) for name in names}
    total = sum(seconds.values())
    files = results.corpus.files
    rows = [
        [name, f"{spent:.3f}", f"{spent / total:.0%}", f"{spent / files * 1e6:,.1f}"]
        for name, spent in seconds.items()
    ]
    return [
        "### Where the time goes",
        "",
        (
            "One worker on one core, timers around the stages, medians. An ingest of three of the "
            f"files takes {middle(results.fixed):.2f} s, which is the fixed cost."
        ),
        "",
        *table(["stage", "seconds", "share", "µs/file"], rows),
        "",
    ]


def among(results: Results) -> list[str]:
    """Show what the elements and values of one long header cost beside those of usual files."""
    if not results.among:
        return []
    (alone, plain), *mixtures = results.among.items()
    nothing: Run = {"seconds": 0, "elements": 0, "sizes": {"rows": 0}}

    def costs(runs: Sequence[Run], without: Sequence[Run]) -> tuple[float, float]:
        """Return µs of an element and of a row that come on top, round by round."""
        rounds = [
            (
                1e6 * (now["seconds"] - old["seconds"]),
                now["elements"] - old["elements"],
                now["sizes"]["rows"] - old["sizes"]["rows"],
            )
            for now, old in zip(runs, without, strict=True)
        ]
        return middle(us / elements for us, elements, _ in rounds), middle(
            us / rows for us, _, rows in rounds
        )

    usual = costs(plain, [nothing] * len(plain))
    rows = [[alone, f"{plain[0]['elements']:,}", *(f"{cost:.2f}" for cost in usual), "-", "-"]]
    for name, runs in mixtures:
        theirs = costs(runs, plain)
        more = runs[0]["elements"] - plain[0]["elements"]
        times = [f"{cost / one:.2f}" for cost, one in zip(theirs, usual, strict=True)]
        rows.append([f"{name}, among them", f"{more:,}", *(f"{c:.2f}" for c in theirs), *times])
    head = ["", "elements", "µs per element", "µs per row", "÷ usual", "÷ usual, rows"]
    return [
        "### One long header among others",
        "",
        (
            "Time that one file with a long header adds to an ingest of usual files, one worker on "
            "one core. An element with several values, such as the points of a contour, has a row "
            "per value."
        ),
        "",
        *table(head, rows),
        "",
    ]


def share_of_core(results: Results) -> str:
    """Say how much of a core the runs got: what shows a busy machine."""
    shares = [r["cpu"] / r["seconds"] for runs in results.runs.values() for r in runs]
    if not shares:
        return "no run"
    return f"CPU ÷ elapsed time: median {middle(shares):.0%}, lowest {min(shares):.0%}"


def section(results: Results, methods: Sequence[peers.Method]) -> list[str]:
    """Write everything about one corpus."""
    corpus = results.corpus
    measured = (
        f"{corpus.files:,} files and {corpus.total_bytes / 2**20:,.0f} MiB in the folder; "
        f"rounds: {corpus.rounds}; {share_of_core(results)}"
    )
    return [
        f"## {corpus.name[0].upper()}{corpus.name[1:]}",
        "",
        *(f"- {line}" for line in [*corpus.about, measured]),
        "",
        *comparison(results, methods),
        "",
        *asked(results),
        *workers(results),
        *disk(results),
        *stages(results),
        *among(results),
    ]


def order(found: Sequence[Results]) -> list[str]:
    """Draw what it matters in which order files are."""
    rows = []
    times = []
    for results in found:
        mine, theirs = (results.runs[name] for name in CLONES_READ_BY)
        against = ratios(mine, theirs)
        times.append(middle(against))
        each = (f"{middle(map(rate, runs)):,.0f}" for runs in (mine, theirs))
        rows.append([results.corpus.name, *each, spread(against)])
    share = times[1] / times[0]
    return [
        "## (c) clones of real files",
        "",
        (
            f"{found[0].corpus.files:,} files, {found[0].corpus.total_bytes / 2**20:,.0f} MiB. Each "
            "readable file of (b) is a template; values that differ between patients, studies, "
            f"series and instances are generated. Rounds: {found[0].corpus.rounds}."
        ),
        "",
        *table(["", "files/s", "pydicom → long rows", "ours ÷ it"], rows),
        "",
        (
            f"For unordered files, ours ÷ pydicom is {share:.0%} of the ratio for files in folders. "
            f"The target is at least {ASKED_SHARE:.0%}: "
            f"{'met' if share >= ASKED_SHARE else 'MISSED'}."
        ),
        "",
    ]


# -- the page -----------------------------------------------------------------------------------


def page(parts: Iterable[Sequence[str]], command: str) -> str:
    """Write the whole page."""
    introduction = (
        f"Generated by `{command}` on {dt.datetime.now(tz=dt.UTC).date()}; `benchmarks/README.md` "
        "describes the method. Figures are medians of all rounds. `ours ÷ it` is computed per "
        "round, and given as median, minimum and maximum. *refused*: files that a method could "
        "not read completely; *elements*: elements that it read, including those in sequence "
        "items; *written*: size of Parquet, warehouse, or text."
    )
    lines = [
        "# Benchmarks",
        "",
        "<!-- Generated by benchmarks/extraction.py (make bench). Do not edit. -->",
        "",
        introduction,
        "",
        "## Machine",
        "",
        *(f"- {line}" for line in machine()),
        "",
        *(line for part in parts for line in part),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def machine() -> list[str]:
    """Say on what and with what was measured."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    distributions = [
        "pydicom", "python-gdcm", "fastdicom", "pyarrow", "duckdb", "deltalake",
        "polars", "numpy",
    ]  # fmt: skip
    versions = [f"{name} {_version(name)}" for name in distributions]
    system = f"{platform.system()} {platform.release()}"
    return [
        f"{_processor()}, {cores} cores, {memory:.0f} GiB; {system}",
        f"Python {platform.python_version()}; {', '.join(versions)}; dcmtk {_dcmtk()}",
        f"revision {_revision()}",
        f"load average at the end: {', '.join(f'{load:.1f}' for load in os.getloadavg())}",
    ]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            for line in info:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except FileNotFoundError:
        pass
    return platform.processor() or platform.machine()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _dcmtk() -> str:
    if shutil.which("dcmdump") is None:
        return "not installed"
    done = subprocess.run(["dcmdump", "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return words[2] if len(words) > 2 else "of unknown version"


def _revision() -> str:
    if shutil.which("git") is None:
        return "unknown"
    done = subprocess.run(
        ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure reading DICOM headers into tables.")
    parser.add_argument("--files", type=int, help=f"size of corpus (a), {DEFAULT_FILES:,}")
    parser.add_argument("--rounds", type=int, help="rounds, 3; three times that for a small (b)")
    parser.add_argument("--corpus", type=Path, help="folder of corpus (a); made if it is not there")
    parser.add_argument("--methods", help=f"only these: {','.join(m.name for m in METHODS)}")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few files, one round, (a) and the comparison alone; writes no page",
    )
    parser.add_argument("--output", type=Path, help="page to write; docs/benchmarks.md")
    given = parser.parse_args()
    given.files = given.files or (QUICK_FILES if given.quick else DEFAULT_FILES)
    given.rounds = given.rounds or (1 if given.quick else 3)
    if given.output is None and not given.quick:
        given.output = PAGE
    names = given.methods.split(",") if given.methods else [m.name for m in METHODS]
    unknown = set(names) - {method.name for method in METHODS}
    if unknown:
        parser.error(f"unknown methods: {', '.join(sorted(unknown))}")
    given.methods = [method for method in METHODS if method.name in names]
    return given


def main() -> None:
    """Measure, print, and write the page."""
    given = arguments()
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    corpora = [generated(given.corpus, given.files, given.rounds)]
    if os.environ.get("DICOM_CORPUS") and not given.quick:
        corpora.append(real(os.environ["DICOM_CORPUS"], given.rounds))
    parts = []
    for number, corpus in enumerate(corpora):
        results = compare(corpus, given.methods, core)
        if not given.quick and OURS.name in results.runs:
            if number == 0:
                scale(results)
                long_headers(results, core)
            profile(results, core)
            fixed_cost(results, core)
        parts.append(section(results, given.methods))
    if len(corpora) > 1:
        parts.append(order(clones(os.environ["DICOM_CORPUS"], given.rounds, core)))
    command = " ".join(["python benchmarks/extraction.py", *sys.argv[1:]])
    if len(corpora) > 1:
        command = f"DICOM_CORPUS=… {command}"
    text = page(parts, command)
    print(text)
    if given.output:
        given.output.write_text(text, encoding="utf-8")
        say(f"written to {given.output}")


if __name__ == "__main__":
    main()
