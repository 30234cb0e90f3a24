"""What is asked of a few instances reads the parts that may hold them, and says what all parts say."""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING

import pytest

import warehouse
from tests.catalog.test_entities_equal_reference import collection
from tests.dicom_files import write
from tests.forms import some
from warehouse.catalog.connect import Catalog, open_catalog
from warehouse.catalog.few import session_about, session_of
from warehouse.catalog.header_rows import header_of_instance, header_of_key
from warehouse.catalog.materialized import materialize
from warehouse.errors import InstanceNotFound
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
    every = "select instance_id, instance_key, file_path from instances"
    for instance_id, key, path in catalog.connection.execute(every).fetchall():
        few = session_about(catalog, [instance_id])
        for asked in (
            ROWS,
            "select * from instances where instance_id = $1",
            "select * from files where instance_id = $1",
        ):
            wanted = catalog.connection.execute(asked, [instance_id]).fetchall()
            assert few.execute(asked, [instance_id]).fetchall() == wanted
        # Found near the last one or anywhere, by each of its names.
        for name in (key, path):
            assert f"file://{path}" in header_of_instance(catalog, name).bulk_uri
        assert header_of_key(catalog, key).elements == header_of_instance(catalog, path).elements
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


def test_a_few_instances_are_asked_of_the_parts_that_hold_them(tmp_path: Path) -> None:
    """Two parts of one file each, and ids in the order of the parts or in another one."""
    for number in (1, 2):
        write(tmp_path / "in" / f"{number}.dcm", uid=f"1.{number}", PatientID=f"P{number}")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1, batch_files=1)
    materialize(wh.root)
    for order, wanted in ((0, 2), (1, 3)):
        catalog = open_catalog(wh.root, order=order)
        ask = catalog.connection.execute
        ids = [row[0] for row in ask("select instance_id from instances").fetchall()]
        for one in ids:
            few = session_about(catalog, [one])
            assert few.execute(ROWS, [one]).fetchall() == ask(ROWS, [one]).fetchall() != []
            assert few.execute(f"select {FEW}").fetchall() == [(wanted, wanted)]


@pytest.mark.long("test_a_few_instances_are_asked_of_the_parts_that_hold_them")
@pytest.mark.parametrize("seed", some(range(4), always=[0]))
def test_whatever_came_and_went(tmp_path: Path, seed: int) -> None:
    """Parts of one file each, a replaced one, a removed one, and a compaction."""
    draw = random.Random(seed)
    source = tmp_path / "in"
    files = collection(source, seed, count=4)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(source, workers=1, batch_files=1)
    # Nothing is kept: all parts, and the one without rows.
    assert set(hold(wh.catalog)) == {parts(wh.root) + 1} != {2}
    materialize(wh.root)
    assert set(hold(open_catalog(wh.root))) == {2}
    changed, removed = draw.sample(files, 2)
    changed.write_bytes(changed.read_bytes() + b"\0\0")
    wh.ingest(source, workers=1)
    removed.unlink()
    wh.remove(source, delete=True)
    materialize(wh.root)
    assert set(hold(open_catalog(wh.root))) == {2}
    wh.compact()
    materialize(wh.root)
    assert set(hold(open_catalog(wh.root))) == {2}


@pytest.mark.long("test_a_few_instances_are_asked_of_the_parts_that_hold_them")
def test_ids_of_another_order_are_not_those_of_the_parts(tmp_path: Path) -> None:
    source = tmp_path / "in"
    collection(source, 1, count=3)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(source, workers=1, batch_files=1)
    materialize(wh.root)
    for order in (1, 2):
        assert set(hold(open_catalog(wh.root, order=order))) == {parts(wh.root) + 1} != {2}


def test_a_part_of_which_nothing_is_noted_is_read(
    sample: warehouse.Warehouse, tmp_path: Path
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(sample.root, root)
    materialize(root)
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
    materialize(root)
    catalog = open_catalog(root)
    asked = "from pt_suv where series_key = $1"
    pets = catalog.connection.execute("select series_key from series where Modality = 'PT'")
    for (key,) in pets.fetchall():
        wanted = catalog.connection.execute(asked, [key]).fetchall()
        assert session_of(catalog, "series", key).execute(asked, [key]).fetchall() == wanted != []


def test_the_next_header_is_looked_for_where_the_last_one_was(tmp_path: Path) -> None:
    """Two batches of two, in turns: what is not near is found among all."""
    for batch in (1, 2):
        for number in (1, 2):
            write(tmp_path / str(batch) / f"{number}.dcm", uid=f"1.{batch}.{number}")
        wh = warehouse.open(tmp_path / "w", create=True)
        wh.ingest(tmp_path / str(batch), workers=1)
    materialize(tmp_path / "w")
    catalog = open_catalog(tmp_path / "w")
    for batch, number in ((1, 1), (1, 2), (2, 1), (1, 1), (2, 2)):
        name = f"1.{batch}.{number}"
        assert header_of_key(catalog, name).get("SOPInstanceUID") == name
    with pytest.raises(InstanceNotFound):
        header_of_key(catalog, "1.3.1")
    with pytest.raises(InstanceNotFound):
        header_of_key(catalog, str(tmp_path / "1" / "1.dcm"))
    path = str(tmp_path / "1" / "1.dcm")
    assert header_of_instance(catalog, path).get("SOPInstanceUID") == "1.1.1"
