"""Volumes of segments are counted by a job, for what is new or has changed."""

import dagster as dg
import pytest

import warehouse
from pipelines.definitions import build_definitions
from pipelines.resources import IntakeResource
from tests.derived_objects import small_archive


@pytest.mark.acceptance("R17")
def test_the_job_counts_segments(tmp_path, instance):
    """The short form: it is run once."""
    small_archive(tmp_path / "in")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    job = build_definitions(IntakeResource(root=str(wh.root))).resolve_job_def("measure")
    done = job.execute_in_process(instance=instance)
    (counts,) = [
        event.materialization.metadata
        for event in done.get_asset_materialization_events()
        if event.asset_key.to_user_string() == "segment_measurements"
    ]
    assert [counts[name].value for name in ("objects", "segments", "failures")] == [1, 1, []]


@pytest.mark.long("test_the_job_counts_segments")
@pytest.mark.acceptance("R17")
def test_the_job_counts_what_is_new(tmp_path, instance):
    small_archive(tmp_path / "in")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    definitions = build_definitions(IntakeResource(root=str(wh.root)))
    graph = definitions.resolve_asset_graph()
    above = graph.get(dg.AssetKey("segment_measurements")).parent_keys
    assert {key.to_user_string() for key in above} == {"segmentations", "segment_frames"}
    job = definitions.resolve_job_def("measure")

    def made():
        done = job.execute_in_process(instance=instance, raise_on_error=False)
        return done.success, {
            event.asset_key.to_user_string(): {k: v.value for k, v in event.materialization.metadata.items()}
            for event in done.get_asset_materialization_events()
        }  # fmt: skip

    # Its source is away: the run fails and says so, and the next one counts it.
    (tmp_path / "in" / "seg").rename(tmp_path / "away")
    success, metadata = made()
    assert not success
    assert "segment_measurements" not in metadata
    (tmp_path / "away").rename(tmp_path / "in" / "seg")
    for expected in ((1, 1), (0, 0)):
        success, metadata = made()
        assert success
        counts = metadata["segment_measurements"]
        assert (counts["objects"], counts["segments"], counts["failures"]) == (*expected, [])
        assert metadata["measured_segments"]["segments"] == expected[1]
    wh.refresh()
    rows = wh.sql("select SegmentNumber, voxel_count, volume_ml from segment_volumes").fetchall()
    assert rows == [(1, 3, pytest.approx(0.006))]
