"""Values: one of three forms, stored once, never changed, with who said them about what."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import duckdb
import pytest

import warehouse
from tests.components.test_sockets import mha
from tests.golden.test_layout_1 import unpacked
from warehouse.components.examples import EXAMPLES
from warehouse.components.values import Given
from warehouse.errors import (
    StoreDamaged,
    UnknownSocket,
    UnknownValue,
    UsageError,
    ValueRefused,
    WriteFailed,
)
from warehouse.store import delta

UID = "1.2.10"


@pytest.fixture(scope="module")
def archive(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive with the sockets of these tests. Not to be changed: take ``wh``."""
    root = shutil.copytree(archive, tmp_path_factory.mktemp("sockets") / "w")
    made = warehouse.open(root).components
    made.create_socket(title="Number", kind="FLT", relative_path="n.json")
    made.create_socket(title="Report", kind="PDF", relative_path="r.pdf")
    made.create_socket(title="Picture", kind="IMG", relative_path="images/p")
    made.create_socket(title="Boxes", kind="M2DB", relative_path="boxes.json")
    made.create_socket(title="Scan", kind="DCMIS", relative_path="images/scan")
    return root


@pytest.fixture
def parts(wh: warehouse.Warehouse) -> Any:
    return wh.components


@pytest.fixture
def pdf(tmp_path: Path) -> Path:
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF-1.4\n" + os.urandom(1000))
    return path


@pytest.mark.acceptance("G20")
def test_exactly_one_form_and_that_of_the_kind(parts: Any, pdf: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(mha([1, 1], "MET_UCHAR", b"\0"))
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("number", {}), ("number", {"value": 1, "file": pdf}),
        ("number", {"value": 1, "dicom_series": UID}), ("report", {"file": pdf, "dicom_series": UID}),
        ("report", {"value": "text"}), ("report", {"value": None}), ("picture", {"value": 1}),
        ("picture", {"dicom_series": UID}), ("scan", {"value": 1}),
        ("scan", {"file": tmp_path / "a.mha"}), ("picture", {"file": pdf}), ("number", {"file": pdf}),
        ("boxes", {"value": 1}), ("boxes", {"file": pdf}), ("boxes", {"dicom_series": UID}),
    ]  # fmt: skip
    for slug, given in wrong:
        with pytest.raises(ValueRefused):
            parts.add_value(slug, **given)
    with pytest.raises(UnknownSocket, match="similar: number"):
        parts.add_value("numbr", 1)
    forms = {
        parts.add_value("number", 1).value_id: "value",
        parts.add_value("report", file=pdf).value_id: "file",
        parts.add_value("picture", file=tmp_path / "a.mha").value_id: "image",
        parts.add_value("boxes", EXAMPLES["M2DB"]).value_id: "file",
        parts.add_value("scan", dicom_series=UID).value_id: "series",
    }
    with delta_rows(parts) as rows:
        assert dict(rows("select value_id, form from socket_values")) == forms
        odd = rows(
            "select * from socket_values where (value is not null)::int + (size_in_storage > 0)::int "
            "+ (series_key is not null)::int <> 1"
        )
    assert odd == []


class delta_rows:
    """Ask the newest version."""

    def __init__(self, parts: Any) -> None:
        self.wh = warehouse.open(parts._root)

    def __enter__(self) -> Any:
        return lambda query: self.wh.sql(query).fetchall()

    def __exit__(self, *_: object) -> None:
        self.wh.close()


@pytest.mark.acceptance("G21")
@pytest.mark.acceptance("G22")
def test_a_value_is_stored_once_and_another_one_is_another_row(
    parts: Any, wh: warehouse.Warehouse, pdf: Path, tmp_path: Path
) -> None:
    first = parts.add_value("number", 0.5, series=UID, by="a")
    assert parts.add_value("number", 0.5, series=UID, by="b").value_id == first.value_id
    assert parts.add_value("number", 0.5, series=UID, by="a").is_new_use is False
    other = parts.add_value("number", 0.25, series=UID, by="a")
    assert other.value_id != first.value_id
    assert parts.value(first.value_id) == 0.5
    one = parts.add_value("report", file=pdf)
    pdf.rename(tmp_path / "same.pdf")
    two = parts.add_value("report", file=tmp_path / "same.pdf")
    assert (one.value_id, two.is_new) == (two.value_id, False)
    assert wh.sql("select count(*) from socket_values").fetchall() == [(3,)]
    assert wh.sql("select count(*) from value_uses").fetchall() == [(4,)]
    stored = [path for path in (wh.root / "values").rglob("*") if path.is_file()]
    assert [path.name for path in stored] == [
        wh.sql("select sha256 from socket_values where form = 'file'").fetchall()[0][0]
    ]
    assert os.stat(stored[0]).st_mode & 0o222 == 0, "nobody writes to it"
    pdf.write_bytes(b"%PDF-other")
    assert parts.value_file(one.value_id).read_bytes() == (tmp_path / "same.pdf").read_bytes()


@pytest.mark.acceptance("G25")
def test_sizes_add_up_to_what_is_on_the_disk(
    parts: Any, wh: warehouse.Warehouse, pdf: Path
) -> None:
    parts.add_value("report", file=pdf)
    parts.add_value("boxes", EXAMPLES["M2DB"])
    parts.add_value("number", 3)
    on_disk = sum(p.stat().st_size for p in (wh.root / "values").rglob("*") if p.is_file())
    assert wh.sql("select sum(size_in_storage) from socket_values").fetchall() == [(on_disk,)]
    by_socket = dict(
        wh.sql("select slug, sum(size_in_storage) from socket_values group by slug").fetchall()
    )
    assert by_socket["number"] == 0
    assert by_socket["report"] == pdf.stat().st_size


@pytest.mark.acceptance("G35")
def test_who_said_it_and_where_it_is_used(parts: Any, wh: warehouse.Warehouse) -> None:
    first = parts.add_value(
        "number", 1, series=UID, by="reader 1", tool="viewer", tool_version="2.1"
    )  # fmt: skip
    parts.add_value("number", 1, study="1.2.1", by="reader 2")
    parts.put("cases", "case 1", {"number": first.value_id}, by="me")
    parts.put("other cases", "case 7", {"number": first.value_id})
    said = wh.sql(
        "select added_by, tool, tool_version, about, series_key, study_key, patient_key, is_there "
        "from values_about order by added_by"
    ).fetchall()
    assert said == [
        ("reader 1", "viewer", "2.1", "series", UID, "1.2.1", "P1", True),
        ("reader 2", "", "", "study", None, "1.2.1", "P1", True),
    ]
    used = wh.sql(
        f"select use_id, null from value_uses where value_id = '{first.value_id}' union all "
        f"select set_name, item from value_sets where value_id = '{first.value_id}'"
    ).fetchall()
    assert {("cases", "case 1"), ("other cases", "case 7")} < set(used)
    assert len(used) == 4


def test_a_value_is_about_one_entity_that_is_there(parts: Any, wh: warehouse.Warehouse) -> None:
    for kind, key in (
        ("series", UID),
        ("instance", "1.1.10"),
        ("study", "1.2.1"),
        ("patient", "P1"),
    ):
        parts.add_value("number", 1, **{kind: key})
        with pytest.raises(ValueRefused, match="not in the warehouse"):
            parts.add_value("number", 2, **{kind: "9.9"})
    with pytest.raises(UsageError, match="name one"):
        parts.add_value("number", 1, series=UID, study="1.2.1")
    with pytest.raises(UsageError, match="not a 'planet'"):
        parts.add_values([Given("number", 1, about="planet", about_key="x")])
    rows = wh.sql("select instance_key, series_key from values_about order by all").fetchall()
    assert set(rows) == {("1.1.10", UID), (None, UID), (None, None)}
    joined = wh.sql("select Modality from values_about join series using (series_key)").fetchall()
    assert joined == [("CT",), ("CT",)]


def test_many_values_are_added_together_or_not_at_all(parts: Any, wh: warehouse.Warehouse) -> None:
    many = [Given("number", n, about="series", about_key=UID) for n in range(50)]
    before = delta.snapshot(wh.root).version
    assert all(added.is_new for added in parts.add_values(many))
    assert delta.snapshot(wh.root).version == before + 1
    with pytest.raises(ValueRefused):
        parts.add_values([Given("number", 99), Given("number", "text")])
    assert wh.sql("select count(*) from socket_values").fetchall() == [(50,)]
    assert parts.add_values([]) == []
    same = [Given("number", 7.5), Given("number", 7.5)]
    assert [added.is_new for added in parts.add_values(same)] == [True, True]
    assert wh.sql("select count(*) from socket_values").fetchall() == [(51,)]


ADD = """
import sys, warehouse
wh = warehouse.open(sys.argv[1])
wh.components.sockets()
print("ready", flush=True)
wh.components.add_value("number", 42, by="both")
wh.components.add_value("report", file=sys.argv[2], by=sys.argv[3])
"""


def test_one_who_looked_before_adds_no_second_value(
    parts: Any, wh: warehouse.Warehouse, pdf: Path
) -> None:
    """The other opened the version before, in which there was none."""
    other = warehouse.open(wh.root).components
    assert other.sockets()
    for who, asked in (("a", parts), ("b", other)):
        asked.add_value("number", 42, by="both")
        asked.add_value("report", file=pdf, by=who)
    wh.refresh()
    counted = wh.sql("select slug, count(*) from socket_values group by slug order by slug")
    assert counted.fetchall() == [("number", 1), ("report", 1)]


@pytest.mark.long("test_one_who_looked_before_adds_no_second_value")
def test_two_processes_add_one_value(parts: Any, wh: warehouse.Warehouse, pdf: Path) -> None:
    """This one, and another one."""
    with subprocess.Popen(
        [sys.executable, "-c", ADD, str(wh.root), str(pdf), "a"], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        parts.add_value("number", 42, by="both")
        parts.add_value("report", file=pdf, by="b")
        assert other.wait(120) == 0
    wh.refresh()
    counted = wh.sql("select slug, count(*) from socket_values group by slug order by slug")
    assert counted.fetchall() == [("number", 1), ("report", 1)]
    uses = wh.sql("select added_by from value_uses order by added_by").fetchall()
    assert uses == [("a",), ("b",), ("both",)]


def test_threads_make_one_socket(wh: warehouse.Warehouse) -> None:
    outcomes: list[str] = []

    def make() -> None:
        try:
            wh.components.create_socket(title="One", kind="INT", relative_path="one.json")
            outcomes.append("made")
        except UsageError:
            outcomes.append("refused")

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made", "refused", "refused"]


def test_a_full_disk_stores_nothing(
    parts: Any, wh: warehouse.Warehouse, pdf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("warehouse.components.ledger.os.fsync", full)
        with pytest.raises(WriteFailed, match="no space"):
            parts.add_value("report", file=pdf)
    assert [p for p in (wh.root / "values").rglob("*") if p.is_file()] == []
    version = delta.snapshot(wh.root).version
    with monkeypatch.context() as patch:
        patch.setattr("warehouse.store.stage.pq.write_table", full)
        with pytest.raises(WriteFailed, match="no space"):
            parts.add_value("boxes", EXAMPLES["M2DB"])
    assert delta.snapshot(wh.root).version == version
    assert wh.sql("select count(*) from socket_values").fetchall() == [(0,)]
    assert parts.add_value("boxes", EXAMPLES["M2DB"]).is_new


def test_a_file_that_was_changed_or_lost_is_named(
    parts: Any, wh: warehouse.Warehouse, pdf: Path
) -> None:
    added = parts.add_value("report", file=pdf)
    assert [c.why_not for c in parts.check("report")] == [None]
    kept = parts.value_file(added.value_id)
    kept.chmod(0o644)
    kept.write_bytes(b"%PDF-forged")
    assert "digest differs" in str(parts.check("report")[0].why_not)
    kept.unlink()
    assert "is gone" in str(parts.check("report")[0].why_not)
    with pytest.raises(StoreDamaged, match="is gone"):
        parts.value_file(added.value_id)
    assert parts.add_value("report", file=pdf).is_new is False
    assert [c.why_not for c in parts.check("report")] == [None], "brought again, it is there again"


def test_a_value_is_found_by_how_its_id_begins(parts: Any) -> None:
    added = parts.add_value("number", 1)
    assert parts.value(added.value_id[:6]) == 1
    parts.add_value("number", 2)
    for wrong in ("zz", ""):
        with pytest.raises(UnknownValue):
            parts.value(wrong)


def test_values_survive_compaction_vacuum_removal_and_ingest(
    parts: Any, wh: warehouse.Warehouse, pdf: Path, tmp_path: Path
) -> None:
    import datetime as dt

    for n in range(3):
        parts.add_value("boxes", EXAMPLES["M2DB"], series=UID, by=str(n))
        parts.add_value("number", n, series=UID)
    parts.add_value("report", file=pdf)
    (wh.root / "values" / "ab").mkdir(exist_ok=True)
    (wh.root / "values" / "ab" / ("ab" * 32)).write_bytes(b"left by a kill")
    before = wh.sql("select * exclude batch from socket_values order by value_id").fetchall()
    shapes = wh.sql("select * exclude batch from annotations order by all").fetchall()
    wh.compact()
    wh.vacuum(dt.timedelta(0), delete=True)
    wh.rebuild()
    after = wh.sql("select * exclude batch from socket_values order by value_id").fetchall()
    assert after == before
    assert wh.sql("select * exclude batch from annotations order by all").fetchall() == shapes
    assert parts.value(before[0][0]) is not None
    assert [c.why_not for c in parts.check("report")] == [None]
    stored = {p.name for p in (wh.root / "values").rglob("*") if p.is_file()}
    assert "ab" * 32 not in stored, "what no version names is cleaned away"


def test_a_warehouse_of_the_layout_before_gains_the_tables(tmp_path: Path) -> None:
    root = unpacked(tmp_path)
    wh = warehouse.open(root)
    before = wh.sql("select count(*) from elements").fetchall()
    assert wh.sql("select count(*) from socket_values").fetchall() == [(0,)]
    wh.components.create_socket(title="Number", kind="FLT", relative_path="n.json")
    wh.components.add_value("number", 1)
    assert wh.sql("select count(*) from socket_values").fetchall() == [(1,)]
    assert wh.sql("select count(*) from elements").fetchall() == before


def test_an_older_version_takes_no_values(wh: warehouse.Warehouse) -> None:
    old = warehouse.open(wh.root, version=1)
    with pytest.raises(UsageError, match="older version"):
        old.components.add_value("number", 1)


@pytest.mark.acceptance("G28")
def test_polars_and_duckdb_see_the_same(parts: Any, wh: warehouse.Warehouse) -> None:
    parts.add_value("boxes", EXAMPLES["M2DB"], series=UID)
    sql = wh.sql("select index, points, area from annotations order by index").fetchall()
    frame = wh.table("annotations").select("index", "points", "area").sort("index").collect()
    assert frame.rows() == sql
    assert json.dumps(sql[0][1]) == json.dumps(
        [[float(c) for c in p] for p in EXAMPLES["M2DB"]["boxes"][0]["corners"]]
    )


@pytest.mark.slow
def test_100_000_annotations_are_queried_in_100_ms(parts: Any, wh: warehouse.Warehouse) -> None:
    import time

    import numpy as np

    rng = np.random.default_rng(1)
    boxes = [
        {"corners": [[x, y, 0], [x + w, y, 0], [x + w, y + h, 0], [x, y + h, 0]]}
        for x, y, w, h in rng.uniform(1, 50, (25_000, 4)).tolist()
    ]
    head = {"type": "Multiple 2D bounding boxes", "version": {"major": 1, "minor": 0}}
    many = [
        Given("boxes", {**head, "name": str(n), "boxes": boxes}, about="series", about_key=uid)
        for n, uid in enumerate([UID, "1.2.20", UID, "1.2.20"])
    ]
    parts.add_values(many)
    query = (
        "select Modality, count(*), avg(area_mm2) from annotations_about join series using (series_key) "
        "where area_mm2 > 400 group by Modality order by Modality"
    )
    times = []
    for _ in range(6):
        begin = time.process_time()
        rows = wh.sql(query).fetchall()
        times.append(time.process_time() - begin)
    assert [row[0] for row in rows] == ["CT", "MR"]
    areas = np.array([math_area(box) for box in boxes])
    assert rows[0][1] == 2 * (areas > 400).sum()
    # Seconds of processors, since others use this machine too.
    assert min(times) < 0.1


def math_area(box: dict[str, Any]) -> float:
    (a, b, c, _) = box["corners"]
    return float((b[0] - a[0]) * (c[1] - b[1]))


def test_duckdb_reads_nothing_of_a_value(parts: Any) -> None:
    """A value that looks like SQL or like a path is a text."""
    for text in ("'; drop table files; --", "/etc/passwd", "$1", "\0"):
        parts.create_socket(
            title=f"S{hash(text)}", kind="STR", relative_path=f"{abs(hash(text))}.json"
        )
        slug = max(parts.sockets().values(), key=lambda s: s.pk).slug
        assert parts.value(parts.add_value(slug, text).value_id) == text
    assert duckdb


def test_the_name_of_a_file_need_not_be_text(
    parts: Any, wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    file = tmp_path / os.fsdecode(b"caf\xe9.json")
    file.write_text("3")
    added = parts.add_value("number", file=file)
    query = "select file_name from value_uses where use_id = $1"
    assert wh.sql(query, [added.use_id]).fetchall() == [("caf\ufffd.json",)]
