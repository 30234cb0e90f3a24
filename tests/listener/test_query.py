"""C-FIND, C-GET and C-MOVE over a warehouse of known instances."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt

import warehouse
from tests.conftest import PACKAGED
from tests.dicom_files import dataset, element, image, part10, write
from tests.listener.peers import associated, data_set, received
from tests.programs import needed
from warehouse.listener import find as finding
from warehouse.listener import retrieve as retrieving
from warehouse.listener import sending
from warehouse.listener.listener import Listener
from warehouse.listener.sending import Stored
from warehouse.listener.settings import ListenerSettings, Peer
from warehouse.server.qido import parse
from warehouse.server.search import search
from warehouse.server.serving import Version

STUDY, PATIENT = "1.2.840.10008.5.1.4.1.2.2.", "1.2.840.10008.5.1.4.1.2.1."
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
NAMES = ["Doe^Jane", "DOE^JOHN", "Müller^Zoë", "Roe^Richard"]
FAILED, WARNING, NO_SUCH_QUERY, NO_SUCH_DESTINATION = 0xA702, 0xB000, 0xA900, 0xA801


def instances() -> Iterator[Dataset]:
    """Four patients, eight studies, sixteen series, thirty-two instances."""
    for patient, study, series, number in itertools.product(range(4), range(2), range(2), range(2)):
        yield image(
            f"1.{patient}.{study}.{series}.{number}", SpecificCharacterSet="ISO_IR 192",
            PatientID=f"P{patient}", PatientName=NAMES[patient], PatientSex="FM"[patient % 2],
            StudyInstanceUID=f"1.{patient}.{study}", StudyDate=f"202601{patient * 2 + study + 1:02}",
            StudyTime=f"{8 + patient:02}3000", AccessionNumber=f"ACC{patient}{study}",
            SeriesInstanceUID=f"1.{patient}.{study}.{series}", SeriesNumber=series,
            Modality=["CT", "MR"][series], InstanceNumber=number, PixelData=bytes([number]) * 4,
        )  # fmt: skip


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    """A listener on a warehouse of them. Not to be written to."""
    folder = tmp_path_factory.mktemp("asked")
    for made in instances():
        write(folder / "in" / made.SOPInstanceUID, made)
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", workers=1)
    with Listener(wh, ListenerSettings(port=0, ingest=False)) as listener:
        yield listener


def find(listener: Listener, root: str = STUDY, **keys: object) -> list[tuple[int, Dataset]]:
    """Return statuses and identifiers of a C-FIND."""
    with associated(listener.port, (f"{root}1", IMPLICIT)) as association:
        answers = association.send_c_find(dataset(**keys), f"{root}1")
        return [(status.Status, found) for status, found in answers]


def values(answers: list[tuple[int, Dataset]], keyword: str) -> list[object]:
    assert answers[-1][0] == 0
    return [found[keyword].value for _, found in answers[:-1]]


def test_studies_are_found_by_keys_of_study_and_patient(asked: Listener) -> None:
    answers = find(
        asked, QueryRetrieveLevel="STUDY", PatientName="doe*", StudyInstanceUID="", StudyDate="20260102-",
        StudyTime="", ModalitiesInStudy="", NumberOfStudyRelatedInstances="", RetrieveAETitle="",
    )  # fmt: skip
    assert values(answers, "StudyInstanceUID") == ["1.0.1", "1.1.0", "1.1.1"]
    assert {status for status, _ in answers[:-1]} == {0xFF00}
    first = answers[0][1]
    assert str(first.PatientName) == "Doe^Jane"
    assert (first.StudyDate, first.StudyTime) == ("20260102", "083000")
    assert list(first.ModalitiesInStudy) == ["CT", "MR"]
    assert first.NumberOfStudyRelatedInstances == 4
    assert (first.RetrieveAETitle, first.QueryRetrieveLevel) == ("WAREHOUSE", "STUDY")


def test_series_patients_and_images_are_found(asked: Listener) -> None:
    series = find(
        asked,
        QueryRetrieveLevel="SERIES",
        StudyInstanceUID="1.2.0",
        SeriesInstanceUID="",
        Modality="MR",
    )
    assert values(series, "SeriesInstanceUID") == ["1.2.0.1"]
    patients = find(
        asked, PATIENT, QueryRetrieveLevel="PATIENT", PatientID="", PatientSex="M", PatientName=""
    )
    assert values(patients, "PatientID") == ["P1", "P3"]
    images = find(
        asked, PATIENT, QueryRetrieveLevel="IMAGE", SeriesInstanceUID=["1.0.0.0", "1.3.1.1"],
        SOPInstanceUID="", InstanceNumber="1", Rows=None,
    )  # fmt: skip
    assert values(images, "SOPInstanceUID") == ["1.0.0.0.1", "1.3.1.1.1"]
    assert values(images, "Rows") == [2, 2]
    # Values of US are binary: those of 0x3032 are the characters "20".
    for rows, count in ((2, 2), (0x3032, 0), (128, 0)):
        images = find(
            asked, PATIENT, QueryRetrieveLevel="IMAGE", SOPInstanceUID=["1.0.0.0.1", "1.3.1.1.1"],
            Rows=rows,
        )  # fmt: skip
        assert values(images, "Rows") == [rows] * count


@pytest.mark.acceptance("D64")
def test_every_row_is_answered_once(asked: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "_ROWS", 5)
    answers = find(asked, QueryRetrieveLevel="IMAGE", SOPInstanceUID="", StudyInstanceUID="")
    assert values(answers, "SOPInstanceUID") == sorted(each.SOPInstanceUID for each in instances())


def test_text_beyond_ascii_is_asked_and_answered(asked: Listener) -> None:
    answers = find(
        asked, SpecificCharacterSet="ISO_IR 100", QueryRetrieveLevel="STUDY", PatientName="MÜLLER^*", StudyInstanceUID=""
    )  # fmt: skip
    assert [str(name) for name in values(answers, "PatientName")] == ["Müller^Zoë"] * 2


def test_a_key_that_is_not_matched_is_told(asked: Listener) -> None:
    answers = find(
        asked,
        QueryRetrieveLevel="STUDY",
        StudyInstanceUID="1.0.0",
        NameOfPhysiciansReadingStudy="X",
    )
    assert [status for status, _ in answers] == [0xFF01, 0]
    assert answers[0][1].NameOfPhysiciansReadingStudy == ""


def test_a_key_that_is_not_returned_is_told(asked: Listener) -> None:
    """FF01 tells of keys "not supported for existence and/or matching" (PS3.4 C.4.1.1.4)."""
    study = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.0.0"}
    assert [status for status, _ in find(asked, **study, PatientComments="")] == [0xFF01, 0]
    with associated(asked.port, (f"{STUDY}1", IMPLICIT)) as association:
        for tag, vr, value, expected in (
            (0x00091010, "LO", "", 0xFF01), (0x00080000, "UL", 10, 0xFF00)
        ):  # fmt: skip
            identifier = dataset(**study)
            identifier.add_new(tag, vr, value)
            answers = list(association.send_c_find(identifier, f"{STUDY}1"))
            assert [status.Status for status, _ in answers] == [expected, 0]


def test_a_date_before_the_year_1000_has_eight_digits(
    wh: warehouse.Warehouse, listening: Callable[..., Listener], tmp_path: Path
) -> None:
    """Software on .NET writes 00010101 for no date; DA has eight digits (PS3.5 6.2)."""
    wh.ingest(write(tmp_path / "1", uid="1.1", StudyDate="00010101"), workers=1)
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", "StudyDate": "00010101"}
    assert values(find(listening(), **keys), "StudyDate") == ["00010101"]


@pytest.mark.parametrize(
    "keys",
    [
        {"QueryRetrieveLevel": "PATIENT", "PatientID": "P1"}, {"PatientID": "P1"},
        {"QueryRetrieveLevel": "STUDY", "StudyDate": "yesterday"},
    ],
)  # fmt: skip
def test_a_query_without_meaning_is_refused(asked: Listener, keys: dict[str, str]) -> None:
    assert [status for status, _ in find(asked, **keys)] == [NO_SUCH_QUERY]


@pytest.mark.acceptance("D71")
def test_findscu_and_getscu_of_dcmtk(asked: Listener, tmp_path: Path) -> None:
    address = ["-aec", "WAREHOUSE", "127.0.0.1", str(asked.port)]
    done = subprocess.run(
        [needed("findscu"), "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=P2", "-k", "StudyInstanceUID", *address],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr.count("[1.2.") == 2
    got = subprocess.run(
        [needed("getscu"), "-S", "-k", "QueryRetrieveLevel=SERIES", "-k", "StudyInstanceUID=1.2.0",
         "-k", "SeriesInstanceUID=1.2.0.1", "-od", str(tmp_path), *address],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert sorted(dcmread(path).SOPInstanceUID for path in tmp_path.iterdir()) == [
        "1.2.0.1.0",
        "1.2.0.1.1",
    ], got.stderr


COMBINED = [*itertools.product(
    ["", "doe^*", "*^J?hn"], ["", "-20260104", "20260102-20260105"], ["", "MR"]
)]  # fmt: skip
"""Of PatientName, StudyDate and Modality."""


@pytest.mark.acceptance("L6")
@pytest.mark.parametrize(
    "combined",
    [
        [("doe^*", "20260102-20260105", "MR"), ("*^J?hn", "-20260104", "")],
        pytest.param(COMBINED, marks=pytest.mark.long("test_answers_equal_a_loop")),
    ],
    ids=len,
)
def test_answers_equal_a_loop(asked: Listener, combined: list[tuple[str, str, str]]) -> None:
    """Combinations of some keys, over one association."""
    known = list(instances())
    with associated(asked.port, (f"{STUDY}1", IMPLICIT)) as association:
        for name, day, modality in combined:
            identifier = dataset(
                QueryRetrieveLevel="SERIES", PatientName=name, StudyDate=day, Modality=modality, SeriesInstanceUID=""
            )  # fmt: skip
            answers = association.send_c_find(identifier, f"{STUDY}1")
            found = [each.SeriesInstanceUID for status, each in answers if status.Status == 0xFF00]
            expected = {
                each.SeriesInstanceUID for each in known
                if (not name or str(each.PatientName).lower() in {"": [], "doe^*": ["doe^jane", "doe^john"], "*^J?hn": ["doe^john"]}[name])
                and (not day or day.partition("-")[0] <= each.StudyDate <= (day.partition("-")[2] or ("9" if day.endswith("-") else day)).rjust(1))
                and modality in {"", each.Modality}
            }  # fmt: skip
            assert found == sorted(expected), (name, day, modality)


@pytest.mark.acceptance("L6")
@pytest.mark.parametrize(
    ("count", "least"),
    [
        (2, 2),
        pytest.param(8, 3, marks=pytest.mark.long("test_answers_equal_those_of_qido")),
        pytest.param(200, 3, marks=pytest.mark.slow),
    ],
)
def test_answers_equal_those_of_qido(asked: Listener, count: int, least: int) -> None:
    """Generated questions at each level, with the rows that C-FIND and QIDO-RS answer from.

    They have ``least`` numbers of rows or more, so that some find a part.
    """
    wh = asked._wh
    version, chosen = Version(wh.catalog, 60.0), random.Random(6)
    keys = {
        "PatientName": ["DOE^JANE", "doe*", "*^J?hn", "Müller*", "*ë", "x"], "PatientID": ["P1", "P*", "P?", "Q"],
        "StudyDate": ["20260103", "-20260104", "20260102-20260105", "20260107-"], "StudyTime": ["08", "0830-0930", "1030-"],
        "AccessionNumber": ["ACC01", "*1", "ACC?0"], "ModalitiesInStudy": ["CT", "MR", "US"],
        "StudyInstanceUID": ["1.1.1", "1.1.1\\1.2.0"], "PatientSex": ["F", "M"],
    }  # fmt: skip
    of_series = {
        "Modality": ["MR", "CT\\US"],
        "SeriesNumber": ["0", "1"],
        "SeriesInstanceUID": ["1.0.0.1"],
    }
    for level, known in (("STUDY", keys), ("SERIES", keys | of_series)):
        counts = set()
        for _ in range(count):
            names = [
                n
                for n in chosen.sample(sorted(known), chosen.randint(0, 3))
                if level == "STUDY" or n != "ModalitiesInStudy"
            ]
            query = {name: chosen.choice(known[name]) for name in names}
            uid = finding.UNIQUE[level]
            by_find = sorted(row[uid] for row in finding.rows(wh, level, query, [uid]))
            table = {"STUDY": "studies", "SERIES": "series"}[level]
            by_qido = sorted(
                key[-1] for key in search(version, parse(query.items(), table, {}), "").keys
            )
            assert by_find == by_qido, query
            counts.add(len(by_find))
        assert len(counts) >= least


def test_a_study_has_the_name_that_its_headers_state(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    """A patient who has married: each study is found, and answered, by its own headers."""
    for study, name, born in (("1.1", "Doe^Jane", "19700101"), ("1.2", "Roe^Jane", "19700102")):
        made = image(
            f"{study}.1", PatientName=name, PatientBirthDate=born, StudyInstanceUID=study,
            SeriesInstanceUID=f"{study}.0",
        )  # fmt: skip
        write(tmp_path / "in" / study, made)
    wh.ingest(tmp_path / "in", workers=1)
    version = Version(wh.catalog, 60.0)
    columns = ("StudyInstanceUID", "PatientName", "PatientBirthDate")
    day = dt.date(1970, 1, 2)
    for level, table in (("STUDY", "studies"), ("SERIES", "series"), ("IMAGE", "instances")):
        for keys in ({"PatientName": "Roe*"}, {"PatientBirthDate": "19700102"}):
            found = [*finding.rows(wh, level, keys, columns)]
            assert [tuple(row[name] for name in columns) for row in found] == [
                ("1.2", "Roe^Jane", day)
            ]
            by_qido = search(version, parse(keys.items(), table, {}), "").keys
            assert [key[0] for key in by_qido] == ["1.2"]


def test_a_series_in_two_studies_is_found_in_both(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    """As QIDO-RS has it, with the instances of each: a study without its series cannot be shown."""
    for number, study in enumerate(("1.1", "1.2", "1.2")):
        made = image(f"1.3.{number}", StudyInstanceUID=study, SeriesInstanceUID="1.9")
        write(tmp_path / "in" / str(number), made)
    wh.ingest(tmp_path / "in", workers=1)
    columns = ("StudyInstanceUID", "SeriesInstanceUID", "NumberOfSeriesRelatedInstances")
    for study, count in (("1.1", 1), ("1.2", 2)):
        keys = {"StudyInstanceUID": study}
        (row,) = finding.rows(wh, "SERIES", keys, columns)
        assert tuple(row[name] for name in columns) == (study, "1.9", count)
        by_qido = search(Version(wh.catalog, 60.0), parse(keys.items(), "series", {}), "").keys
        assert by_qido == [(study, "1.9")]


def test_a_study_of_two_patients_is_found_under_each_as_theirs(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    """As in Orthanc, whose studies are told apart by PatientID and StudyInstanceUID.

    An instance without PatientID is of the first patient of the study, at every level.
    """
    for number, patient in enumerate(("A", "A", "B", None)):
        made = image(
            f"1.4.{number}", StudyInstanceUID="1.4", SeriesInstanceUID=f"1.4.{number % 3}",
            PatientID=patient, PatientName=f"{patient}^X", StudyDate=f"2026010{number + 1}",
            SeriesDescription=f"of {patient}", Modality="CT" if patient == "B" else "MR",
            AcquisitionNumber=number, ImageComments=f"of {patient}",
        )  # fmt: skip
        write(tmp_path / "in" / str(number), made)
    wh.ingest(tmp_path / "in", workers=1)
    version = Version(wh.catalog, 60.0)

    def found(level: str, keys: dict[str, str], *columns: str) -> list[tuple[object, ...]]:
        told = [
            tuple(row[name] for name in ("PatientID", *columns))
            for row in finding.rows(wh, level, keys)
        ]
        table = {"STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}[level]
        results = search(version, parse(keys.items(), table, {}), "").rows
        by_qido = [
            tuple(json.loads(row)[f"{tag_for_keyword(name):08X}"]["Value"][0] for name in columns)
            for row in results
        ]
        assert sorted(map(str, by_qido)) == sorted(str(row[1:]) for row in told)
        return sorted(told)

    counts = ("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances")
    assert found("STUDY", {"StudyInstanceUID": "1.4"}, *counts) == [("A", 2, 3), ("B", 1, 1)]
    assert found("STUDY", {"PatientID": "A"}, *counts) == [("A", 2, 3)]
    assert found("STUDY", {"PatientID": "B", "StudyDate": "20260103"}, *counts) == [("B", 1, 1)]
    assert found("STUDY", {"PatientID": "A", "StudyDate": "20260103"}) == []
    assert found("STUDY", {"PatientID": "A", "ModalitiesInStudy": "CT"}) == []
    assert found("STUDY", {"PatientID": "A*"}, *counts) == [("A", 2, 3)]
    of_series = ("SeriesInstanceUID", "SeriesDescription", "NumberOfSeriesRelatedInstances")
    assert found("SERIES", {"PatientID": "B"}, *of_series) == [("B", "1.4.2", "of B", 1)]
    assert [row[1:] for row in found("SERIES", {"PatientID": "A"}, *of_series)] == [
        ("1.4.0", "of A", 2), ("1.4.1", "of A", 1),
    ]  # fmt: skip
    uid = "SOPInstanceUID"
    assert [row[1] for row in found("IMAGE", {"PatientID": "A"}, uid)] == [
        "1.4.0",
        "1.4.1",
        "1.4.3",
    ]
    # QIDO-RS looks for what is of series and instances among those of the patient.
    for keys in ({"Modality": "MR"}, {"AcquisitionNumber": "0"}, {"ImageComments": "of A"}):
        for patient, count in (("A", 1), ("B", 0)):
            asked_of = parse(({"PatientID": patient} | keys).items(), "studies", {})
            assert len(search(version, asked_of, "").rows) == count, (keys, patient)


def test_a_query_of_one_study_reads_no_others(
    asked: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB tests the key where it reads `instances`, and not after it has grouped all of them."""
    session, statements = asked._wh.catalog.session(), []
    execute = session.execute

    class Noted:
        def execute(self, sql: str, values: object = None) -> object:
            statements.append((sql, values))
            return execute(sql) if values is None else execute(sql, values)

    monkeypatch.setattr(type(asked._wh.catalog), "session", lambda _: Noted())
    for level in ("STUDY", "SERIES"):
        assert [*finding.rows(asked._wh, level, {"StudyInstanceUID": "1.2.0"})]
        sql, values = statements[-1]
        plan = execute(f"explain (format json) {sql}", values).fetchall()[0][1]
        scans = [part for part in plan.split('"name"') if "READ_PARQUET" in part]
        read = [part for part in scans if "study_key" in part]
        assert len(read) >= 2
        assert all("study_key='1.2.0'" in part.replace(" ", "") for part in read), level


# -- retrieve -------------------------------------------------------------------------------------


def moved(listener: Listener, destination: str, **keys: object) -> tuple[int, Dataset]:
    """Return the last status of a C-MOVE."""
    with associated(listener.port, (f"{STUDY}2", IMPLICIT)) as association:
        *_, (status, _) = association.send_c_move(dataset(**keys), destination, f"{STUDY}2")
        return status.Status, status


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> tuple[warehouse.Warehouse, list[Path]]:
    """A warehouse of files in several transfer syntaxes, one of them in an archive."""
    import zipfile

    folder = tmp_path_factory.mktemp("compressed")
    names = [
        "JPEG2000.dcm",
        "JPEG-lossy.dcm",
        "MR_small_RLE.dcm",
        "ExplVR_BigEnd.dcm",
        "image_dfl.dcm",
        "CT_small.dcm",
    ]
    files = [PACKAGED["pydicom"] / "test_files" / name for name in names]
    (folder / "in").mkdir()
    with zipfile.ZipFile(folder / "in" / "a.zip", "w") as archive:
        archive.write(files[-1], "ct.dcm")
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(*files[:-1], folder / "in", workers=1)
    return wh, files


@pytest.mark.acceptance("L6")
def test_c_move_sends_the_bytes_of_the_files(
    compressed: tuple[warehouse.Warehouse, list[Path]], tmp_path: Path
) -> None:
    wh, files = compressed
    there = warehouse.open(tmp_path / "there", create=True)
    with Listener(there, ListenerSettings(port=0, aet="THERE", ingest=False)) as other:
        peer = Peer("THERE", "127.0.0.1", other.port)
        settings = ListenerSettings(port=0, ingest=False, destinations={"THERE": peer})
        with Listener(wh, settings, tmp_path / "spool") as listener:
            uids = [uid for (uid,) in wh.sql("select StudyInstanceUID from studies").fetchall()]
            done, status = moved(
                listener, "THERE", QueryRetrieveLevel="STUDY", StudyInstanceUID=uids
            )
            assert (done, status.NumberOfCompletedSuboperations) == (0, len(files))
            kept = received(other.spool)
            assert sorted(map(data_set, kept)) == sorted(map(data_set, files))
            assert {
                dcmread(path, stop_before_pixels=True).file_meta.SourceApplicationEntityTitle
                for path in kept
            } == {"WAREHOUSE"}
            assert (
                moved(listener, "NOBODY", QueryRetrieveLevel="STUDY", StudyInstanceUID=uids)[0]
                == NO_SUCH_DESTINATION
            )
            assert (
                moved(listener, "THERE", QueryRetrieveLevel="STUDY", StudyInstanceUID="1.9.9")[0]
                == 0
            )
            assert (
                moved(listener, "THERE", QueryRetrieveLevel="STUDY", StudyInstanceUID="")[0]
                == 0xC513
            )


def test_a_file_that_has_changed_is_not_sent(
    wh: warehouse.Warehouse, listening: Callable[..., Listener], tmp_path: Path
) -> None:
    files = [write(tmp_path / "in" / f"{number}", uid=f"1.{number}") for number in range(2)]
    wh.ingest(tmp_path / "in", workers=1)
    files[0].write_bytes(files[0].read_bytes() + b"\0\0")
    other = listening(aet="THERE")
    listener = listening(destinations={"THERE": Peer("THERE", "127.0.0.1", other.port)})
    done, status = moved(listener, "THERE", QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.1")
    assert done == WARNING
    assert (status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations) == (1, 1)
    assert len(received(other.spool)) == 1


def test_an_instance_without_a_transfer_syntax_counts_as_failed(
    wh: warehouse.Warehouse, listening: Callable[..., Listener]
) -> None:
    wh.ingest(PACKAGED["pydicom"] / "test_files" / "rtstruct.dcm", workers=1)
    ((uid, syntax),) = wh.sql(
        "select StudyInstanceUID, TransferSyntaxUID from instances"
    ).fetchall()
    assert syntax is None
    other = listening(aet="THERE")
    listener = listening(destinations={"THERE": Peer("THERE", "127.0.0.1", other.port)})
    done, status = moved(listener, "THERE", QueryRetrieveLevel="STUDY", StudyInstanceUID=uid)
    assert (done, status.NumberOfFailedSuboperations) == (FAILED, 1)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # pynetdicom leaves it open
def test_an_instance_without_a_sop_class_counts_as_failed(
    wh: warehouse.Warehouse, listening: Callable[..., Listener], tmp_path: Path
) -> None:
    """It was 0xC515, which blames the destination."""
    (tmp_path / "in").mkdir()
    uids = [element(tag, "UI", b"1.22") for tag in (0x0020000D, 0x0020000E)]
    (tmp_path / "in" / "1").write_bytes(part10(*uids, uid="1.5"))
    wh.ingest(tmp_path / "in", workers=1)
    assert wh.sql("select SOPClassUID from instances").fetchall() == [(None,)]
    other = listening(aet="THERE")
    listener = listening(destinations={"THERE": Peer("THERE", "127.0.0.1", other.port)})
    done, status = moved(listener, "THERE", QueryRetrieveLevel="STUDY", StudyInstanceUID="1.22")
    assert (done, status.NumberOfFailedSuboperations) == (FAILED, 1)


def test_no_file_is_copied_for_a_destination_that_has_gone(
    wh: warehouse.Warehouse,
    listening: Callable[..., Listener],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(20):
        write(tmp_path / "in" / f"{number}", uid=f"1.{number}")
    wh.ingest(tmp_path / "in", workers=1)
    opened = list[str]()
    known = sending.known_source
    monkeypatch.setattr(
        sending, "known_source", lambda path, *rest: (opened.append(path), known(path, *rest))[1]
    )

    def store(event: evt.Event) -> int:
        event.assoc.abort()
        return 0

    entity = AE("THERE")
    entity.add_supported_context(image("1").SOPClassUID, EXPLICIT)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    try:
        peer = Peer("THERE", "127.0.0.1", server.server_address[1])
        listener = listening(destinations={"THERE": peer})
        keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.1"}
        done, status = moved(listener, "THERE", **keys)
    finally:
        server.shutdown()
    assert (done, status.NumberOfFailedSuboperations) == (FAILED, 20)
    # The abort may arrive after the next one was opened.
    assert len(opened) < 10


def test_c_get_sends_over_the_same_association(
    compressed: tuple[warehouse.Warehouse, list[Path]], tmp_path: Path
) -> None:
    wh, files = compressed
    got: dict[str, bytes] = {}

    def keep(event: evt.Event) -> int:
        got[event.request.AffectedSOPInstanceUID] = event.encoded_dataset(include_meta=False)
        return 0

    metas = {path: dcmread(path, stop_before_pixels=True).file_meta for path in files}
    pairs = sorted({(m.MediaStorageSOPClassUID, m.TransferSyntaxUID) for m in metas.values()})
    with Listener(wh, ListenerSettings(port=0, ingest=False), tmp_path / "spool") as listener:
        uids = [uid for (uid,) in wh.sql("select StudyInstanceUID from studies").fetchall()]
        roles = [build_role(sop_class, scp_role=True) for sop_class in {pair[0] for pair in pairs}]
        with associated(
            listener.port, (f"{STUDY}3", IMPLICIT), *pairs, ext_neg=roles, evt_handlers=[(evt.EVT_C_STORE, keep)]
        ) as association:  # fmt: skip
            *_, (status, _) = association.send_c_get(
                dataset(QueryRetrieveLevel="STUDY", StudyInstanceUID=uids), f"{STUDY}3"
            )
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0, len(files))
    assert sorted(got.values()) == sorted(map(data_set, files))


def test_more_instances_than_a_response_counts_are_refused(
    asked: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers of sub-operations are US (PS3.7 E.1), and no more rows are held."""
    monkeypatch.setattr(retrieving, "MOST_INSTANCES", 2)
    held = list[int]()
    found = retrieving.requested_instances

    def as_if_many(event: evt.Event, wh: warehouse.Warehouse) -> list[Stored]:
        held.append(len(instances := found(event, wh)))
        return instances * 30_000

    monkeypatch.setattr(retrieving, "requested_instances", as_if_many)
    with associated(asked.port, (f"{STUDY}3", IMPLICIT)) as association:
        keys = dataset(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.0.0")
        ((answer, _),) = association.send_c_get(keys, f"{STUDY}3")
        assert answer.Status == 0xC416
    assert held == [3]


def test_without_queries_there_is_no_context(
    wh: warehouse.Warehouse, listening: Callable[..., Listener]
) -> None:
    with associated(listening(queries=False).port, (f"{STUDY}1", IMPLICIT)) as association:
        assert not association.is_established


def test_what_others_have_committed_is_found(
    wh: warehouse.Warehouse, listening: Callable[..., Listener], tmp_path: Path
) -> None:
    listener = listening()
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", "PatientID": "P*"}
    assert values(find(listener, **keys), "PatientID") == []
    for number in range(2):
        warehouse.open(wh.root, create=True).ingest(
            write(tmp_path / f"{number}", uid=f"1.{number}", StudyInstanceUID=f"1.{number}"),
            workers=1,
        )
        assert len(values(find(listener, **keys), "PatientID")) == number + 1
