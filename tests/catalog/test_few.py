"""What is asked of a few instances reads the parts that may hold them, and says what all parts say."""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING

import pytest

import warehouse
from tests.catalog.test_entities_equal_reference import collection
from tests.forms import some
from warehouse.catalog.connect import Catalog, open_catalog
from warehouse.catalog.few import session_about, session_of
from warehouse.catalog.header_rows import header_of_instance
from warehouse.catalog.kept import keep_answers
from warehouse.sqlfiles import statement
from warehouse.store import delta, layout

if TYPE_CHECKING:
    from pathlib import Path

FEW = "len(getvariable('stored').elements), len(getvariable('stored').instances)"
ROWS = "select * from elements where instance_id = $1 order by all"


def parts(root: Path) -> int:
    """Return how many parts `elements` has."""
    return len(delta.snapshot(root).parts["elements"])


def hold(catalog: Catalog) -> list[int]:
    """Compare every instance's rows, asked by themselves and of all; return the parts opened."""
    opened = []
    every = catalog.connection.execute("select instance_id, instance_key from instances").fetchall()
    for instance_id, key in every:
        few = session_about(catalog, [instance_id])
        for asked in (
            ROWS,
            "select * from instances where instance_id = $1",
            "select * from files where instance_id = $1",
        ):
            wanted = catalog.connection.execute(asked, [instance_id]).fetchall()
            assert few.execute(asked, [instance_id]).fetchall() == wanted
        assert header_of_instance(catalog, key).elements
        opened += few.execute(f"select {FEW}").fetchall()[0]
    for entity, column, asked in (("series", "series_key", 2), ("studies", "study_key", 1)):
        keys = catalog.connection.execute(f"select {column} from {entity}").fetchall()
        for (key,) in [*keys, ("9.9",)]:
            question = statement("instances", "dicomweb")
            given = [key if number == asked else None for number in (1, 2, 3, 4)]
            wanted = catalog.connection.execute(question, given).fetchall()
            assert bool(wanted) == (key != "9.9")
            assert session_of(catalog, entity, key).execute(question, given).fetchall() == wanted
    return opened


@pytest.mark.parametrize("seed", some(range(4), always=[0]))
def test_whatever_came_and_went(tmp_path: Path, seed: int) -> None:
    """Parts of one file each, a replaced one, a removed one, and a compaction."""
    draw = random.Random(seed)
    source = tmp_path / "in"
    files = collection(source, seed)
    wh = warehouse.open(tmp_path / "w", create=True)
    for path in files[5:]:
        path.unlink()
    wh.ingest(source, workers=1, batch_files=1)
    # Nothing is kept: all parts, and the one without rows.
    assert set(hold(wh.catalog)) == {parts(wh.root) + 1} != {2}
    keep_answers(wh.root)
    assert set(hold(open_catalog(wh.root))) == {2}
    changed, removed = draw.sample(files[:5], 2)
    changed.write_bytes(changed.read_bytes() + b"\0\0")
    wh.ingest(source, workers=1)
    removed.unlink()
    wh.remove(source, delete=True)
    keep_answers(wh.root)
    assert set(hold(open_catalog(wh.root))) == {2}
    wh.compact()
    keep_answers(wh.root)
    assert set(hold(open_catalog(wh.root))) == {2}


def test_ids_of_another_order_are_not_those_of_the_parts(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for path in collection(source, 1)[4:]:
        path.unlink()
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(source, workers=1, batch_files=1)
    keep_answers(wh.root)
    for order in (1, 2):
        assert set(hold(open_catalog(wh.root, order=order))) == {parts(wh.root) + 1} != {2}


def test_a_part_of_which_nothing_is_noted_is_read(
    sample: warehouse.Warehouse, tmp_path: Path
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(sample.root, root)
    keep_answers(root)
    (noted,) = layout.cache_folder(root).glob("*/elements.json")
    spans = json.loads(noted.read_text())
    ids = [first for first, _ in spans.values()]
    noted.write_text("{}")
    catalog = open_catalog(root)
    few = session_about(catalog, ids[:1])
    assert few.execute(ROWS, ids[:1]).fetchall() == (
        catalog.connection.execute(ROWS, ids[:1]).fetchall()
    )
    # What cannot be read is as if it were not there.
    noted.write_text("{")
    few = session_about(open_catalog(root), ids[:1])
    assert few.execute(f"select {FEW}").fetchall()[0][0] == parts(root) + 1


def test_the_uptake_of_a_series_is_that_of_its_parts(
    sample: warehouse.Warehouse, tmp_path: Path
) -> None:
    """A view of three layers, over kept answers and all three tables."""
    root = tmp_path / "copy"
    shutil.copytree(sample.root, root)
    keep_answers(root)
    catalog = open_catalog(root)
    asked = "from pt_suv where series_key = $1"
    pets = catalog.connection.execute("select series_key from series where Modality = 'PT'")
    for (key,) in pets.fetchall():
        wanted = catalog.connection.execute(asked, [key]).fetchall()
        assert session_of(catalog, "series", key).execute(asked, [key]).fetchall() == wanted != []
