"""QIDO-RS against a loop over pydicom's data sets, and the requests that OHIF sends."""

from __future__ import annotations

import fnmatch
import http.client
import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

import warehouse
from tests.dicom_files import dataset, image, write
from tests.server.running import Client, running
from warehouse.cohorts.names import safe_name
from warehouse.errors import UsageError
from warehouse.server.accept import DICOM_JSON, choose
from warehouse.server.accept import parse as parse_accept
from warehouse.server.qido import parse

NAMES = [
    "Phan^Tom", "phan^ton^A", "Müller^Jörg", "Yamada^Tarou=山田^太郎=やまだ^たろう", "O'Neil^Sam", "Doe^Jane^^^",
]  # fmt: skip


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, list[Dataset]]]:
    """A server over 6 patients, 12 studies, 24 series and 48 instances that differ in what is asked for."""
    folder = tmp_path_factory.mktemp("qido")
    held = []
    for number in range(48):
        series, study, patient = number // 2, number // 4, number // 8
        request = dataset(
            ScheduledProcedureStepID=f"S{series % 5}", RequestedProcedureID=f"R{series % 3}"
        )
        code = dataset(CodeValue=f"C{study % 4}", CodingSchemeDesignator="99T", CodeMeaning="x")
        made = image(
            f"1.5.{number}", SpecificCharacterSet="ISO_IR 192", PatientID=f"H{patient}", PatientName=NAMES[patient],
            PatientSex="MFO"[patient % 3], StudyInstanceUID=f"1.5.1.{study}", SeriesInstanceUID=f"1.5.2.{series}",
            StudyDate=f"2026{1 + study % 3:02}{1 + study:02}", StudyTime=f"{8 + study:02}{5 * study:02}30.5",
            StudyDescription=["Demo chest", "demo 100% A_1", "Kopf", ""][study % 4], AccessionNumber=f"A{study}",
            Modality=["CT", "MR", "SR"][series % 3], SeriesNumber=series, SeriesDescription=f"AX {series % 4}",
            InstanceNumber=number, SliceThickness=str(0.5 * (series % 4)), ImageType=["ORIGINAL", "PRIMARY", f"T{series % 2}"],
            RequestAttributesSequence=[request, dataset(ScheduledProcedureStepID="S9", RequestedProcedureID="R0")],
            ProcedureCodeSequence=[code], OperatorsName=["Op^A", f"Op^{study % 2}"],
        )  # fmt: skip
        block = 0x10 + series % 2
        made.add_new((0x0019, block), "LO", "MAKER 1")
        made.add_new((0x0019, block << 8 | 0x02), "LO", f"secret {study % 3}")
        write(folder / "in" / f"{number}.dcm", made)
        held.append(made)
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)
    with running(made, audit=folder / "audit") as client:
        yield client, held


def wild(pattern: str) -> Callable[[Any], bool]:
    """PS3.4 C.2.2.2.4, by Python's own matching of file names."""
    rule = re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
    return lambda value: rule.match(str(value)) is not None


def words(name: Any) -> list[str]:
    plain = unicodedata.normalize("NFD", str(name).lower())
    return re.split(r"[\^= ]+", "".join(c for c in plain if not unicodedata.combining(c)))


CASES: dict[str, Callable[[Dataset], bool]] = {
    "StudyDate=20260103": lambda d: d.StudyDate == "20260103",
    "StudyDate=20260201-20260228": lambda d: "20260201" <= d.StudyDate <= "20260228",
    "StudyDate=-20260131": lambda d: d.StudyDate <= "20260131",
    "00080020=20260302-": lambda d: d.StudyDate >= "20260302",
    "StudyTime=10-1159": lambda d: "10" <= d.StudyTime[:2] <= "11",
    "StudyTime=0905": lambda d: d.StudyTime[:4] == "0905",
    "StudyDescription=*emo*": lambda d: "emo" in d.StudyDescription,
    "StudyDescription=demo 100%25 A_1": lambda d: d.StudyDescription == "demo 100% A_1",
    "StudyDescription=?emo*": lambda d: wild("?emo*")(d.StudyDescription),
    "StudyDescription=*100%25*_1": lambda d: wild("*100%*_1")(d.StudyDescription),
    "StudyDescription=demo*": lambda d: d.StudyDescription.startswith("demo"),
    "AccessionNumber=A1": lambda d: d.AccessionNumber == "A1",
    "00080050=*1": lambda d: d.AccessionNumber.endswith("1"),
    "00100020=*H4*": lambda d: "H4" in d.PatientID,
    "PatientName=phan*": lambda d: str(d.PatientName).lower().startswith("phan"),
    "PatientName=doe%5Ejane": lambda d: str(d.PatientName) == "Doe^Jane^^^",
    "PatientName=%E5%B1%B1%E7%94%B0*": lambda d: "山田" in str(d.PatientName),
    "PatientName=*O'N*": lambda d: "O'N" in str(d.PatientName),
    "PatientName=muller&fuzzymatching=true": lambda d: "muller" in words(d.PatientName),
    "PatientName=*Tom*&fuzzymatching=true": lambda d: "tom" in str(d.PatientName).lower(),
    "PatientName=jor mul&fuzzymatching=true": lambda d: "Jörg" in str(d.PatientName),
    "PatientSex=F": lambda d: d.PatientSex == "F",
    "StudyInstanceUID=1.5.1.3,1.5.1.7": lambda d: d.StudyInstanceUID in {"1.5.1.3", "1.5.1.7"},
    "StudyInstanceUID=1.5.1.3%5C1.5.1.7": lambda d: d.StudyInstanceUID in {"1.5.1.3", "1.5.1.7"},
    "Modality=SR": lambda d: d.Modality == "SR",
    "SeriesNumber=5": lambda d: d.SeriesNumber == 5,
    "SeriesDescription=AX 2": lambda d: d.SeriesDescription == "AX 2",
    "InstanceNumber=17": lambda d: d.InstanceNumber == 17,
    "SliceThickness=1.50": lambda d: float(d.SliceThickness) == 1.5,
    "ImageType=T1": lambda d: d.ImageType[2] == "T1",
    "OperatorsName=op%5E1": lambda d: "Op^1" in d.OperatorsName,
    "RequestAttributesSequence.ScheduledProcedureStepID=S2": lambda d: (
        d.RequestAttributesSequence[0].ScheduledProcedureStepID == "S2"
    ),
    "00400275.00400009=S9&00400275.00401001=R1": lambda d: False,
    "00400275.00400009=S*&00400275.00401001=R1": lambda d: (
        d.RequestAttributesSequence[0].RequestedProcedureID == "R1"
    ),
    "ProcedureCodeSequence.CodeValue=C2": lambda d: d.ProcedureCodeSequence[0].CodeValue == "C2",
    "00190010=MAKER 1&00191002=secret 1": lambda d: (
        d[0x19, 0x1002 if (0x19, 0x1002) in d else 0x1102].value == "secret 1"
    ),
    "AccessionNumber=A2&Modality=CT": lambda d: d.AccessionNumber == "A2" and d.Modality == "CT",
    "AccessionNumber=&StudyDescription=*": lambda d: True,
    "PatientID=nobody": lambda d: False,
}
UIDS = {"studies": "StudyInstanceUID", "series": "SeriesInstanceUID", "instances": "SOPInstanceUID"}


@pytest.mark.acceptance("W3")
@pytest.mark.parametrize("query", CASES)
def test_a_search_equals_a_loop(archive: tuple[Client, list[Dataset]], query: str) -> None:
    client, held = archive
    for level, keyword in UIDS.items():
        found = client.get(f"/dicomweb/{level}?{query}")
        assert found.status_code == 200, found.text
        tag = {"studies": "0020000D", "series": "0020000E", "instances": "00080018"}[level]
        uids = [row[tag]["Value"][0] for row in found.json()]
        wanted = {str(d[keyword].value) for d in held if CASES[query](d)}
        assert len(uids) == len(set(uids))
        assert set(uids) == wanted, level


@pytest.mark.acceptance("V3")
def test_modalities_in_study_take_a_list(archive: tuple[Client, list[Dataset]]) -> None:
    client, held = archive
    found = client.get("/dicomweb/studies?ModalitiesInStudy=MR,SR").json()
    wanted = {d.StudyInstanceUID for d in held if d.Modality in {"MR", "SR"}}
    assert {row["0020000D"]["Value"][0] for row in found} == wanted
    one = next(row for row in found if row["0020000D"]["Value"][0] == "1.5.1.0")
    assert one["00080061"]["Value"] == ["CT", "MR"]
    assert one["00201206"]["Value"] == [2]
    assert one["00201208"]["Value"] == [4]


def test_what_is_shown(archive: tuple[Client, list[Dataset]]) -> None:
    client, held = archive
    (row,) = client.get(
        "/dicomweb/studies?AccessionNumber=A6&includefield=00080090,OperatorsName&includefield=ImageType"
    ).json()
    of_study = [d for d in held if d.AccessionNumber == "A6"]
    assert row["00100010"]["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]
    assert row["00080030"]["Value"] == [of_study[0].StudyTime]
    assert row["00081070"]["Value"] == [{"Alphabetic": "Op^A"}, {"Alphabetic": "Op^0"}]
    assert row["00080008"]["Value"] == list(of_study[0].ImageType)
    assert "00080090" not in row
    assert row["00081190"]["Value"] == [f"{client.url}/dicomweb/studies/1.5.1.6"]
    (often,) = client.get("/dicomweb/studies?AccessionNumber=A6&includefield=00080060").json()
    assert often["00080060"]["Value"] == [of_study[0].Modality]
    assert "00080060" not in client.get("/dicomweb/studies?AccessionNumber=A6").json()[0]
    (whole,) = client.get("/dicomweb/instances?SOPInstanceUID=1.5.9&includefield=all").json()
    model = client.get("/dicomweb/studies/1.5.1.2/series/1.5.2.4/instances/1.5.9/metadata").json()[
        0
    ]
    assert {tag: whole[tag] for tag in model} == model
    series = client.get("/dicomweb/studies/1.5.1.2/series").json()
    assert [one["00200011"]["Value"] for one in series] == [[4], [5]]
    assert {one["0008103E"]["Value"][0] for one in series} == {"AX 0", "AX 1"}


@pytest.mark.parametrize(
    ("query", "tags"),
    [
        ("studies?PatientAge=040Y", {"00101010"}),
        ("studies?ProcedureCodeSequence.CodeValue=C1", {"00081032"}),
        ("series?BodyPartExamined=CHEST", {"00180015"}),
        ("series?PatientAge=040Y&BodyPartExamined=CH*", {"00101010", "00180015"}),
        ("instances?SliceThickness=1.5&ImageType=T1", {"00180050", "00080008"}),
        ("instances?00190010=MAKER 1&00191002=secret 1", {"00190010", "00191002"}),
    ],
)
def test_attributes_that_were_matched_are_returned(
    keyed: Client, query: str, tags: set[str]
) -> None:
    """PS3.18 10.6.3.3: of the level of the search, all that were passed as keys."""
    rows = keyed.get(f"/dicomweb/{query}").json()
    assert rows
    assert all(tags <= row.keys() for row in rows)


def test_a_matched_attribute_of_one_instance_is_not_returned_of_a_study(keyed: Client) -> None:
    # The first instance of the study has another value than the one that matches.
    (row,) = keyed.get("/dicomweb/studies?SliceThickness=2.5").json()
    assert "00180050" not in row


ALIKE = ["1.6.9 1", "1.6.9_1", "1.6.9A", "1.6.9a"]
"""UIDs that only characters or case distinguish which file systems do not have."""


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server over a study, one without a UID, a series without a UID, and one in two studies."""
    folder = tmp_path_factory.mktemp("keyed")
    code = dataset(CodeValue="C1", CodingSchemeDesignator="99T", CodeMeaning="x")
    for number in (1, 2):
        made = image(
            f"1.6.{number}", PatientAge="040Y", BodyPartExamined="CHEST", SliceThickness=f"{number}.5",
            StudyInstanceUID="1.6.1", ProcedureCodeSequence=[code], ImageType=["A", "B", "T1"],
        )  # fmt: skip
        made.add_new((0x0019, 0x10), "LO", "MAKER 1")
        made.add_new((0x0019, 0x1002), "LO", "secret 1")
        write(folder / "in" / f"{number}.dcm", made)
    write(
        folder / "in" / "3.dcm", image("1.6.3", StudyInstanceUID=None, SeriesInstanceUID="1.6.33")
    )
    write(
        folder / "in" / "4.dcm", image("1.6.4", StudyInstanceUID="1.6.44", SeriesInstanceUID=None)
    )
    for number in (5, 6):
        write(folder / "in" / f"{number}.dcm", image(
            f"1.6.{number}", StudyInstanceUID=f"1.6.5{number}", SeriesInstanceUID="1.6.50", InstanceNumber=number,
            SliceThickness=f"{number}.5", AcquisitionNumber=number, RescaleType="HU" if number == 5 else "US",
            DiffusionBValue=float("nan") if number == 5 else 700.0, TimezoneOffsetFromUTC="+0100",
            AcquisitionDateTime=f"2026010{number}120000{'+0100' if number == 5 else ''}",
        ))  # fmt: skip
    for number, uid in enumerate(ALIKE):
        write(folder / "in" / f"alike{number}.dcm", image(
            uid, StudyInstanceUID="1.6.90", SeriesInstanceUID="1.6.91", PatientID=None,
        ))  # fmt: skip
    item = dataset(ScheduledProcedureStepID="S")
    item.add_new((0x0031, 0x0010), "LO", "MAKER 1")
    item.add_new((0x0031, 0x1010), "OB", bytes(1000))
    for number, more in (
        (7, {"PatientName": "=山田", "PatientBirthDate": "no date", "StudyDescription": "", "StudyID": None,
             "RequestAttributesSequence": [item]}),
        (8, {"PatientName": "Later^A", "PatientBirthDate": "19600101", "StudyDescription": "Kopf ä", "StudyID": "ID8",
             "StudyDate": "20260708", "StudyTime": "0102", "AccessionNumber": "A8", "PatientSex": "F",
             "ReferringPhysicianName": "Ref^A"}),
        (9, {"StudyDescription": "Last", "StudyID": "ID9", "SeriesDescription": "S9", "SeriesNumber": 9}),
    ):  # fmt: skip
        write(folder / "in" / f"{number}.dcm", image(
            f"1.6.{number}", SpecificCharacterSet="ISO_IR 192", StudyInstanceUID="1.6.77", SeriesInstanceUID="1.6.78",
            **more,
        ))  # fmt: skip
    for number, description in ((10, ""), (11, "Stated later")):
        write(folder / "in" / f"{number}.dcm", image(
            f"1.6.8{number}", StudyInstanceUID="", SeriesInstanceUID="1.6.89", StudyDescription=description,
        ))  # fmt: skip
    for patient, number in (("QA", 1), ("QB", 2)):
        write(folder / "in" / f"{patient}.dcm", image(
            f"1.6.95.{number}", StudyInstanceUID="1.6.95", SeriesInstanceUID=f"1.6.96.{number}", PatientID=patient,
            PatientName=f"{patient}^A",
        ))  # fmt: skip
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)
    with running(made, audit=folder / "audit") as client:
        yield client


def test_a_study_has_each_attribute_once(keyed: Client) -> None:
    """Names in a JSON object are unique (RFC 8259, 4), also of a study with an empty UID."""
    text = keyed.get("/dicomweb/studies?StudyInstanceUID=missing:1.6.89").text
    (study,) = json.loads(text, object_pairs_hook=list)
    assert len({name for name, _ in study}) == len(study)
    assert dict(study)["00081030"] == [("vr", "LO"), ("Value", ["Stated later"])]


@pytest.mark.parametrize("number", [3, 4])
def test_a_study_or_series_without_a_uid_is_searched_by_its_key(keyed: Client, number: int) -> None:
    """The key is what 0020000D, 0020000E and the RetrieveURL of the results say."""
    found = [
        row for row in keyed.get("/dicomweb/series").json()
        if row["00081190"]["Value"][0].count("missing")
    ]  # fmt: skip
    (row,) = [row for row in found if f"1.6.{number}" in str(row)]
    study, series = row["0020000D"]["Value"][0], row["0020000E"]["Value"][0]
    assert "missing:" in study + series
    url = f"/dicomweb/studies/{quote(study)}"
    assert keyed.get(f"{url}/series").json() == [row]
    for path in (f"{url}/instances", f"{url}/series/{quote(series)}/instances"):
        (instance,) = keyed.get(path).json()
        assert instance["00080018"]["Value"] == [f"1.6.{number}"]
    asked = f"StudyInstanceUID={quote(study)}&SeriesInstanceUID={quote(series)}"
    assert keyed.get(f"/dicomweb/series?{asked}").json() == [row]


def test_a_series_in_two_studies_is_found_in_the_one_whose_instance_matches(keyed: Client) -> None:
    for query in (
        "InstanceNumber=6",
        "SliceThickness=6.5",
        "RescaleType=US",
        "AcquisitionNumber=6",
    ):
        for path, studies in (
            (f"series?{query}", ["1.6.56"]), (f"studies/1.6.55/series?{query}", []),
            (f"studies/1.6.56/series?{query}", ["1.6.56"]), (f"studies?{query}", ["1.6.56"]),
        ):  # fmt: skip
            rows = keyed.get(f"/dicomweb/{path}").json()
            assert [row["0020000D"]["Value"][0] for row in rows] == studies, path


def test_what_the_first_instance_does_not_state_is_that_of_the_first_that_does(
    keyed: Client,
) -> None:
    """As in the tables `studies` and `series`, and as the keys match: of instances 7, 8 and 9."""
    stated = {
        "00080020": "20260708", "00080030": "0102", "00080050": "A8", "00081030": "Kopf ä", "00100040": "F",
        "00200010": "ID8",
    }  # fmt: skip
    for path in ("studies?StudyDescription=Kopf ä", "series?SeriesDescription=S9"):
        (row,) = keyed.get(f"/dicomweb/{path}").json()
        assert {tag: row[tag]["Value"][0] for tag in stated} == stated
        assert row["00100010"]["Value"] == [{"Ideographic": "山田"}]
        assert row["00100030"]["Value"] == ["no date"]
        assert row["00080090"]["Value"] == [{"Alphabetic": "Ref^A"}]
    assert row["0008103E"]["Value"] == ["S9"]
    assert row["00200011"]["Value"] == [9]
    (item,) = row["00400275"]["Value"]
    assert item["00311010"]["BulkDataURI"].startswith(row["00081190"]["Value"][0])
    (table,) = keyed.get("/api/v1/studies?study_key=1.6.77").json()["results"]
    assert table["StudyDescription"] == "Kopf ä"


def test_a_date_and_time_is_in_the_clock_of_its_header(keyed: Client) -> None:
    """12:00+0100 where the offset is +0100 is 12 o'clock, as `select` has it (PS3.3 C.12.1.1.8)."""
    for number in (5, 6):
        for hour, found in (("11", []), ("12", [f"1.6.{number}"])):
            rows = keyed.get(
                f"/dicomweb/instances?AcquisitionDateTime=2026010{number}{hour}"
            ).json()
            assert [row["00080018"]["Value"][0] for row in rows] == found
            day = f"2026-01-0{number}"
            (from_, to) = f"{day} {hour}:00:00", f"{day} {hour}:59:59"
            listed = keyed.get(
                "/api/v1/instances?columns=SOPInstanceUID"
                f"&AcquisitionDateTime__min={from_}&AcquisitionDateTime__max={to}"
            ).json()["results"]
            assert [row["SOPInstanceUID"] for row in listed] == found


@pytest.mark.parametrize("key", ["PatientID=Q", "PatientName=q"])
def test_an_instance_is_found_by_the_patient_that_is_returned_of_it(
    keyed: Client, key: str
) -> None:
    """Also in a study of two patients, whose first instance is of one of them."""
    for patient in "AB":
        found = keyed.get(f"/dicomweb/instances?{key}{patient}*").json()
        assert [row["00100020"]["Value"] for row in found] == [[f"Q{patient}"]]


def test_every_line_of_accept_counts_and_what_it_refuses_is_not_sent(client: Client) -> None:
    """RFC 9110: lines of one name are one list (5.3), and q=0 is not acceptable (12.4.2)."""
    connection = http.client.HTTPConnection(client.url.removeprefix("http://"), timeout=60)
    connection.putrequest("GET", "/dicomweb/studies?limit=1")
    connection.putheader("Accept", "text/html")
    connection.putheader("Accept", "application/json")
    connection.endheaders()
    answer = connection.getresponse()
    connection.close()
    assert (answer.status, answer.getheader("Content-Type")) == (200, "application/json")
    offered = [DICOM_JSON, "application/json"]
    assert choose(f"{DICOM_JSON};q=0, */*", offered) == "application/json"


def test_nan_is_in_no_range(keyed: Client) -> None:
    """A comparison with NaN is false (IEEE 754), and its negation true."""
    for condition, found in (
        ("DiffusionBValue__min=100", ["1.6.6"]), ("DiffusionBValue__max=900", ["1.6.6"]),
        ("-DiffusionBValue__min=100", ["1.6.5"]),
    ):  # fmt: skip
        rows = keyed.get(f"/api/v1/instances?columns=SOPInstanceUID&{condition}").json()["results"]
        assert [row["SOPInstanceUID"] for row in rows] == found
    bounds = keyed.get("/api/v1/aggregates/instances").json()["columns"]["DiffusionBValue"]
    assert bounds == {"min": 700.0, "max": 700.0}


def test_a_zip_has_a_name_for_each_object(keyed: Client) -> None:
    """Also where names without capitals are the same, and `dicom-warehouse cohort export` has it."""
    archives = [
        zipfile.ZipFile(io.BytesIO(keyed.get(path, accept="application/zip").content))
        for path in ("/dicomweb/studies/1.6.90", "/api/v1/studies/1.6.90/files.zip")
    ]
    for archive in archives:
        names = {name.lower() for name in archive.namelist()}
        assert len(names) == len(archive.namelist()) == len(ALIKE)
        stored = [pydicom.dcmread(archive.open(name)).SOPInstanceUID for name in archive.namelist()]
        assert sorted(stored) == sorted(ALIKE)
    # A patient without an ID is named by the key, as in an export.
    (patient,) = {name.partition("/")[0] for name in archives[1].namelist()}
    assert patient == safe_name("missing:1.6.90")


@pytest.mark.parametrize("study", ["*", "1.6.1,1.6.44", "1.6.1%5C1.6.44", "%3F.6.1", "%20"])
def test_a_path_names_one_study(keyed: Client, study: str) -> None:
    assert keyed.get(f"/dicomweb/studies/{study}/series").json() == []


@pytest.mark.acceptance("V3")
def test_pages_hold_every_row_once_and_say_that_there_is_more(
    archive: tuple[Client, list[Dataset]],
) -> None:
    client, _ = archive
    seen: list[str] = []
    while True:
        page = client.get(f"/dicomweb/instances?limit=7&offset={len(seen)}")
        seen += [row["00080018"]["Value"][0] for row in page.json()]
        if "Warning" not in page.headers:
            break
        assert page.headers["Warning"].startswith("299 ")
        assert f"offset={len(seen)}" in page.headers["Warning"]
    assert len(seen) == len(set(seen)) == 48


@pytest.mark.acceptance("W1")
def test_what_ohif_asks(client: Client, sample: warehouse.Warehouse) -> None:
    """Literally as its version 3.13.2 was seen to ask; only UIDs are ours."""
    ask = "limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060%2C00080090%2C00100030"
    found = client.get(f"/dicomweb/studies?{ask}", "application/dicom+json")
    assert found.headers["Content-Type"] == "application/dicom+json"
    assert all(
        {"0020000D", "00080061", "00201206", "00201208"} <= set(row)
        for row in found.json()
        if "00080061" in row
    )
    filters = "PatientName=*Compressed*&00100020=*1CT*&StudyDescription=*CT*&StudyDate=20040101-20041231&ModalitiesInStudy=CT%2CMR"
    assert client.get(f"/dicomweb/studies?{ask}&{filters}").status_code == 200
    (row,) = client.get(
        f"/dicomweb/studies?{ask}&PatientName=*compressedsamples*&00100020=*1CT1*"
    ).json()
    study = row["0020000D"]["Value"][0]
    assert client.get(f"/dicomweb/studies?{ask}&StudyInstanceUID={study}").json() == [row]
    (series,) = client.get(
        f"/dicomweb/studies/{study}/series?includefield=00080021%2C00080031%2C0008103E%2C00200011"
    ).json()
    assert client.get(f"/dicomweb/studies?{ask}&00100020=1CT1").json() == [row]
    uid = series["0020000E"]["Value"][0]
    (header,) = client.get(f"/dicomweb/studies/{study}/series/{uid}/metadata").json()
    at = f"/dicomweb/studies/{study}/series/{uid}/instances/{header['00080018']['Value'][0]}"
    assert client.get(f"{at}/thumbnail?viewport=256%2C256", "image/jpeg").content[:2] == b"\xff\xd8"
    frame = client.get(
        f"{at}/frames/1", "multipart/related; type=application/octet-stream; transfer-syntax=*"
    )
    read = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm"))
    assert read.PixelData in frame.content
    whole = client.get(at, 'multipart/related; type="application/dicom"')
    assert Path(pydicom.data.get_testdata_file("CT_small.dcm")).read_bytes() in whole.content


HOSTILE = [
    "limit=0", "limit=-1", "limit=abc", f"limit={10**12}", "offset=-1", "offset=x", "limit=1.5", "limit=%D9%A3",
    "fuzzymatching=maybe", "NoSuchKeyword=1", "StudyDate=2026", "StudyDate=20261301", "StudyDate=-", "StudyTime=99",
    "SeriesNumber=five", "SeriesNumber=1_0", "SeriesNumber=nan", "SeriesNumber=%D9%A3", "00191002=x", "PixelData=1", "RequestAttributesSequence=1", "includefield=Nonsense",
    "StudyInstanceUID=%00", "PatientName=%0a", "PatientID=" + "x" * 8192, "..%2F..%2Fetc=1", "a.b.c=1", "=1", "RetrieveURL=x",
]  # fmt: skip


@pytest.mark.acceptance("W8")
@pytest.mark.parametrize("query", HOSTILE, ids=lambda text: text[:30])
def test_what_has_no_meaning_is_refused(client: Client, query: str) -> None:
    found = client.get(f"/dicomweb/studies?{query}")
    assert found.status_code == 400, found.text[:200]
    assert set(found.json()) == {"error", "message"}


@pytest.mark.acceptance("W8")
@pytest.mark.parametrize(
    "path", ["..%2F..", "%2e%2e", "1.2.3", "x" * 3000, "'%20or%201=1", "%25", "%EF%BF%BF", "%ff"]
)
def test_uids_that_are_none_are_not_found(client: Client, path: str) -> None:
    for rest in ("", "/metadata", "/series/1/metadata", "/series/1/instances/1/frames/1"):
        assert (
            client.session.get(
                f"{client.url}/dicomweb/studies/{path}{rest}", timeout=20
            ).status_code
            == 404
        )
    found = client.get(f"/dicomweb/studies/{path}/series")
    assert found.status_code == 404 or found.json() == []
    assert client.get("/dicomweb/studies/a%00b/metadata").status_code == 400


def test_no_value_is_in_the_audit_log(client: Client) -> None:
    client.get(f"/dicomweb/studies?PatientName={quote('*SecretName*')}&00100020=SecretID")
    client.get("/dicomweb/studies/SecretStudy/metadata")
    text = client.audit.read_text()  # type: ignore[attr-defined]
    assert '"route": "/dicomweb/studies"' in text
    assert "Secret" not in text


@settings(max_examples=200)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_parsed_or_refused(name: str, value: str) -> None:
    parse_accept(value)
    try:
        parse([(name, value)], "studies", {})
    except UsageError as error:
        assert str(error)
