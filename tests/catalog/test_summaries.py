"""Summaries of elements: what adding parts says is what all rows say, whatever came and went."""

from __future__ import annotations

import json
import random
import shutil
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import warehouse
from tests.asking import answer_of
from tests.catalog.test_entities_equal_reference import collection
from tests.dicom_files import image, write
from tests.forms import some
from warehouse.catalog import materialized, pieces, summaries
from warehouse.catalog.connect import open_catalog
from warehouse.catalog.dictionaries import make_confidential
from warehouse.catalog.entities import materialized_views
from warehouse.catalog.materialized import materialize, materialized_files
from warehouse.catalog.pieces import Answers, paths
from warehouse.catalog.spans import spans_of
from warehouse.catalog.summaries import SUMMARIES, make_summaries
from warehouse.sqlfiles import by_name, read_models
from warehouse.store import delta
from warehouse.store.delta import Snapshot
from warehouse.store.duck import connect, set_stored, set_variables
from warehouse.store.tables import named

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

EXACT = """
with valued as (
    select *, coalesce(
        text, "integer"::varchar, if("real" = 0, 0.0, "real")::varchar, sha256
    ) as value
    from normal_elements left join (select instance_id, series_key from instances) using (instance_id)
)
select
    tag, creator, vr, any_value(keyword),
    count(*) filter ("index" = 0), count(*) filter (vm > 0), count(*) filter (vm = 0), count(warning),
    count(distinct instance_id), count(distinct series_key),
    if(vr = 'SQ' or count(value) = 0, null, count(distinct value)),
    min("integer"), max("integer"), min("real") + 0.0, max("real") + 0.0, min("date"), max("date"),
    min("timestamp"), max("timestamp"), max(vm), max(length),
    if(
        vr = 'SQ' or is_identifying(tag, any_value(keyword), vr), null,
        min(value) filter (value != '' and sha256 is null and not coalesce(is_identifying_path(path), false))
    )
from valued group by tag, creator, vr order by all
"""
"""The counts asked of all rows at once, as plainly as SQL says it."""

SAID = """
select
    defined.tag, defined.creator, defined.vr, defined.keyword, defined.element_count,
    value_count, empty_count, warning_count, defined.instance_count, series_count, distinct_count,
    min_integer, max_integer, min_real, max_real, min_date, max_date, min_timestamp, max_timestamp,
    max_vm, max_length, example
from element_definitions as defined
join element_statistics as stated
    on defined.tag = stated.tag and defined.vr = stated.vr
    and defined.creator is not distinct from stated.creator
    and defined.keyword is not distinct from stated.keyword
    and defined.element_count = stated.element_count
    and defined.instance_count = stated.instance_count
order by all
"""

INSTANCES = [(1 << 24) + n for n in (0, 1, 4095, 4096, 5000)] + [(2 << 24) + n for n in (0, 1)]
"""In several blocks of 4,096 and two batches."""

KINDS = [
    ("00080060", "Modality", "CS", None), ("00180050", "SliceThickness", "DS", None),
    ("00200013", "InstanceNumber", "IS", None), ("00080020", "StudyDate", "DA", None),
    ("00081140", "ReferencedImageSequence", "SQ", None), ("7FE00010", "PixelData", "OB", None),
    ("00191001", None, "LO", "A"), ("00191001", None, "LO", 'odd "\\\t\0'), ("00191001", None, "UN", None),
]  # fmt: skip
PATHS = ["", "RequestAttributesSequence[0]", "ReferencedImageSequence[0]", "00191002[0]"]


def cell(kind: tuple[str, str | None, str, str | None], drawn: int) -> dict[str, Any]:
    """Return the columns of one of a few values of a kind."""
    vr = kind[2]
    more: dict[str, Any] = {"warning": "odd"} if drawn == 2 else {}
    if vr == "SQ":
        return {"integer": drawn}
    if vr == "OB":
        return {"length": drawn * 10, "sha256": None if drawn == 1 else f"{drawn:064x}"}
    if vr == "DS":
        return {"text": f"{drawn}.0", "real": float(drawn)} | more
    if vr == "IS":
        return {"text": str(drawn), "integer": drawn} | more
    if vr == "DA":
        return {"text": f"2024010{drawn + 1}", "date": 19723 + drawn}
    return {"text": [" CT", "CT", "MR", ""][drawn]} | more


def rows_of(instance_id: int, drawn: dict[tuple[int, int], list[int]]) -> list[dict[str, Any]]:
    """Return the rows of an instance: kind and path → values, none for an empty element."""
    rows = []
    for (kind, path), values in drawn.items():
        tag, keyword, vr, creator = KINDS[kind]
        for index, value in enumerate(values or [None]):
            rows.append(
                {
                    "instance_id": instance_id, "path": PATHS[path], "tag": tag, "keyword": keyword,
                    "vr": vr, "creator": creator, "vm": len(values), "index": index,
                    **({} if value is None else cell(KINDS[kind], value)),
                }
            )  # fmt: skip
    return rows


VIEWS = [
    "elements", "instances", "normal_elements", "element_runs", "element_segments", *SUMMARIES, "element_counts", "element_definitions",
    "element_statistics",
]  # fmt: skip

Part = dict[int, tuple[str | None, dict[tuple[int, int], list[int]]]]
"""Instance → its series, and its elements."""

elements = st.dictionaries(
    st.tuples(st.integers(0, len(KINDS) - 1), st.integers(0, len(PATHS) - 1)),
    st.lists(st.integers(0, 3), max_size=2), max_size=6,
)  # fmt: skip
instance = st.tuples(st.sampled_from(["a", "b", None]), elements)


class Store:
    """Parts of ``elements`` and ``instances`` in a folder, without any log."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.number = 0

    def part(self, content: Part, rows: list[dict[str, Any]] | None = None) -> dict[str, str]:
        """Write a part of each table."""
        self.number += 1
        if rows is None:
            rows = [row for key, (_, drawn) in content.items() for row in rows_of(key, drawn)]
        made = {
            "elements": rows,
            "instances": [
                {"instance_id": key, "instance_key": str(key), "series_key": series}
                for key, (series, _) in content.items()
            ],
        }
        paths = {}
        for table, lines in made.items():
            schema = pa.schema([field.with_nullable(True) for field in named(table).stored_schema])
            path = self.root / table / "batch=000001" / f"{self.number}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(lines, schema), path)
            paths[table] = f"batch=000001/{self.number}.parquet"
        return paths

    def snapshot(self, parts: list[dict[str, str]]) -> Snapshot:
        """Return a version of these parts."""
        tables = {t: tuple(part[t] for part in parts) for t in ("elements", "instances")}
        return Snapshot(self.root, 1, {"instances": self.number}, tables)

    def summarize(self, snapshot: Snapshot, before: Answers | None = None) -> Answers:
        """Return the summaries of a version."""
        self.number += 1
        folder = self.root / f"summaries-{self.number}"
        folder.mkdir()
        known = before.spans if before else {}
        spans = {table: spans_of(snapshot, table, known.get(table, {})) for table in snapshot.parts}
        return Answers(folder, make_summaries(snapshot, before, spans, folder), spans)


@cache
def database() -> duckdb.DuckDBPyConnection:
    """Return the one database of this process, with macros: to make these takes as long as to ask."""
    connection = connect()
    make_confidential(connection)
    for model in read_models():
        if model.is_plain_macro or model.name == "is_identifying":
            connection.execute(model.sql)
    return connection


_made = set[str]()


def opened(snapshot: Snapshot, kept: Answers | None = None) -> duckdb.DuckDBPyConnection:
    """Return a connection with the views over these parts; or over what is kept of them.

    Views read what variables of the connection name: they are made once.
    """
    connection = database().cursor()
    schema = "of_sums" if kept else "of_rows"
    if schema not in _made:
        connection.execute(f"create schema {schema}")
    connection.execute(f"set search_path = '{schema},main'")
    set_stored(connection, {name: snapshot.paths(name) for name in ("elements", "instances")})
    if kept:
        set_variables(
            connection,
            {"sums": {name: paths(kept.folder, kept.pieces[name]) for name in SUMMARIES}},
        )
    if schema not in _made:
        for name in VIEWS:
            connection.execute(by_name(name).sql)
            if kept and name in SUMMARIES:
                query = f"from read_parquet(getvariable('sums').{name})"
                connection.execute(f"create or replace view {name} as {query}")
        _made.add(schema)
    return connection


def check(snapshot: Snapshot, folder: Answers) -> None:
    """Compare the answers of all rows, of the views over them, and of the views over summaries.

    The counts of the views over rows are made of the same summaries, and of nothing else.
    """
    rows, sums = opened(snapshot), opened(snapshot, folder)
    assert sums.execute(SAID).fetchall() == rows.execute(EXACT).fetchall()
    for name in SUMMARIES:
        ask = f"from {name} order by all"
        assert sums.execute(ask).fetchall() == rows.execute(ask).fetchall()


def test_counts_are_made_of_summaries_and_of_nothing_else() -> None:
    """Where summaries are equal, so is what is said: it is asked of one of them alone."""

    def read(name: str) -> set[str]:
        model = by_name(name)
        return {name} if name in SUMMARIES else set().union(*map(read, model.depends))

    assert read("element_definitions") | read("element_statistics") == set(SUMMARIES)
    assert not any(by_name(name).table for name in (*SUMMARIES, "element_counts"))


@pytest.mark.long("test_only_the_tags_that_lost_a_value_are_asked_again")
@settings(
    max_examples=settings().max_examples // 10,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_what_came_is_added_and_what_went_is_taken_away(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Instances lie in parts; some parts go, some come, and instances that went may come again."""
    store = Store(tmp_path_factory.mktemp("store"))

    def parts(count: int, ids: list[int]) -> list[dict[str, str]]:
        drawn: list[Part] = [{} for _ in range(count)]
        for key in ids:
            number = data.draw(st.integers(0, count))
            if number:
                drawn[number - 1][key] = data.draw(instance)
        return [(store.part(content), content) for content in drawn]  # type: ignore[misc]

    first = parts(3, INSTANCES)
    before = store.snapshot([part for part, _ in first])
    folder = store.summarize(before)
    check(before, folder)
    stay = data.draw(st.lists(st.booleans(), min_size=3, max_size=3))
    kept = [part for part, is_kept in zip(first, stay, strict=True) if is_kept]
    held = {key for _, content in kept for key in content}
    second = parts(2, [key for key in INSTANCES if key not in held])
    after = store.snapshot([part for part, _ in (*kept, *second)])
    check(after, store.summarize(after, folder))


ESTIMATES = """
select distinct_count, is_estimated, max_integer, instance_count from element_statistics order by tag
"""

Version = tuple[list[dict[str, str]], list[tuple[Any, ...]]]
"""The parts of a version, and what their rows say."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[list[dict[str, str]]]]:
    """Parts of versions with more values than are counted. Not to be written to."""
    store = Store(tmp_path_factory.mktemp("many"))

    def numbers(ids: range, tag: str = "00200013") -> dict[str, str]:
        kind = {
            "tag": tag,
            "keyword": "InstanceNumber",
            "vr": "IS",
            "vm": 1,
            "index": 0,
            "path": "",
        }
        rows = [{"instance_id": n, "text": str(n), "integer": n, **kind} for n in ids]
        return store.part({n: ("a", {}) for n in ids}, rows)

    parts = [numbers(range(start, start + 700)) for start in (0, 700, 1400)]
    few = numbers(range(3000, 4000), "00200012")
    # Half of the smallest hashes go with the first two parts; the largest number stays.
    versions = [
        [*parts, few],
        [*parts[1:], few],
        [parts[2], few],
        [few],
        [*parts, few, numbers(range(9000, 9100))],
    ]
    return store, versions


def estimated(store: Store, versions: list[list[dict[str, str]]]) -> list[Version]:
    """Return versions with what their rows say."""
    return [(some, opened(store.snapshot(some)).execute(ESTIMATES).fetchall()) for some in versions]


@pytest.fixture(scope="module")
def many(stored: tuple[Store, list[list[dict[str, str]]]]) -> tuple[Store, list[Version]]:
    """Versions with more values than are counted. Not to be written to."""
    return stored[0], estimated(*stored)


def test_more_values_than_are_counted_are_estimated_of_what_stays(
    stored: tuple[Store, list[list[dict[str, str]]]], tmp_path: Path
) -> None:
    versions = estimated(stored[0], stored[1][:2])
    estimates_hold(Store(shutil.copytree(stored[0].root, tmp_path / "store")), versions)


@pytest.mark.long("test_more_values_than_are_counted_are_estimated_of_what_stays")
@pytest.mark.parametrize("at_once", [1, 2_000, 8_000_000])
def test_more_values_than_are_counted_are_estimated(
    many: tuple[Store, list[Version]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """The same estimate whatever the parts; values that the sample names are asked for when they go."""
    monkeypatch.setattr(summaries, "ROWS_AT_ONCE", at_once)
    estimates_hold(Store(shutil.copytree(many[0].root, tmp_path / "store")), many[1])


def estimates_hold(store: Store, versions: list[Version]) -> None:
    """Compare what is said of summaries, made of all rows and of those before, with the rows."""
    (first, of_rows), *others = versions
    before = store.snapshot(first)
    folder = store.summarize(before)
    (exact, (count, *more)) = opened(before, folder).execute(ESTIMATES).fetchall()
    assert exact == (1000, False, 3999, 1000)
    assert more == [True, 2099, 2100]
    # Four standard errors; the sample is the same each time.
    assert abs(count - 2100) < 2100 * 4 / 1000**0.5
    assert of_rows == [exact, (count, *more)]
    for left, of_rows in others:
        after = store.snapshot(left)
        said = opened(after, store.summarize(after, folder)).execute(ESTIMATES).fetchall()
        assert said == of_rows
        assert len(said) == (1 if len(left) == 1 else 2)


def test_only_the_tags_that_lost_a_value_are_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    same: dict[tuple[int, int], list[int]] = {(0, 0): [1], (1, 0): [1]}
    one, two = store.part({1: ("a", same)}), store.part({2: ("b", same), 3: ("b", {(2, 0): [2]})})
    folder = store.summarize(store.snapshot([one, two]))
    asked = []
    summarize = summaries._summarize

    def noted(*arguments: Any) -> None:
        asked.append((arguments[2], len(arguments[3])))
        summarize(*arguments)

    monkeypatch.setattr(summaries, "_summarize", noted)
    # A compaction, and a file that was removed of which another has the same values.
    merged = store.part({1: ("a", same), 2: ("b", same), 3: ("b", {(2, 0): [2]})})
    for parts, wanted in (
        ([merged], [("came", 1), ("gone", 2)]),
        ([one, store.part({3: ("b", {(2, 0): [2]})})], [("came", 1), ("gone", 1), ("asked", 2)]),
    ):
        asked.clear()
        after = store.snapshot(parts)
        check(after, store.summarize(after, folder))
        assert asked == wanted


def test_instances_that_are_of_another_series_are_counted_again(tmp_path: Path) -> None:
    """After a rebuild a part of `instances` says so, while that of `elements` is the same."""
    store = Store(tmp_path)
    same: dict[tuple[int, int], list[int]] = {(0, 0): [1]}
    part = store.part({1: ("a", same), 2: ("a", same)})
    folder = store.summarize(store.snapshot([part]))
    other = store.part({1: ("a", same), 2: ("b", same)})
    after = store.snapshot([part | {"instances": other["instances"]}])
    found = store.summarize(after, folder)
    check(after, found)
    ask = "select series_count from element_definitions"
    assert opened(after, found).execute(ask).fetchall() == [(2,)]


def said(root: Path) -> list[tuple[Any, ...]]:
    return open_catalog(root).connection.execute(SAID).fetchall()


def answers(
    root: Path, also: str
) -> tuple[dict[str, list[tuple[Any, ...]]], list[tuple[Any, ...]]]:
    """Return the rows of every view that is kept, and those of another question."""
    ask = open_catalog(root).connection.execute
    kept = {
        model.name: ask(f"from {model.name} order by all").fetchall()
        for model in materialized_views()
    }
    return kept, ask(also).fetchall()


def reads_elements(root: Path) -> bool:
    """Tell whether all rows are read for the tags, rather than what is kept of them."""
    plan = open_catalog(root).connection.execute("explain from tags").fetchall()[0][1]
    return "run_length" in plan


def hold(root: Path) -> int:
    """Compare what is kept of the newest version with what its rows say; return how many files."""
    computed = answers(root, EXACT)
    assert materialize(root)
    files = materialized_files(delta.snapshot(root))
    assert files is not None
    assert answers(root, SAID) == computed
    return max(len(some) for some in files.values())


def test_summaries_follow_what_came_and_went(tmp_path: Path) -> None:
    source, root = tmp_path / "in", tmp_path / "w"
    for number in range(3):
        write(source / f"{number}", image(f"1.{number}", PatientID=f"P{number}", EchoTime=number))
    wh = warehouse.open(root, create=True)
    wh.ingest(source, workers=1)
    assert materialize(root)
    write(source / "3", image("1.3", PatientID="Q", SeriesInstanceUID="3.9", SliceThickness="2"))
    wh.ingest(source, workers=1)
    (source / "0").unlink()
    wh.remove(source, delete=True)
    wh.refresh()
    computed = open_catalog(root).connection.execute(EXACT).fetchall()
    assert materialize(root)
    assert said(root) == computed
    assert not reads_elements(root)
    assert [key for (key,) in answer_of(wh, "select patient_key from patients order by 1")] == [
        "P1", "P2", "Q",
    ]  # fmt: skip


@pytest.mark.long("test_summaries_follow_what_came_and_went")
@pytest.mark.parametrize("seed", some(range(8), always=[0]))
def test_summaries_follow_whatever_changes_a_warehouse(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So do the answers of entities; their pieces are so small that they are many, and are merged."""
    draw = random.Random(seed)
    monkeypatch.setattr(pieces, "GROWTH", draw.choice([1, 2]))
    monkeypatch.setattr(pieces, "MOST_ROWS", draw.choice([2, 3, 5]))
    source = tmp_path / "in"
    files = collection(source, seed)
    aside = [(path, path.read_bytes()) for path in draw.sample(files, 8)]
    for path, _ in aside:
        path.unlink()
    wh = warehouse.open(tmp_path / "w", create=True)

    def add() -> None:
        for _ in range(2):
            path, content = aside.pop()
            path.write_bytes(content)
        wh.ingest(source, workers=1)

    def change() -> None:
        there = [path for path in files if path.exists()]
        changed, other = draw.sample(there, 2)
        changed.write_bytes(other.read_bytes())
        wh.ingest(source, workers=1, batch_files=3)

    def remove() -> None:
        draw.choice([path for path in files if path.exists()]).unlink()
        wh.remove(source, delete=True)

    def forget() -> None:
        ((patient,),) = wh.sql(
            "select min(PatientID) from instances where PatientID != ''"
        ).fetchall()
        wh.upkeep.forget(patient=patient, delete=True)
        # Answers of older versions are gone with the patient.
        assert not list((wh.root / "_cache").glob("*/*"))

    add()
    most = hold(wh.root)
    steps = [add, change, wh.compact, remove, add, lambda: wh.rebuild(from_sources=True), forget]
    if seed:
        steps.append(add)
        draw.shuffle(steps)
    for step in steps:
        step()
        wh.refresh()
        if materialized_files(delta.snapshot(wh.root)) is None:
            most = max(most, hold(wh.root))
    assert most > 1
    assert not reads_elements(wh.root)
    before = wh.version
    held = said(wh.root)
    write(source / "new", image("1.77", Modality="PT", SeriesInstanceUID="3.9"))
    wh.ingest(source, workers=1)
    hold(wh.root)
    assert said(wh.root) != held
    assert answer_of(warehouse.open(wh.root, version=before), SAID) == held


def test_runs_are_as_long_as_there_are_rows_of_each_instance(tmp_path: Path) -> None:
    store = Store(tmp_path)
    same: dict[tuple[int, int], list[int]] = {(0, 0): [1], (1, 1): [1, 2], (2, 0): []}
    parts = [store.part({n: ("a", same), 5000 + n: ("b", {(0, 0): [n]})}) for n in (1, 2)]
    connection = opened(store.snapshot(parts))
    ask = "select sum(run_length), min(run_length) > 0 from element_runs"
    assert connection.execute(ask).fetchall() == [(10, True)]


@pytest.mark.long("test_runs_are_as_long_as_there_are_rows_of_each_instance")
def test_runs_are_as_long_as_there_are_rows_in_any_order(sample: warehouse.Warehouse) -> None:
    """A question is asked of rows in other orders, with other ids, when a cohort is run."""
    ask = "select sum(run_length), min(run_length) > 0 from element_runs"
    rows = answer_of(sample, "select count(*), true from elements")
    exact = None
    for order in (0, 1, 2):
        connection = open_catalog(sample.root, order=order, threads=2).connection
        assert connection.execute(ask).fetchall() == rows
        found = connection.execute(SAID).fetchall()
        assert found == (exact or found)
        exact = found


@pytest.mark.long("test_summaries_follow_what_came_and_went")
def test_an_archive_without_summaries_answers_the_same(
    sample: warehouse.Warehouse, tmp_path: Path
) -> None:
    """Every kind of file that the packages bring; items of sequences, vendors, DICOMDIR."""
    root = tmp_path / "copy"
    shutil.copytree(sample.root, root)
    hold(root)
    assert not reads_elements(root)
    asked = "select * exclude (example) from tags order by all"
    rows = open_catalog(root).connection.execute(asked).fetchall()
    shutil.rmtree(root / "_cache")
    assert reads_elements(root)
    assert open_catalog(root).connection.execute(asked).fetchall() == rows
    # Left by software that kept the entities alone.
    older = root / "_cache" / f"{0:012d}-{materialized._key()}"
    older.mkdir(parents=True)
    (older / "instances.json").write_text(json.dumps([]))
    assert materialize(root)
    assert open_catalog(root).connection.execute(asked).fetchall() == rows
