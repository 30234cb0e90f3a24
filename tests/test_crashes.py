"""Full disks, killed writers and several writers at once: a whole version or the one before."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import warehouse
from tests.content import content
from tests.dicom_files import image, write
from tests.forms import some
from tests.measured import written
from tests.vendor_payloads import CSA, add_private, csa
from warehouse.errors import WriteFailed
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Mode
from warehouse.store import commit, delta, layout, tables
from warehouse.workers import WorkerLost, WorkerPool

CHECKOUT = Path(__file__).parents[1]
SETTINGS = IngestSettings(mode=Mode.FULL, workers=1, batch_files=6)

PROGRAM = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
from warehouse.process import do_without_pandas, do_without_requests
do_without_pandas()
do_without_requests()
from warehouse.errors import WriteFailed
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Mode
limit = int(sys.argv[2])
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print("begin", flush=True)
try:
    ingest(sys.argv[3], sys.argv[4:], IngestSettings(mode=Mode.FULL, workers=1, batch_files=6))
except WriteFailed as why:
    print("WriteFailed", why)
    sys.exit(3)
"""


def start(root: Path, *sources: Path, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(CHECKOUT), str(limit), str(root), *map(str, sources)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ten_files(folder: Path) -> Path:
    """Make ten files, one of them a copy, one no DICOM, with long values that are shared."""
    for number in range(8):
        made = image(f"1.{number}", InstanceNumber=number)
        made.add_new(0x00420011, "OB", bytes([number % 3]) * 600)
        header = csa([("B_value", "IS", [str(number % 3)])])
        add_private(made, CSA, 0x29, 0x11, x10=("OB", header))
        write(folder / f"{number}", made)
    write(folder / "copy", uid="1.0")
    (folder / "broken").write_bytes(b"nothing")
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to."""
    return ten_files(tmp_path_factory.mktemp("source") / "in")


@pytest.fixture(scope="module")
def clean(source: Path) -> dict[str, Any]:
    """What one undisturbed ingest of it gives."""
    ingest(source.parent / "clean", [source], SETTINGS)
    return content(source.parent / "clean")


@dataclass
class Begun:
    """A warehouse to copy, of which one file has changed since, and what is to come of it."""

    root: Path
    files: list[Path]
    expected: dict[str, Any]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    folder = tmp_path_factory.mktemp("begun")
    source = ten_files(folder / "in")
    ingest(folder / "w", [source / "0", source / "copy"], SETTINGS)
    write(source / "0", uid="1.0", PatientID="changed")
    ingest(folder / "after", [source / "0", source / "1", source / "copy"], SETTINGS)
    return Begun(folder / "w", [source / "0", source / "1"], content(folder / "after"))


def finish(root: Path, source: Path, clean: dict[str, Any]) -> None:
    """Run again, to the end: everything is as if nothing had happened."""
    ingest(root, [source], SETTINGS)
    assert content(root) == clean


# -- a full disk ----------------------------------------------------------------------------------


class Full:
    """Lets some writes pass and refuses the next one."""

    def __init__(self, passes: int) -> None:
        self.left = passes
        self.refused = False

    def __call__(self, real: Any) -> Any:
        def write_or_refuse(*arguments: Any, **options: Any) -> Any:
            if self.left == 0:
                self.left -= 1
                self.refused = True
                raise OSError(28, "No space left on device")
            self.left -= 1
            return real(*arguments, **options)

        return write_or_refuse


WRITES = 13
"""More writes than the batch below has."""


def refuse(patched: pytest.MonkeyPatch, full: Full) -> None:
    """Let ``full`` decide about every write of Python; DuckDB's own are met by the limit below."""
    patched.setattr(pq, "write_table", full(pq.write_table))
    patched.setattr(pq, "ParquetWriter", full(pq.ParquetWriter))
    patched.setattr(os, "link", full(os.link))
    patched.setattr(
        DeltaTable, "create_write_transaction", full(DeltaTable.create_write_transaction)
    )


@pytest.mark.parametrize(
    "passes",
    [
        *(0, 6, WRITES),
        *(
            pytest.param(
                n, marks=pytest.mark.long("test_a_disk_that_is_full_at_any_write_changes_nothing")
            )
            for n in (2, 4, 8)
        ),
        *some((n for n in range(WRITES) if n not in {0, 2, 4, 6, 8}), always=()),
    ],
)
def test_a_disk_that_is_full_at_any_write_changes_nothing(
    begun: Begun, tmp_path: Path, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(begun.root, tmp_path / "w")
    before = delta.snapshot(root).parts
    full = Full(passes)
    said = ""
    with monkeypatch.context() as patched:
        refuse(patched, full)
        try:
            ingest(root, begun.files, SETTINGS)
        except WriteFailed as why:
            said = str(why)
    assert full.refused == bool(said)
    assert said or passes > 5
    if said:
        assert "no space is left on the disk" in said
        assert "run the same command again" in said
        assert delta.snapshot(root).parts == before
        ingest(root, begun.files, SETTINGS)
    else:
        # The last case: there was room for every write.
        assert not full.refused
    assert content(root) == begun.expected


@pytest.mark.parametrize("limit", some([10, 500, 1500, 2500, 6000], always=[10, 1500, 6000]))
def test_a_limit_on_the_size_of_files_ends_in_one_message(
    source: Path, tmp_path: Path, clean: dict[str, Any], limit: int
) -> None:
    """The limit meets whatever is written, by DuckDB, Arrow or Delta alike."""
    root = tmp_path / "w"
    with WorkerPool(1) as pool:
        why, said = pool.submit(written, tmp_path / "begun", root, source, limit=limit).result()
    assert said == ""
    assert why.startswith("could not write ")
    assert "\n" not in why
    finish(root, source, clean)


# -- killed writers -------------------------------------------------------------------------------


@pytest.mark.acceptance("D78")
@pytest.mark.parametrize("seed", some(range(8), always=[0, 1, 2]))
def test_killed_at_any_moment_and_run_again_equals_a_clean_run(
    source: Path, tmp_path: Path, clean: dict[str, Any], seed: int
) -> None:
    root, begun = tmp_path / "w", tmp_path / "begun"
    with WorkerPool(1) as pool:
        writing = pool.submit(written, begun, root, source)
        while not begun.exists():
            assert not writing.done()
            time.sleep(0.002)
        time.sleep(random.Random(seed).uniform(0.0, 1.6))
        os.kill(int(begun.read_text()), signal.SIGKILL)
        with suppress(WorkerLost):
            # Perhaps it was done before.
            assert writing.result() == ("", "")
    if (root / layout.MARKER).exists():
        content(root)
    finish(root, source, clean)


@pytest.fixture(scope="module")
def first(source: Path) -> tuple[Path, dict[str, Any]]:
    """Return a warehouse to copy that has read two of the files, and what it holds."""
    root = source.parent / "first"
    ingest(root, [source / "0", source / "copy"], SETTINGS)
    return root, content(root)


@pytest.mark.parametrize(
    "table",
    [
        table.name
        # Of the first that is written, of one with instances, and of the last.
        if table.name in {"elements", "instances", "files"}
        else pytest.param(
            table.name, marks=pytest.mark.long("test_killed_between_the_commits_of_two_tables")
        )
        for table in tables.REGISTRY
        if not table.is_appended
    ],
)
def test_killed_between_the_commits_of_two_tables(
    source: Path, tmp_path: Path, clean: dict[str, Any], first: tuple[Path, dict[str, Any]],
    table: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    template, held = first
    root = shutil.copytree(template, tmp_path / "w")
    version = delta.snapshot(root).version
    real = delta._apply

    class Killed(BaseException):
        pass

    def stop_before(opened: DeltaTable, *rest: Any) -> int:
        if opened.table_uri.rstrip("/").endswith(table):
            raise Killed
        return real(opened, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(delta, "_apply", stop_before)
        # A killed process tidies nothing up.
        patched.setattr(commit, "discard", lambda *_: None)
        with pytest.raises(Killed):
            ingest(root, [source], SETTINGS)
    assert delta.snapshot(root).version == version
    assert content(root) == held
    # Whatever the size of a batch: one has less to commit than two.
    ingest(root, [source], replace(SETTINGS, batch_files=20))
    assert content(root) == clean


# -- several writers ------------------------------------------------------------------------------


@pytest.mark.acceptance("D78")
def test_two_writers_of_overlapping_folders_equal_one(
    source: Path, tmp_path: Path, clean: dict[str, Any]
) -> None:
    root = tmp_path / "w"
    half = [source / name for name in ("0", "3", "copy", "5", "broken")]
    with WorkerPool(2) as pool:
        writers = [
            pool.submit(written, tmp_path / "first", root, source),
            pool.submit(written, tmp_path / "second", root, *half),
        ]
        assert [writer.result(120) for writer in writers] == [("", "")] * 2
    assert content(root) == clean


def test_a_reader_keeps_its_version_while_others_write(tmp_path: Path) -> None:
    root, source = tmp_path / "w", ten_files(tmp_path / "in")
    ingest(root, [source / "0"], SETTINGS)
    reader = warehouse.open(root, create=True)
    held = reader.sql("select file_path from files").fetchall()
    write(source / "0", uid="7.7")
    ingest(root, [source], SETTINGS)
    assert reader.sql("select file_path from files").fetchall() == held
    assert reader.sql("select count(*) from elements").fetchall() != [(0,)]
    assert reader.table("files").collect().height == 1
    reader.refresh()
    assert reader.sql("select count(*) from files").fetchall() == [(10,)]


def test_a_batch_that_failed_leaves_no_parts(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "w"
    ingest(root, [source / "broken"], SETTINGS)
    before = set(root.rglob("*.parquet"))
    full = Full(3)
    monkeypatch.setattr(pq, "write_table", full(pq.write_table))
    with pytest.raises(WriteFailed):
        ingest(root, [source], IngestSettings(mode=Mode.FULL, workers=1, chunk_files=1))
    assert set(root.rglob("*.parquet")) == before
