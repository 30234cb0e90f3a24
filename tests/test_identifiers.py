r"""The whole text of an identifier counts, also of one that a backslash cuts into several values.

LO and UI have one value here and no backslash (PS3.5 6.2, PS3.6), but files have `DOMAIN\1`. Expected
is what Orthanc has: its ids are digests of the whole text.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydicom import dcmread

import warehouse
from tests.asking import cohort_of
from tests.dicom_files import dataset, image, write
from warehouse import rebuild as rebuilding
from warehouse.deidentify.engine import deidentify
from warehouse.deidentify.identity import tokens_of
from warehouse.deidentify.key import Key
from warehouse.deidentify.options import Deidentify
from warehouse.deidentify.profile import profile
from warehouse.errors import NothingToForget, RebuildNeeded
from warehouse.forget import forget
from warehouse.listener.find import rows
from warehouse.server.qido import parse
from warehouse.server.search import search
from warehouse.server.serving import Version
from warehouse.store import delta, locks

IDS = ["DOMAIN", r"DOMAIN\1", r"DOMAIN\2", "1", r"\1", "\\"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A patient per ID, and a DICOMDIR that lists one of them. Not to be written to."""
    folder = tmp_path_factory.mktemp("identifiers")
    for number, name in enumerate(IDS):
        made = image(
            f"1.7.{number}", PatientID=name.split("\\"), PatientName=f"Some^{number}",
            IssuerOfPatientID=f"A\\{number}", AccessionNumber=f"ACC\\{number}",
            StudyInstanceUID=["1.7.1", f"1.7.1.{number}"],
            SeriesInstanceUID=["1.7.2", f"1.7.2.{number}"],
        )  # fmt: skip
        write(folder / "in" / f"{number}.dcm", made)
    record = dataset(DirectoryRecordType="PATIENT", PatientID=["DOMAIN", "2"])
    listing = dataset(
        SOPClassUID="1.2.840.10008.1.3.10", SOPInstanceUID="1.7.9", DirectoryRecordSequence=[record]
    )
    write(folder / "in" / "DICOMDIR", listing)
    warehouse.open(folder / "w", create=True).ingest(folder / "in", workers=1)
    return folder


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template / "w", tmp_path / "w")
    return tmp_path / "w"


def asked(wh: warehouse.Warehouse, sql: str, *values: Any) -> list[Any]:
    return [row[0] for row in wh.sql(sql, list(values)).fetchall()]


def with_first_values(root: Path) -> None:
    """Store of each identifier the first value, as earlier versions of the software did."""
    base = delta.snapshot(root)
    change = delta.Change(remove=list(base.parts["instances"]))
    columns = (
        "PatientID", "patient_key", "StudyInstanceUID", "study_key", "SeriesInstanceUID",
        "series_key", "AccessionNumber", "IssuerOfPatientID",
    )  # fmt: skip
    for part in base.parts["instances"]:
        stored = rebuilding._read(root, part)
        for name in columns:
            firsts = [text and text.split("\\")[0] for text in stored[name].to_pylist()]
            place = stored.schema.get_field_index(name)
            column = pa.array(firsts, pa.string())
            stored = stored.set_column(place, stored.schema[place], column)
        change.add.append(rebuilding._write(root, part, stored))
    with locks.locked(root):
        delta.commit(root, {"instances": change}, base, "test")


def test_each_has_patient_study_and_series_of_its_own(template: Path) -> None:
    wh = warehouse.open(template / "w")
    # A text that says nothing is no identifier.
    stated = [name for name in IDS if name != "\\"]
    assert asked(wh, "select patient_key from patients order by all") == sorted(
        [*stated, r"missing:1.7.1\1.7.1.5"]
    )
    assert asked(wh, "select PatientID from patients where PatientID <> patient_key") == []
    for level, number in (("study", 1), ("series", 2)):
        plural = {"study": "studies"}.get(level, level)
        assert asked(wh, f"select {level}_key from {plural} order by all") == [
            rf"1.7.{number}\1.7.{number}.{each}" for each in range(len(IDS))
        ]
    (row,) = wh.sql(
        "select AccessionNumber, IssuerOfPatientID from instances where PatientID = $1", [IDS[2]]
    ).fetchall()
    assert row == (r"ACC\2", r"A\2")
    assert wh.sql("from entity_conflicts").fetchall() == []


def test_files_of_several_instance_uids_are_no_duplicates(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path / "in" / f"{number}", image(["1.7", f"1.7.{number}"], SliceThickness=number))
    wh = warehouse.open(tmp_path / "w", create=True)
    assert wh.ingest(tmp_path / "in", workers=1).created == 2
    assert wh.rebuild().parts == 0


def test_one_is_forgotten_and_no_other(root: Path, template: Path) -> None:
    done = forget(root, "patient", r"DOMAIN\2", delete=True)
    assert done.entities == {"patients": 1, "studies": 1, "series": 1, "instances": 2}
    wh = warehouse.open(root)
    assert asked(wh, "select PatientID from patients where PatientID like 'DOMAIN%' order by all") == [
        "DOMAIN", r"DOMAIN\1",
    ]  # fmt: skip
    # It does not come back, and neither does the directory that lists it, from another path.
    shutil.copytree(template / "in", root.parent / "again")
    report = wh.ingest(root.parent / "again", workers=1)
    assert (report.forgotten, report.created) == (2, 0)
    forget(root, "patient", "DOMAIN", delete=True)
    assert asked(
        wh.refresh() or wh, "select PatientID from patients where PatientID like 'D%'"
    ) == [r"DOMAIN\1"]


def test_a_warehouse_of_first_values_opens_and_is_put_right_by_a_rebuild(root: Path) -> None:
    right = warehouse.open(root).sql("from patients order by all").fetchall()
    with_first_values(root)
    wh = warehouse.open(root)
    assert asked(wh, "select instance_count from patients where PatientID = 'DOMAIN'") == [3]
    for delete in (False, True):
        with pytest.raises(RebuildNeeded, match="run dicom-warehouse rebuild"):
            forget(root, "patient", "DOMAIN", delete=delete)
    with pytest.raises(RebuildNeeded):
        forget(root, "series", "1.7.2")
    assert forget(root, "patient", "1").entities["instances"] == 1
    wh.rebuild()
    assert wh.sql("from patients order by all").fetchall() == right
    assert forget(root, "patient", "DOMAIN", delete=True).entities["instances"] == 1
    with pytest.raises(NothingToForget):
        forget(root, "series", "1.7.2")


def test_pseudonyms_differ_and_those_of_rows_are_those_of_files(
    template: Path, tmp_path: Path
) -> None:
    shutil.copytree(template / "w", tmp_path / "w")
    wh = warehouse.open(tmp_path / "w")
    cohort_of(wh, "all_of_it", "select series_key from series where PatientID is not null")
    key = Key(b"k" * 32)
    how = Deidentify(key=key, workers=1)
    target = tmp_path / "rows.parquet"
    wh.export("all_of_it", target, "parquet", rows="instances", deidentify=how)
    columns = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
    of_rows = {tuple(row[name] for name in columns) for row in pq.read_table(target).to_pylist()}
    assert {patient for patient, *_ in of_rows} == {key.patient(name) for name in IDS[:-1]}
    for number, name in enumerate(IDS[:-1]):
        content = (template / "in" / f"{number}.dcm").read_bytes()
        made = b"".join(deidentify(content, profile(), key, name).chunks)
        assert b"DOMAIN" not in made
        header = dcmread(io.BytesIO(made))
        uids = ("\\".join(header[keyword].value) for keyword in columns[1:])
        assert (header.PatientID, *uids) in of_rows


def test_a_value_of_an_id_is_taken_out_wherever_it_stands() -> None:
    """Also where the file itself has another spelling of it than `instances`."""
    found = tokens_of(r"DOMAIN\MUST4711", (), (r"DOMAIN\MUST4711",))
    assert {"domain", "must4711"} <= found


def test_queries_of_the_network_mean_the_whole_text(template: Path) -> None:
    wh = warehouse.open(template / "w")
    version = Version(wh.catalog, 1)
    for name in IDS[:2]:
        found = [row["PatientID"] for row in rows(wh, "STUDY", {"PatientID": name})]
        assert found == [name]
        pairs = [("PatientID", name)]
        assert len(search(version, parse(pairs, "studies", {}), "").rows) == 1
    found = [row["PatientID"] for row in rows(wh, "PATIENT", {"PatientID": r"DOMAIN\*"})]
    assert found == [r"DOMAIN\1", r"DOMAIN\2"]
    # What a study is answered with finds it: it is no list of two others.
    uid = r"1.7.1\1.7.1.2"
    (row,) = rows(wh, "IMAGE", {"StudyInstanceUID": uid})
    assert (row["StudyInstanceUID"], row["PatientID"]) == (uid, r"DOMAIN\2")
    (text,) = search(version, parse([("StudyInstanceUID", uid)], "studies", {}), "").rows
    assert r'"0020000D":{"vr":"UI","Value":["1.7.1\\1.7.1.2"]}' in text
