"""Kept answers of the entity views: equal to the views, for their own version only, never needed."""

from __future__ import annotations

import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import warehouse
from tests.catalog.test_entities_equal_reference import collection, compare
from tests.conftest import PACKAGED
from tests.derived_objects import slide
from tests.dicom_files import image, write
from tests.forms import some
from tests.made_once import made_once
from tests.place import Place
from warehouse.catalog import entities, materialized, pieces
from warehouse.catalog.connect import open_catalog
from warehouse.catalog.entities import materialized_views
from warehouse.catalog.materialized import materialize, materialized_files
from warehouse.cli.store import compact
from warehouse.errors import StoreDamaged
from warehouse.sqlfiles import read_models
from warehouse.store import delta, layout

NAMES = [model.name for model in materialized_views()]


def answers(root: Path, names: list[str] = NAMES) -> dict[str, Any]:
    """Return columns, types, comments and rows of every entity view, or of some."""
    ask = open_catalog(root).connection.execute
    comments: dict[str, list[Any]] = {name: [] for name in names}
    for name, *column in ask(
        "select table_name, column_name, comment from duckdb_columns() "
        "where list_contains($1, table_name) order by table_name, column_index",
        [names],
    ).fetchall():
        comments[name].append(column)
    found = {}
    for name in names:
        # Described by the answer: to plan it again would take as long as to answer.
        answer = ask(f"from {name} order by all")
        described = [(column, str(kind)) for column, kind, *_ in answer.description or ()]
        found[name] = (described, comments[name], answer.fetchall())
    return found


def is_kept(root: Path) -> bool:
    return materialized_files(delta.snapshot(root)) is not None


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every view that is kept has rows of it, and their answers are kept."""
    return made_once(tmp_path_factory, "kept", _make_template) / "w"


def _make_template(folder: Path) -> None:
    ct, mr = (
        PACKAGED["pydicom"] / "test_files" / name for name in ("CT_small.dcm", "MR_small.dcm")
    )
    # Of frames, too.
    frames = write(folder / "slide", slide())
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(ct, mr, frames, workers=1)
    assert materialize(wh.root)
    assert all(rows for _, _, rows in answers(wh.root).values())


@pytest.fixture
def made(template: Path, tmp_path: Path) -> Path:
    """A copy of the template, to write to."""
    return shutil.copytree(template, tmp_path / "copy")


@pytest.fixture
def bare(made: Path) -> Path:
    """A copy of the template without answers."""
    shutil.rmtree(layout.cache_folder(made))
    return made


def test_the_entities_are_kept() -> None:
    assert sorted(NAMES) == [
        "element_set_kinds", "element_sets", "element_sketches", "element_summaries", "frame_values", "patients", "series",
        "studies",
    ]  # fmt: skip


def gathers(root: Path) -> bool:
    """Tell whether series are gathered from instances when they are asked."""
    plan = open_catalog(root).connection.execute("explain from series").fetchall()[0][1]
    return "GROUP BY" in plan.upper()


@pytest.mark.long("test_the_cache_may_be_deleted")
def test_kept_answers_are_those_of_the_views(sample: warehouse.Warehouse, tmp_path: Path) -> None:
    """Of all kinds of file that the packages bring."""
    made = shutil.copytree(sample.root, tmp_path / "copy")
    computed = answers(made)
    assert materialize(made)
    assert is_kept(made)
    assert answers(made) == computed
    assert all(rows for _, _, rows in computed.values())
    assert not gathers(made)
    shutil.rmtree(layout.cache_folder(made))
    assert gathers(made)


def test_kept_views_read_what_changes_with_instances_alone() -> None:
    """Their key is the version of that table; a view over others would show old rows.

    What `elements` and `files` say of an instance changes only with its row there.
    """
    models = {model.name: model for model in read_models()}

    def tables(name: str) -> set[str]:
        model = models[name]
        return {model.table} if model.table else set().union(*map(tables, model.depends))

    of_frames = {"elements", "files", "instances"}
    assert {name: tables(name) for name in NAMES} == {
        "element_sets": {"elements", "instances"}, "element_sketches": {"elements"},
        "element_set_kinds": {"elements"},
        "element_summaries": {"elements"}, "frame_values": of_frames, "patients": {"instances"}, "series": of_frames,
        "studies": {"instances"},
    }  # fmt: skip


@pytest.mark.parametrize("seed", some(range(4), always=[0]))
@pytest.mark.long("test_answers_follow_an_ingest")
def test_what_did_not_change_is_taken_over(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files come in any order, change patient and series, and go; the kept answers follow."""
    draw = random.Random(seed)
    monkeypatch.setattr(pieces, "MOST_ROWS", draw.choice([1, 2, 4]))
    source = tmp_path / "in"
    files = collection(source, seed)
    later = [(path, path.read_bytes()) for path in draw.sample(files, 12 if seed else 8)]
    for path, _ in later:
        path.unlink()
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(source, mode="minimal", workers=1)
    materialize(wh.root)
    while later:
        for _ in range(4):
            path, content = later.pop()
            path.write_bytes(content)
        # Another header in the place of one that was read: its instance leaves a series.
        there = [path for path in files if path.exists()]
        changed, other = draw.sample(there, 2)
        changed.write_bytes(other.read_bytes())
        wh.ingest(source, mode="minimal", workers=1)
        computed = answers(wh.root)
        assert materialize(wh.root)
        assert answers(wh.root) == computed
        wh.refresh()
        compare(wh, files=[path for path in files if path.exists()])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("moved"))


def fill(folder: Path) -> None:
    """Put a collection there, and a warehouse of two batches of it, of which answers are kept."""
    files = collection(folder / "in", 3, count=8)
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(files[0], mode="minimal", workers=1)
    wh.ingest(folder / "in", mode="minimal", workers=1)
    assert materialize(wh.root)


@pytest.mark.parametrize(
    "what",
    [
        *(
            pytest.param(
                what,
                marks=pytest.mark.long("test_an_archive_that_only_moved_has_the_same_answers"),
            )
            for what in ("relocated", "moved", "removed")
        ),
        "compacted",
    ],
)
def test_an_archive_that_only_moved_has_the_same_answers(
    place: Place, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million files at another place change no row that is kept; one that goes does."""
    place.emptied()
    tmp_path = place.filled(fill)
    wh = warehouse.open(tmp_path / "w")
    version = delta.snapshot(wh.root).versions["instances"]
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    if what == "relocated":
        wh.upkeep.relocate(tmp_path / "in", tmp_path / "elsewhere")
    if what == "moved":
        assert wh.ingest(tmp_path / "elsewhere", mode="minimal", workers=1).moved
    if what == "compacted":
        wh.compact()
    if what == "removed":
        (tmp_path / "elsewhere").rename(tmp_path / "in")
        ((held,),) = wh.sql("select min(file_path) from instances").fetchall()
        Path(held).unlink()
        wh.remove(tmp_path / "in", delete=True)
    assert delta.snapshot(wh.root).versions["instances"] > version
    computed = answers(wh.root)
    asked = []
    make = materialized.make_entities

    def noted(*given: Any) -> Any:
        asked.append(given)
        return make(*given)

    monkeypatch.setattr(materialized, "make_entities", noted)
    assert materialize(wh.root)
    assert len(asked) == (what == "removed")
    assert answers(wh.root) == computed
    assert not materialize(wh.root)


def test_answers_follow_an_ingest(made: Path, tmp_path: Path) -> None:
    """Of another series of the patient of the CT, and of another patient."""
    before = answers(made, ["patients", "series"])
    held = warehouse.open(made).sql("select PatientID from series where Modality = 'CT'")
    ((patient, *_), *_) = held.fetchall()
    write(tmp_path / "more" / "1", image("1.1", PatientID=patient, SeriesInstanceUID="2.1"))
    write(tmp_path / "more" / "2", image("1.2", PatientID="another", SeriesInstanceUID="2.2"))
    warehouse.open(made, create=True).ingest(tmp_path / "more", workers=1)
    assert not is_kept(made)
    computed = answers(made, ["patients", "series"])
    assert [len(computed[name][2]) - len(before[name][2]) for name in computed] == [1, 2]
    assert materialize(made)
    assert is_kept(made)
    assert answers(made, ["patients", "series"]) == computed


@pytest.mark.long("test_answers_follow_an_ingest")
def test_an_answer_is_never_used_for_another_version(made: Path, tmp_path: Path) -> None:
    assert is_kept(made)
    before = answers(made)
    collection(tmp_path / "more", 1, count=8)
    wh = warehouse.open(made, create=True)
    wh.ingest(tmp_path / "more", workers=1)
    assert not is_kept(made)
    after = answers(made)
    # No image that comes has frames, or elements of another kind.
    for name in ("patients", "series", "studies", "element_sets"):
        assert len(after[name][2]) > len(before[name][2])
    assert after["element_summaries"] != before["element_summaries"]


@pytest.mark.long("test_the_cache_may_be_deleted")
def test_nothing_is_kept_twice(made: Path) -> None:
    assert not materialize(made)
    shutil.rmtree(layout.cache_folder(made))
    with ThreadPoolExecutor(3) as pool:
        assert any(pool.map(materialize, [made] * 3))
    assert len(list(layout.cache_folder(made).iterdir())) == 1


def test_the_cache_may_be_deleted(made: Path) -> None:
    assert not materialize(made)
    kept = answers(made)
    assert is_kept(made)
    shutil.rmtree(layout.cache_folder(made))
    assert answers(made) == kept


@pytest.mark.parametrize("table", ["instances", "elements"])
@pytest.mark.long("test_answers_follow_an_ingest")
def test_an_older_answer_without_its_parts_is_left_alone(
    made: Path, tmp_path: Path, table: str
) -> None:
    """Parts that are gone cannot say which entities they touched: all is asked anew."""
    (old,) = layout.cache_folder(made).iterdir()
    (old / f"{table}.json").write_text('{"batch=000001/gone.parquet": [1, 2]}')
    collection(tmp_path / "more", 2, count=8)
    warehouse.open(made, create=True).ingest(tmp_path / "more", workers=1)
    computed = answers(made)
    materialize(made)
    assert is_kept(made)
    assert answers(made) == computed


@pytest.mark.long("test_answers_follow_an_ingest")
def test_answers_of_a_newer_version_are_no_answers_of_an_older_one(
    made: Path, tmp_path: Path
) -> None:
    """Another process may have ingested, and kept its answers, since this one looked."""
    (answer,) = layout.cache_folder(made).iterdir()
    version, key = answer.name.split("-")
    answer.rename(answer.with_name(f"{int(version) + 9:012d}-{key}"))
    collection(tmp_path / "more", 2, count=8)
    warehouse.open(made).ingest(tmp_path / "more", workers=1)
    computed = answers(made)
    assert materialize(made)
    assert is_kept(made)
    assert answers(made) == computed


@pytest.mark.long("test_a_new_series_is_looked_for_in_its_batch")
def test_parts_are_noted_beside_the_newest_answers_alone(tmp_path: Path) -> None:
    """There are as many notes of a part as answers since it came, until these are vacuumed."""
    wh = warehouse.open(tmp_path / "w", create=True)
    for number in range(3):
        wh.ingest(write(tmp_path / "in" / str(number), image(f"1.{number}")), workers=1)
        materialize(wh.root)
    folders = sorted(layout.cache_folder(wh.root).iterdir())
    noted = [sorted(path.stem for path in folder.glob("*s.json")) for folder in folders]
    assert noted == [["answers"]] + [["answers", "elements", "files", "instances"]] * 2


def test_a_part_that_is_gone_is_named(tmp_path: Path) -> None:
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(write(tmp_path / "in" / "1", image("1.1")), workers=1)
    materialize(wh.root)
    wh.ingest(write(tmp_path / "in" / "2", image("1.2")), workers=1)
    (part,) = (wh.root / "elements" / "batch=000002").glob("*.parquet")
    part.unlink()
    for _ in range(2):
        with pytest.raises(StoreDamaged, match=part.name):
            materialize(wh.root)
        # With nothing older.
        shutil.rmtree(layout.cache_folder(wh.root))


def note_batches(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Have noted of which batches the instances of each view are read."""
    opened: dict[str, list[str]] = {}
    read = entities._read_touched

    def noted(connection: Any, model: Any, *given: Any) -> None:
        read(connection, model, *given)
        stored = connection.execute("select getvariable('stored')").fetchall()[0][0]
        # Of the file without rows no batch can be told.
        found = {path.split("batch=")[1][:6] for path in stored["instances"]} - {"000000"}
        opened[model.name] = sorted(found)

    monkeypatch.setattr(entities, "_read_touched", noted)
    return opened


def test_a_new_series_is_looked_for_in_its_batch(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if there were an answer of the version before.
    (answer,) = layout.cache_folder(made).iterdir()
    version, key = answer.name.split("-")
    shutil.copytree(answer, answer.with_name(f"{int(version) - 1:012d}-{key}"))
    opened = note_batches(monkeypatch)
    new = write(tmp_path / "new", image("1.1", PatientID="Q", StudyInstanceUID="7.1"))
    warehouse.open(made).ingest(new, workers=1)
    assert materialize(made)
    views = ("frame_values", "patients", "series", "studies")
    assert opened == {view: ["000002"] for view in views}
    folders = sorted(layout.cache_folder(made).iterdir())
    noted = [sorted(path.stem for path in folder.glob("*s.json")) for folder in folders]
    assert noted == [["answers"]] + [["answers", "elements", "files", "instances"]] * 2


@pytest.mark.long("test_a_new_series_is_looked_for_in_its_batch")
def test_an_entity_is_looked_for_where_it_was_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an ingest costs depends on what it brings: a series that goes on names its batches."""
    source = tmp_path / "in"
    wh = warehouse.open(tmp_path / "w", create=True)

    def one(uid: str, series: str, patient: str) -> Path:
        header = image(uid, SeriesInstanceUID=series, StudyInstanceUID=series, PatientID=patient)
        return write(source / uid, header)

    for given in (("1.1", "2.1", "P"), ("1.2", "2.2", "Q"), ("1.3", "2.3", "R")):
        one(*given)
    assert len(wh.ingest(source, workers=1, batch_files=1).batches) == 3
    materialize(wh.root)
    opened = note_batches(monkeypatch)
    wh.ingest(one("1.4", "2.4", "Q"), workers=1)
    materialize(wh.root)
    assert opened == {
        "frame_values": ["000004"], "series": ["000004"], "studies": ["000004"],
        "patients": ["000002", "000004"],
    }  # fmt: skip
    wh.ingest(one("1.5", "2.2", "Q"), workers=1)
    materialize(wh.root)
    assert opened["series"] == ["000002", "000005"]
    assert opened["patients"] == ["000002", "000004", "000005"]
    kept = answers(wh.root)
    shutil.rmtree(layout.cache_folder(wh.root))
    assert answers(wh.root) == kept


def test_an_answer_to_another_question_is_not_used(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert is_kept(made)
    monkeypatch.setattr(materialized, "_key", lambda: "0" * 16)
    assert not is_kept(made)


def test_an_ingest_into_a_large_warehouse_keeps_them(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection(tmp_path / "more", 3, count=8)
    wh = warehouse.open(bare, create=True)
    rows = delta.stored_rows(bare, "instances")
    assert wh.sql("select count(*) from instances").fetchall() == [(rows,)]
    monkeypatch.setattr(materialized, "WORTHWHILE", rows + 1)
    assert wh.ingest(tmp_path / "more", workers=1).created
    assert delta.stored_rows(bare, "instances") > rows
    assert is_kept(bare)


def test_a_compaction_keeps_them(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(materialized, "WORTHWHILE", 1)
    compact(warehouse=bare)
    assert is_kept(bare)


@pytest.mark.long("test_a_compaction_keeps_them")
def test_a_compacted_warehouse_has_them_too(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection(tmp_path / "more", 3, count=8)
    warehouse.open(bare, create=True).ingest(tmp_path / "more", workers=1)
    computed = answers(bare)
    monkeypatch.setattr(materialized, "WORTHWHILE", 1)
    compact(warehouse=bare)
    assert is_kept(bare)
    assert answers(bare) == computed


def test_counting_vanished_files_writes_nothing(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The warehouse may be read-only, or large."""
    monkeypatch.setattr(materialized, "WORTHWHILE", 1)
    warehouse.open(bare).remove(tmp_path)
    assert not layout.cache_folder(bare).exists()
