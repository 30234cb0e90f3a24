"""Tables that come later, and rows that come from no file: none is lost, whoever else writes."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import warehouse
from tests import toy_tables
from tests.asking import answer_of
from tests.content import content
from tests.dicom_files import write
from tests.golden.test_layout_1 import unpacked
from tests.toy_tables import notes
from warehouse.errors import KeyTaken, StoreDamaged, UsageError, WriteFailed
from warehouse.ingest import ingest
from warehouse.rebuild import rebuild
from warehouse.removal import remove
from warehouse.settings import IngestSettings, Mode
from warehouse.store import delta, layout, making, tables
from warehouse.store.append import append_rows
from warehouse.store.compact import compact
from warehouse.store.vacuum import vacuum

SETTINGS = IngestSettings(mode=Mode.FULL, workers=1)
CHECKOUT = Path(__file__).parents[2]
NOW = dt.timedelta(0)


@pytest.fixture(scope="module")
def toy_sql(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the SQL of the toys lies, and views are kept that are made of it once."""
    return toy_tables.shared(tmp_path_factory)


@pytest.fixture
def toys(toy_sql: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Return what lets the library know the toy tables, or not: the software of two days."""

    def know(known: bool) -> None:
        monkeypatch.undo()
        if known:
            toy_tables.register(toy_sql, monkeypatch)

    know(True)
    return know


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The golden store, which knows nothing of the toys."""
    return unpacked(tmp_path / "w")


def stored(root: Path, version: int | None = None) -> list[tuple[str, int]]:
    """Return the notes of a version; from its parts, because a catalog takes longer to open."""
    paths = delta.snapshot(root, version).paths("toy_notes")
    rows = pq.read_table(paths, columns=["author", "number"], partitioning=None)
    return sorted(zip(*rows.to_pydict().values(), strict=True))


def first_tables(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of the tables that every warehouse has, ids and batches too."""
    catalog = warehouse.open(root).catalog.connection
    return {
        name: sorted(catalog.execute(f"from {name}").fetchall(), key=repr)
        for name in sorted(tables.FIRST)
    }


def bytes_of(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


# -- a warehouse that is older than a table --------------------------------------------------------


@pytest.mark.usefixtures("toys")
def test_a_reader_sees_a_table_that_is_not_there_empty_and_writes_nothing(root: Path) -> None:
    before = bytes_of(root)
    wh = warehouse.open(root)
    for name in toy_tables.SQL:
        assert answer_of(wh, f"from {name}") == []
        described = [row[:2] for row in answer_of(wh, f"describe {name}")]
        assert described == wh.describe(name).select("column", "type").rows()
        assert wh.table(name).collect().is_empty()
        assert {t["name"]: t["rows"] for t in wh.info()["tables"]}[name] == 0
    assert bytes_of(root) == before
    vacuum(root, NOW)


@pytest.mark.parametrize("home", ["", "relative", "/proc/none", "/tmp/with*star"])
@pytest.mark.usefixtures("toys")
def test_without_a_place_for_caches_it_is_empty_too(
    root: Path, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    monkeypatch.setenv("HOME", "/proc/none")
    assert stored(root) == []


@pytest.mark.usefixtures("toys")
def test_the_first_commit_makes_the_tables_and_keeps_every_row(root: Path) -> None:
    rows, held, before = first_tables(root), content(root), delta.snapshot(root)
    done = append_rows(root, {"toy_notes": notes("a", 3)})
    assert (done.rows, done.version) == ({"toy_notes": 3}, before.version + 1)
    assert first_tables(root) == rows
    assert content(root) == held
    assert stored(root) == [("a", 0), ("a", 1), ("a", 2)]
    # Versions from before it was there answer without rows.
    for version in range(1, before.version + 1):
        try:
            assert stored(root, version) == []
        except StoreDamaged:
            # Its parts were vacuumed when the golden store was made.
            assert version < before.version
    about = json.loads((root / layout.MARKER).read_text())
    assert about["layout"] == layout.LAYOUT_VERSION == 1
    assert set(about["tables"]) == set(tables.names())
    ingest(root, [CHECKOUT / "tests" / "dicom_files.py"], SETTINGS)
    assert stored(root) == [("a", 0), ("a", 1), ("a", 2)]


def test_a_table_that_is_not_known_keeps_its_rows(
    root: Path, toys: Callable[[bool], None], tmp_path: Path
) -> None:
    append_rows(root, {"toy_notes": notes("a", 1)})
    toys(False)
    write(tmp_path / "in" / "a", uid="1.1")
    ingest(root, [tmp_path / "in"], SETTINGS)
    assert "toy_notes" not in delta.snapshot(root).parts
    vacuum(root, NOW, delete=True)
    toys(True)
    assert stored(root) == [("a", 0)]
    append_rows(root, {"toy_notes": notes("b", 1)})
    assert stored(root) == [("a", 0), ("b", 0)]


@pytest.mark.long("test_a_table_that_is_not_known_keeps_its_rows")
def test_a_table_that_only_newer_software_knows_is_left_alone(
    root: Path, toys: Callable[[bool], None], tmp_path: Path
) -> None:
    write(tmp_path / "in" / "a", uid="1.1")
    write(tmp_path / "in" / "b", uid="1.2")
    ingest(root, [tmp_path / "in"], SETTINGS)
    for number in range(3):
        append_rows(root, {"toy_notes": notes("a", 1, number)})
    rows = stored(root)
    marks = warehouse.open(root).sql("from toy_marks order by all").fetchall()
    assert len(marks) == 2
    toys(False)
    assert "toy_notes" not in delta.snapshot(root).parts
    (tmp_path / "in" / "a").unlink()
    write(tmp_path / "in" / "c", uid="1.3")
    ingest(root, [tmp_path / "in"], SETTINGS)
    remove(root, [tmp_path / "in"], SETTINGS, delete=True)
    compact(root)
    rebuild(root)
    vacuum(root, NOW, delete=True)
    delta.create(root)
    content(root)
    toys(True)
    assert stored(root) == rows
    append_rows(root, {"toy_notes": notes("b", 1)})
    assert stored(root) == [*rows, ("b", 0)]
    assert warehouse.open(root).sql("from toy_marks order by all").fetchall() == marks


def as_the_first_software(root: Path, version: int) -> None:
    """Let an entry of the log be as software wrote it that named the first six tables only."""
    path = making.log_path(root, "files", version)
    actions = [json.loads(line) for line in path.read_text().splitlines()]
    for action in actions:
        if info := action.get("commitInfo"):
            del info["dicomWarehouseTables"]
            for name in ("dicomWarehousePins", "dicomWarehouseTotals"):
                info[name] = {t: v for t, v in info[name].items() if t in tables.FIRST}
    path.write_text("".join(json.dumps(action) + "\n" for action in actions))


@pytest.mark.parametrize(
    ("turns", "commits"),
    [
        ([True], 1),
        pytest.param(
            [True, False, True],
            2,
            marks=pytest.mark.long("test_what_the_first_software_commits_loses_no_table"),
        ),
    ],
    ids=["once", "in turns"],
)
def test_what_the_first_software_commits_loses_no_table(
    root: Path, toys: Callable[[bool], None], tmp_path: Path, turns: list[bool], commits: int
) -> None:
    append_rows(root, {"toy_notes": notes("a", 2)})
    rows = stored(root)
    for known in turns:
        # It knew of nothing but its six tables, and so left the notes as they were.
        toys(False)
        for number in range(commits):
            write(tmp_path / f"{known}{number}", uid=f"5.{known:d}.{number}")
            ingest(root, [tmp_path / f"{known}{number}"], SETTINGS)
            as_the_first_software(root, delta.snapshot(root).version)
        assert delta.snapshot(root).versions["toy_notes"] == 1
        toys(known)
        write(tmp_path / "more", uid=f"6.{known:d}")
        ingest(root, [tmp_path / "more"], SETTINGS)
    assert stored(root) == rows
    # When no entry is left that names the notes, nobody guesses which rows are theirs.
    as_the_first_software(root, version := delta.snapshot(root).version)
    for number in range(1, version):
        making.log_path(root, "files", number).unlink()
    with pytest.raises(StoreDamaged, match="toy_notes"):
        delta._pins(root, version)


# -- appending -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("toys")
def test_a_row_is_appended_once(root: Path) -> None:
    first = append_rows(root, {"toy_notes": notes("a", 3)})
    assert append_rows(root, {"toy_notes": notes("a", 3)}) == type(first)(
        {"toy_notes": 0}, first.version
    )
    twice = pa.concat_tables([notes("a", 5), notes("a", 4), notes("b", 1)])
    columns = ["text", "number", "made_at", "author"]
    assert append_rows(root, {"toy_notes": twice.select(columns)}).rows == {"toy_notes": 3}
    assert stored(root) == [*(("a", n) for n in range(5)), ("b", 0)]
    compact(root)
    assert append_rows(root, {"toy_notes": twice}).rows == {"toy_notes": 0}
    assert append_rows(root, {}).rows == {}


def with_text(text: str) -> pa.Table:
    return notes("a", 1).set_column(3, "text", pa.array([text]))


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ({"toy_notes": with_text("other")}, KeyTaken),
        ({"toy_notes": pa.concat_tables([notes("c", 1), with_text("x"), with_text("y")])}, KeyTaken),
        ({"toy_notes": notes("c", 1).drop_columns(["text"])}, UsageError),
        ({"toy_notes": notes("c", 1).append_column("more", pa.array([1]))}, UsageError),
        ({"toy_notes": notes("c", 1).set_column(1, "number", pa.array(["SECRET"]))}, UsageError),
        ({"toy_notes": notes("c", 1).set_column(0, "author", pa.array([None], "string"))}, UsageError),
        ({"toy_marks": pa.table({"instance_id": [1], "element_count": [1]})}, UsageError),
        ({"toy_notes": notes("c", 1), "files": pa.table({"path": ["x"]})}, UsageError),
        ({"no_such": notes("c", 1)}, UsageError),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("toys")
def test_what_does_not_fit_is_refused_as_a_whole(
    root: Path, rows: dict[str, pa.Table], why: type[Exception]
) -> None:
    append_rows(root, {"toy_notes": notes("a", 1)})
    before = {path: text for path, text in bytes_of(root).items() if path.suffix != ".lock"}
    with pytest.raises(why) as said:
        append_rows(root, rows)
    assert "SECRET" not in str(said.value)
    assert bytes_of(root) == before


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from warehouse.process import do_without_pandas
do_without_pandas()
from tests.toy_tables import notes, register
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Mode
from warehouse.store.append import append_rows
root, what = Path(sys.argv[2]), sys.argv[4]
register(Path(sys.argv[3]))
if what == "ingest":
    ingest(root, [sys.argv[5]], IngestSettings(mode=Mode.FULL, workers=1, batch_files=1))
else:
    for number in range(3):
        append_rows(root, {"toy_notes": notes(what, 2, 2 * number)})
"""


@pytest.mark.usefixtures("toys")
def test_two_appends_at_once_lose_nothing(root: Path) -> None:
    """In threads of one process; either may be the one to make the table."""
    before = delta.snapshot(root).version

    def append(author: str) -> None:
        for number in range(3):
            append_rows(root, {"toy_notes": notes(author, 2, 2 * number)})

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(append, "ab")) == [None, None]
    assert delta.snapshot(root).version == before + 6
    assert stored(root) == [(author, number) for author in "ab" for number in range(6)]


@pytest.mark.long("test_two_appends_at_once_lose_nothing")
@pytest.mark.usefixtures("toys")
def test_an_ingest_and_two_appends_at_once_lose_nothing(
    root: Path, tmp_path: Path, toy_sql: Path
) -> None:
    """From a warehouse on that has not the table yet: each of them may be the one to make it."""
    for number in range(4):
        write(tmp_path / "in" / str(number), uid=f"7.{number}")
    before = delta.snapshot(root).version
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, (CHECKOUT, root, toy_sql, *what))],
            stderr=subprocess.PIPE, text=True,
        )
        for what in (("ingest", tmp_path / "in"), ("a",), ("b",))
    ]  # fmt: skip
    for writer in writers:
        assert (writer.communicate(timeout=120)[1], writer.returncode) == ("", 0)
    assert delta.snapshot(root).version == before + 4 + 6
    assert stored(root) == [(author, number) for author in "ab" for number in range(6)]
    wh = warehouse.open(root)
    assert answer_of(wh, "select count(*) from files where status = 'ingested'") == [(8,)]
    assert answer_of(wh, "select count(*) from toy_marks") == [(4,)]
    content(root)


class Killed(BaseException):
    """What a killed process tidies up, nobody does."""


class Steps:
    """Ends everything before or behind the n-th step that reaches the disk.

    Two of three wait for the disk alone, and leave in it what the step before them has left.
    """

    def __init__(self, at: int, *, behind: bool, with_waits: bool) -> None:
        self.left, self.behind, self.is_over = at, behind, False
        self.with_waits = with_waits

    def patched(self, patch: pytest.MonkeyPatch) -> None:
        for owner, name in (
            (pq, "write_table"), (os, "link"), (DeltaTable, "create_write_transaction"),
            (Path, "replace"), (Path, "touch"), *([(os, "fsync")] if self.with_waits else []),
        ):  # fmt: skip
            patch.setattr(owner, name, self._step(getattr(owner, name)))
        real = Path.unlink
        patch.setattr(Path, "unlink", lambda *a, **k: None if self.is_over else real(*a, **k))

    def _step(self, real: Any) -> Any:
        def step(*args: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self.behind:
                self.is_over = True
                raise Killed
            answer = real(*args, **options)
            if self.left == 0:
                self.is_over = True
                raise Killed
            return answer

        return step


@pytest.mark.parametrize("with_waits", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("is_new", "behind"),
    [
        pytest.param(
            True,
            False,
            marks=pytest.mark.long(
                "test_killed_at_each_step_the_version_is_whole_or_the_one_before"
            ),
        ),
        (False, True),
    ],
)
def test_killed_at_each_step_the_version_is_whole_or_the_one_before(
    tmp_path: Path, toys: Callable[[bool], None], behind: bool, is_new: bool, with_waits: bool
) -> None:
    """With ``is_new`` it makes the toy tables too; those of the library are there: they are alike."""
    template = unpacked(tmp_path / "template")
    toys(False)
    ingest(template, [CHECKOUT / "tests" / "dicom_files.py"], SETTINGS)
    toys(True)
    if not is_new:
        append_rows(template, {"toy_notes": notes("a", 1)})
    held, old = content(template), stored(template)
    whole = sorted({*old, ("b", 0), ("b", 1)})
    seen = set()
    for at in range(1, 100):
        root = shutil.copytree(template, tmp_path / f"{at}")
        steps = Steps(at, behind=behind, with_waits=with_waits)
        with pytest.MonkeyPatch.context() as patch:
            steps.patched(patch)
            with contextlib.suppress(Killed):
                append_rows(root, {"toy_notes": notes("b", 2)})
        found = stored(root)
        assert found in (old, whole), at
        seen.add(len(found))
        if at % 4 == 0 or not steps.is_over:
            assert content(root) == held
        # Run again, and with another writer in between, there is each row once.
        if another := at % 4 == 1:
            append_rows(root, {"toy_notes": notes("c", 1)})
        append_rows(root, {"toy_notes": notes("b", 2)})
        assert stored(root) == sorted({*whole, *([("c", 0)] if another else [])}), at
        if not steps.is_over:
            break
    assert not steps.is_over
    assert at > (8 if with_waits else 4)
    assert seen == {len(old), len(whole)}


@pytest.mark.usefixtures("toys")
def test_a_full_disk_leaves_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append_rows(root, {"toy_notes": notes("a", 1)})
    before = set(root.rglob("*.parquet"))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        with pytest.raises(WriteFailed, match="rows of toy_notes"):
            append_rows(root, {"toy_notes": notes("b", 1)})
    assert set(root.rglob("*.parquet")) == before
    assert stored(root) == [("a", 0)]


@pytest.mark.usefixtures("toys")
def test_compact_merges_appended_rows_and_vacuum_deletes_the_parts_before(root: Path) -> None:
    for author in "cab":
        for number in (2, 0):
            append_rows(root, {"toy_notes": notes(author, 2, number)})
    rows = stored(root)
    assert len(rows) == 12
    version = delta.snapshot(root).version
    assert compact(root).after["toy_notes"] == 1
    assert stored(root) == stored(root, version) == rows
    (part,) = delta.snapshot(root).parts["toy_notes"]
    merged = pq.read_table(
        root / "toy_notes" / part, columns=["author", "number"], partitioning=None
    )
    assert list(zip(*merged.to_pydict().values(), strict=True)) == rows
    vacuum(root, NOW, delete=True)
    assert [path.name for path in (root / "toy_notes").rglob("*.parquet")] == [Path(part).name]
    assert stored(root) == rows
