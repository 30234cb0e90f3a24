"""All questions of a warehouse, asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cohorts.conftest import make
from warehouse.cohorts import compare
from warehouse.cohorts.reruns import rerun_all
from warehouse.cohorts.runs import runs

if TYPE_CHECKING:
    from pathlib import Path

    import warehouse

pytestmark = pytest.mark.usefixtures("asked_here")


def test_a_question_is_asked_again_and_what_has_changed(
    changing: warehouse.Warehouse, tmp_path: Path
) -> None:
    """The short form: one question, which was not asked before."""
    folder = changing.root / "cohorts"
    folder.mkdir(exist_ok=True)
    (folder / "acme.sql").write_text(
        "-- Of ACME.\nselect instance_key from instances where Manufacturer = 'ACME'\n"
    )
    for is_changed, held in ((True, 1), (False, 1)):
        (rerun,) = rerun_all(changing.root)
        assert (rerun.cohort, rerun.changed) == ("acme", is_changed)
        assert len(runs(changing.root)) == held
    make(tmp_path / "in", 9)
    changing.ingest(tmp_path / "in", workers=1)
    (rerun,) = rerun_all(changing.root)
    assert (rerun.changed, len(runs(changing.root))) == (True, 2)


@pytest.mark.long("test_a_question_is_asked_again_and_what_has_changed")
def test_every_question_once_and_what_has_changed(
    changing: warehouse.Warehouse, tmp_path: Path
) -> None:
    folder = changing.root / "cohorts"
    folder.mkdir(exist_ok=True)
    (folder / "acme.sql").write_text(
        "-- Of ACME.\nselect series_key from instances where Manufacturer = 'ACME'\n"
    )
    changing.cohort("ct_thin_slice", max_slice_mm=1.5)
    changing.cohort("ct_thin_slice", max_slice_mm=2.5)
    compare.combine(changing.root, "union", "ct_thin_slice-0001", "ct_thin_slice-0002", "both")
    first = {(r.cohort, r.parameters.get("max_slice_mm")): r for r in rerun_all(changing.root)}
    assert set(first) == {("ct_thin_slice", 1.5), ("ct_thin_slice", 2.5), ("acme", None)}
    assert [name for name, rerun in first.items() if rerun.changed] == [("acme", None)]
    held = len(runs(changing.root))
    assert not any(rerun.changed for rerun in rerun_all(changing.root))
    assert len(runs(changing.root)) == held
    make(tmp_path / "in", 9, SliceThickness="2")
    changing.ingest(tmp_path / "in", workers=1)
    again = {
        (r.cohort, r.parameters.get("max_slice_mm")): r.changed for r in rerun_all(changing.root)
    }
    assert again == {
        ("ct_thin_slice", 1.5): False, ("ct_thin_slice", 2.5): True, ("acme", None): True
    }  # fmt: skip


def test_one_that_cannot_be_asked_does_not_keep_others_from_it(
    archive: warehouse.Warehouse,
) -> None:
    folder = archive.root / "cohorts"
    folder.mkdir(exist_ok=True)
    (folder / "bad.sql").write_text("-- Bad.\nselect series_key from no_such_table\n")
    (folder / "good.sql").write_text("-- Good.\nselect series_key from series\n")
    bad, good = rerun_all(archive.root)
    assert (bad.cohort, bad.run) == ("bad", None)
    assert "no_such_table" in (bad.why_not or "")
    assert good.run is not None
    assert good.why_not is None
