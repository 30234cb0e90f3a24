"""What a batch stored, before and after its parts are merged with those of others."""

from __future__ import annotations

from pathlib import Path

import polars as pl

import warehouse
from tests.dicom_files import image, write
from warehouse.catalog.batch_report import describe_batch


def test_a_batch_has_the_rows_of_its_tables(tmp_path: Path) -> None:
    wh = warehouse.open(tmp_path / "w", create=True)
    for number in range(2):
        made = image(f"1.9.{number}", StudyComments="x" * number)
        wh.ingest(write(tmp_path / f"{number}.dcm", made), workers=1)
    for is_merged in (False, True):
        if is_merged:
            wh.compact()
        for table in ("elements", "instances"):
            counted = wh.table(table).group_by("batch").agg(pl.len()).collect().rows()
            assert len(counted) == 2
            for batch, rows in counted:
                report = describe_batch(wh.root, batch)
                assert (report.instances, report.stored_rows[table]) == (1, rows)
                assert (report.stored_bytes[table] is None) == is_merged
    # A batch that is read again has parts of its own; the merged one keeps the others.
    wh.batches.run("000002")
    again = describe_batch(wh.root, "000002")
    assert again.stored_rows["instances"] == 1
    assert again.stored_bytes["instances"] > 0
    assert describe_batch(wh.root, "000001").stored_rows["instances"] == 1
