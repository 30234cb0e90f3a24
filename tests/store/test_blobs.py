"""A long value is stored once and never lost, whoever wrote it and whatever came between."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.content import content
from tests.dicom_files import write
from warehouse.dicom.scan import discover
from warehouse.elements.extract import extract
from warehouse.elements.schema import BLOBS
from warehouse.errors import StoreDamaged
from warehouse.settings import Mode
from warehouse.store import blobs, commit, delta, layout, tables
from warehouse.store.commit import commit_batch, commit_removal
from warehouse.store.compact import compact
from warehouse.store.duck import lent
from warehouse.store.ready import Ready, make_ready
from warehouse.store.stage import Staged, stage
from warehouse.store.vacuum import vacuum

VANISHED = ("path", "batch", "size_bytes", "modified_at")


def long_value(number: int) -> bytes:
    return bytes([number]) * 300


@dataclass
class Warehouse:
    """One whose batches are made ready and committed by hand."""

    root: Path
    staged: dict[int, list[Staged]] = field(default_factory=dict)
    ready: dict[int, Ready | None] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    """Parts that some version named."""

    def __post_init__(self) -> None:
        delta.create(self.root)

    def copy(self, root: Path) -> Warehouse:
        """Return another one with the batches that were read: their parts say no folder."""
        return Warehouse(shutil.copytree(self.root, root), staged=dict(self.staged))

    def read(self, number: int, source: Path, portion_rows: int = 25) -> None:
        batch = f"{number:06d}"
        self.staged[number] = [
            stage(self.root, batch, n, portion, Mode.FULL, keep_blobs=True)
            for n, portion in enumerate(
                extract(list(discover([source])), layout.first_id(batch), portion_rows)
            )
        ]

    def make_ready(self, number: int) -> None:
        held = delta.newest_parts(self.root, "blobs")
        self.ready[number] = make_ready(self.root, f"{number:06d}", self.staged[number], held)

    def commit(self, number: int) -> None:
        with lent() as connection:
            commit_batch(
                connection, self.root, f"{number:06d}", self.staged.pop(number),
                ready=self.ready.pop(number, None),
            )  # fmt: skip
        self.note()

    def remove(self, number: int) -> None:
        """Take out the first file of a batch."""
        found = [
            row for path in delta.snapshot(self.root).paths("files")
            for row in pq.ParquetFile(path).read().to_pylist()
            if row["path"].endswith(f"/{number}/0.dcm") and row["status"] == "ingested"
        ]  # fmt: skip
        rows = [row | {"batch": f"{number:06d}"} for row in found]
        columns = {name: [row[name] for row in rows] for name in VANISHED}
        types = pa.schema(
            [("path", pa.string()), ("batch", pa.string()), ("size_bytes", pa.int64()),
             ("modified_at", pa.timestamp("us"))]
        )  # fmt: skip
        commit_removal(self.root, pa.table(columns, schema=types))
        self.note()

    def compact(self) -> None:
        compact(self.root)
        self.note()

    def note(self) -> None:
        parts = delta.snapshot(self.root).parts
        self.named |= {f"{table}/{part}" for table, some in parts.items() for part in some}

    def left(self) -> set[str]:
        """Parts on the disk that no version ever named."""
        there = {
            str(path.relative_to(self.root))
            for table in tables.names() for path in (self.root / table).glob("batch=*/*.parquet")
        }  # fmt: skip
        return there - self.named

    def values(self) -> list[bytes]:
        paths = delta.snapshot(self.root).paths("blobs")
        found = [pq.ParquetFile(path).read(["bytes"])["bytes"].to_pylist() for path in paths]
        return sorted(value for some in found for value in some)


FEW = 3
# A long value, and whether another batch may bring the instance too.
files = st.tuples(st.integers(1, 4), st.sampled_from([False, False, True]))
batches = st.lists(st.lists(files, min_size=1, max_size=3), min_size=FEW, max_size=FEW)
steps = st.permutations(
    [
        *((what, n) for n in range(1, FEW + 1) for what in ("make_ready", "commit")),
        ("remove", 1),
        ("remove", 2),
        ("compact", -1),
    ]
)


def test_what_came_between_is_as_if_all_were_decided_under_the_lock() -> None:
    """Before 1 is committed, 2 brings a value of it; then comes 3, with an instance of 2."""
    held = [[(1, False), (2, False)], [(2, False), (3, True)], [(1, False), (4, True)]]
    order = [(what, n) for what in ("make_ready", "commit") for n in (2, 1, 3)]
    is_as_if_under_the_lock(held, order)


@pytest.mark.long("test_what_came_between_is_as_if_all_were_decided_under_the_lock")
@settings(max_examples=settings().max_examples // 10)
@given(batches, steps)
def test_whatever_comes_between_it_is_as_if_all_were_decided_under_the_lock(
    held: list[list[tuple[int, bool]]], order: list[tuple[str, int]]
) -> None:
    is_as_if_under_the_lock(held, order)


def is_as_if_under_the_lock(
    held: list[list[tuple[int, bool]]], order: list[tuple[str, int]]
) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        source = Path(folder) / "in"
        for number, those in enumerate(held, 1):
            for place, (value, is_common) in enumerate(those):
                uid = f"1.{place}" if is_common else f"1.{number}.{place}"
                written(source / str(number), place, value, uid)
        ahead = Warehouse(Path(folder) / "ahead")
        for number in range(1, len(held) + 1):
            ahead.read(number, source / str(number))
        judged = ahead.copy(Path(folder) / "judged")
        run(ahead, order)
        patched.setattr(commit, "make_ready", lambda *_: None)
        run(judged, [step for step in order if step[0] != "make_ready"])
        assert content(ahead.root) == content(judged.root)
        assert len(ahead.values()) == len(set(ahead.values()))
        assert not ahead.left()
        assert not judged.left()


def written(folder: Path, place: int, value: int, uid: str) -> None:
    held = {"PixelData": None, "ICCProfile": long_value(value)}
    write(folder / f"{place}.dcm", uid=uid, **held)


def run(warehouse: Warehouse, order: list[tuple[str, int]]) -> None:
    for what, number in order:
        if what == "compact":
            warehouse.compact()
        elif what == "remove":
            warehouse.remove(number)
        elif what == "commit":
            warehouse.commit(number)
        elif number in warehouse.staged:
            warehouse.make_ready(number)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Batch 1 holds the values 1 and 2; 2 holds 2 and 3; 3 holds 4; 4 holds 3. Not to commit to."""
    folder = tmp_path_factory.mktemp("template")
    made = Warehouse(folder / "w")
    for number, those in enumerate([(1, 2, 1), (2, 3, 3), (4,), (3,)], 1):
        for place, value in enumerate(those):
            written(folder / "in" / str(number), place, value, f"1.{number}.{place}")
        made.read(number, folder / "in" / str(number))
    return made


@pytest.fixture
def warehouse(template: Warehouse, tmp_path: Path) -> Warehouse:
    return template.copy(tmp_path / "w")


def parts(warehouse: Warehouse, number: int) -> list[str]:
    """Parts of long values that a worker wrote of a batch."""
    ready = warehouse.ready[number]
    assert ready is not None
    assert ready.values is not None
    return [part.path for part in ready.values.parts]


def held(warehouse: Warehouse) -> tuple[str, ...]:
    return delta.snapshot(warehouse.root).parts["blobs"]


def test_a_batch_has_one_part_with_each_value_that_is_not_there(warehouse: Warehouse) -> None:
    assert len(warehouse.staged[1]) > 1
    warehouse.make_ready(1)
    (part,) = parts(warehouse, 1)
    warehouse.commit(1)
    assert held(warehouse) == (part,)
    assert warehouse.values() == [long_value(1), long_value(2)]
    warehouse.make_ready(2)
    (part,) = parts(warehouse, 2)
    assert pq.ParquetFile(warehouse.root / "blobs" / part).metadata.num_rows == 1
    warehouse.commit(2)
    assert warehouse.values() == [long_value(1), long_value(2), long_value(3)]
    warehouse.make_ready(4)
    assert parts(warehouse, 4) == []
    warehouse.commit(4)
    assert len(held(warehouse)) == 2


def test_what_was_ready_is_taken_as_it_is_though_others_brought_other_values(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (2, 3):
        warehouse.make_ready(number)
    monkeypatch.setattr(commit, "new_values", None)
    warehouse.commit(3)
    (part,) = parts(warehouse, 2)
    warehouse.commit(2)
    assert part in held(warehouse)
    assert warehouse.values() == [long_value(2), long_value(3), long_value(4)]


def test_what_another_brought_meanwhile_is_not_stored_again(warehouse: Warehouse) -> None:
    for number in (1, 2):
        warehouse.make_ready(number)
    (part,) = parts(warehouse, 2)
    warehouse.commit(1)
    warehouse.commit(2)
    assert part not in held(warehouse)
    assert warehouse.values() == [long_value(1), long_value(2), long_value(3)]
    assert warehouse.left() == staged_parts(warehouse)


def staged_parts(warehouse: Warehouse) -> set[str]:
    return {
        f"{table}/{part.path}"
        for some in warehouse.staged.values() for one in some for table, part in one.parts.items()
    }  # fmt: skip


def test_what_went_meanwhile_is_stored(warehouse: Warehouse) -> None:
    warehouse.commit(4)
    warehouse.make_ready(2)
    warehouse.remove(4)
    assert held(warehouse) == ()
    warehouse.commit(2)
    assert warehouse.values() == [long_value(2), long_value(3)]


def test_after_a_compaction_it_is_looked_again(warehouse: Warehouse) -> None:
    warehouse.commit(1)
    warehouse.commit(3)
    warehouse.make_ready(2)
    (part,) = parts(warehouse, 2)
    warehouse.compact()
    warehouse.commit(2)
    assert part not in held(warehouse)
    assert warehouse.values() == [long_value(number) for number in (1, 2, 3, 4)]


def test_a_part_that_is_gone_when_the_worker_looks_leaves_it_to_the_commit(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.commit(1)
    (part,) = held(warehouse)
    with monkeypatch.context() as patched:
        patched.setattr(delta, "newest_parts", lambda *_: [part.replace("0000-", "0001-")])
        warehouse.make_ready(2)
    ready = warehouse.ready[2]
    assert ready is not None
    assert ready.values is None
    warehouse.commit(2)
    assert warehouse.values() == [long_value(1), long_value(2), long_value(3)]


def test_a_part_that_cannot_be_read_is_named_and_nothing_is_left(warehouse: Warehouse) -> None:
    warehouse.commit(1)
    (part,) = held(warehouse)
    path = warehouse.root / "blobs" / part
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    version = delta.newest_version(warehouse.root)
    with pytest.raises(StoreDamaged, match="cannot be read"):
        warehouse.commit(2)
    assert delta.newest_version(warehouse.root) == version
    assert warehouse.left() == staged_parts(warehouse)


def test_what_a_killed_writer_left_in_the_log_of_blobs_holds_nothing(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.make_ready(1)
    reached = []

    def stopped(paths: object) -> None:
        reached.append(paths)
        if len(reached) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(delta, "reach_disk", stopped)
        with pytest.raises(KeyboardInterrupt):
            warehouse.commit(1)
    # Its log names what no version does.
    assert delta.newest_parts(warehouse.root, "blobs")
    assert held(warehouse) == ()
    warehouse.make_ready(2)
    (part,) = parts(warehouse, 2)
    assert pq.ParquetFile(warehouse.root / "blobs" / part).metadata.num_rows == 1
    warehouse.commit(2)
    assert warehouse.values() == [long_value(2), long_value(3)]


def test_many_long_values_are_cut_into_parts_and_row_groups(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tables.named("blobs")
    smaller = replace(table, part_size=700)
    monkeypatch.setattr(tables, "named", lambda name: smaller if name == "blobs" else table)
    monkeypatch.setattr(blobs, "_GROUP_BYTES", 1)
    sources = [
        part.path for some in (1, 2, 3) for _, part in blobs.staged_values(warehouse.staged[some])
    ]
    wanted = pa.chunked_array(
        [pq.ParquetFile(warehouse.root / "blobs" / source).read(["sha256"])["sha256"].chunk(0)
         for source in sources]
    ).unique()  # fmt: skip
    made = blobs._write_values(warehouse.root, "000009", sources, wanted)
    assert [part.rows for part in made] == [2, 2]
    found = [pq.ParquetFile(warehouse.root / "blobs" / part.path) for part in made]
    # Two of them were staged together.
    assert [file.num_row_groups for file in found] == [1, 2]
    assert {file.schema_arrow for file in found} == {BLOBS}


def test_digests_are_told_apart_however_many_are_held(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "_DIGESTS_AT_ONCE", 1)
    for number in (3, 1, 2, 4):
        warehouse.make_ready(number)
        warehouse.commit(number)
    assert warehouse.values() == [long_value(number) for number in (1, 2, 3, 4)]


def test_what_a_worker_left_that_was_killed_after_it_wrote_a_vacuum_takes(
    warehouse: Warehouse,
) -> None:
    warehouse.make_ready(1)
    # Its answer never came.
    ready = warehouse.ready.pop(1)
    assert ready is not None
    warehouse.commit(1)
    lost = {f"{table}/{part.path}" for table, part in ready.written}
    assert {name.split("/")[0] for name in lost} == {"files", "instances", "blobs"}
    assert lost <= warehouse.left()
    for number in (2, 3, 4):
        warehouse.commit(number)
    vacuum(warehouse.root, dt.timedelta(0), delete=True)
    assert not warehouse.left()
    assert warehouse.values() == [long_value(number) for number in (1, 2, 3, 4)]
