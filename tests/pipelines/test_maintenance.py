"""Jobs that keep a warehouse in shape change no row but those of files that vanished."""

import pytest

import warehouse
from warehouse.errors import SourcesVanished
from warehouse.ingest import ingest
from warehouse.store import delta


@pytest.fixture
def stored(intake):
    value = intake.create_resource(None)
    ingest(value.root, value.sources, value.settings)
    return value.root


def said(done, node):
    [event] = [
        event
        for event in done.all_node_events
        if event.is_successful_output and event.step_key == node
    ]
    return {name: value.value for name, value in event.step_output_data.metadata.items()}


def test_compaction_and_vacuum_keep_every_row(run, stored, rows):
    before = rows()
    parts = sum(map(len, delta.snapshot(stored).parts.values()))
    done = run("maintain")
    assert done.success
    for table, held in rows().items():
        assert held.equals(before[table]), table
    assert sum(said(done, "compact_parts")["parts_before"].values()) == parts
    assert said(done, "vacuum_parts")["deleted_parts"] == 0  # not before a week has passed


def seen(done):
    [event] = done.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_what_vanished_is_counted_and_kept_unless_told_otherwise(run, stored, archive, monkeypatch):
    (archive / "a/ct.dcm").unlink()
    done = seen(run("vanished"))
    assert (done["known"], done["vanished"], done["removed"]) == (6, 1, 0)
    wh = warehouse.open(stored, create=True)
    assert wh.sql("select count(*) from instances").fetchall() == [(4,)]
    monkeypatch.setenv("DICOM_WAREHOUSE_VANISHED", "remove")
    done = seen(run("vanished"))
    assert (done["removed"], done["instances"]) == (1, 1)
    wh.refresh()
    assert wh.sql("select count(*) from instances").fetchall() == [(3,)]


def test_a_source_that_is_not_mounted_is_not_taken_for_vanished(run, stored, archive, monkeypatch):
    for path in [path for path in archive.rglob("*") if path.is_file()]:
        path.unlink()
    monkeypatch.setenv("DICOM_WAREHOUSE_VANISHED", "remove")
    with pytest.raises(SourcesVanished):
        run("vanished")
    assert warehouse.open(stored, create=True).sql("select count(*) from instances").fetchall() == [
        (4,)
    ]
