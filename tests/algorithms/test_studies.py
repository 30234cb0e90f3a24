"""Jobs of several series of a study: one by each condition, or no job."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import warehouse
from tests.algorithms.conftest import CT, CT2, MR, function, put_volume, voxels
from tests.dicom_files import image, write
from warehouse.algorithms import matching
from warehouse.algorithms.registry import find_algorithm
from warehouse.algorithms.studies import cases_of_studies
from warehouse.catalog.connect import Catalog
from warehouse.cohorts.guard import locked_catalog
from warehouse.errors import AlgorithmError, JobRefused
from warehouse.store import delta

PET, PET2, FLAIR = "1.2.50", "1.2.60", "1.2.70"
STUDY, STUDY2, STUDY3 = "1.1.1", "1.1.2", "1.1.3"
BOTH = {"ct": "Modality = 'CT'", "other": "Modality = 'PT'"}
INTERFACE = "ct, other -> mask, voxel-count"


@pytest.fixture(scope="session")
def pairs(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Study 1 has a CT and a PET, study 2 a CT and two PETs, study 3 two MRs. Take ``wh``."""
    folder = tmp_path_factory.mktemp("studies")
    shutil.copytree(template, folder / "w")
    for modality, series, study in (
        ("PT", PET, STUDY), ("PT", PET2, STUDY2), ("PT", "1.2.80", STUDY2), ("MR", FLAIR, STUDY3),
    ):  # fmt: skip
        put_volume(folder / "in", modality, series, study, SeriesDescription="tra flair")
    wh = warehouse.open(folder / "w")
    assert wh.ingest(folder / "in", workers=1).created == 12
    wh.components.create_socket(title="Other", kind="IMG", relative_path="images/other")
    wh.close()
    return folder / "w"


@pytest.fixture(scope="module")
def locked() -> Callable[..., Catalog]:
    """Open what conditions are asked of; it stays open, as to open it takes longer than to ask."""
    return functools.lru_cache(maxsize=2)(locked_catalog)


@pytest.fixture(autouse=True)
def opened_once(locked: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(root: Path, version: int | None = None) -> Catalog:
        return locked(root, delta.snapshot(root).version if version is None else version)

    monkeypatch.setattr(matching, "locked_catalog", opened)


@pytest.fixture(scope="module")
def untouched(
    pairs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[warehouse.Warehouse]:
    """A copy for all conditions that are refused: nothing is written to it."""
    copy = shutil.copytree(pairs, tmp_path_factory.mktemp("untouched") / "w")
    with warehouse.open(copy) as opened:
        yield opened


@pytest.fixture
def wh(pairs: Path, tmp_path: Path) -> Iterator[warehouse.Warehouse]:
    shutil.copytree(pairs, tmp_path / "w")
    with warehouse.open(tmp_path / "w") as opened:
        yield opened


@pytest.mark.long("test_the_conditions_choose_one_series_each")
def test_a_pair_of_series_of_a_study_is_a_case(wh: warehouse.Warehouse) -> None:
    made = wh.algorithms.create("both", INTERFACE, function=function("pair"), matching=BOTH)
    report = wh.run_algorithm("both", workers=0)
    assert (report.cases, report.succeeded, report.failed) == (1, 1, 0)
    assert report.unmatched == {
        "1.1.2": "2 series of the study match the condition of 'other'; narrow it, or the cohort",
        "1.1.3": "no series of the study matches the condition of 'ct'",
        "1.1.4": "no series of the study matches the condition of 'ct'",
    }
    # About the series of the first condition, so that it joins series.
    ((series, count, mask, inputs),) = wh.sql("""
        select series_key, voxel_count, mask, (select list(job_inputs.series_key order by slug) from job_inputs
            where job_inputs.job_id = outputs.job_id)
        from outputs('both') as outputs
    """).fetchall()
    assert (series, inputs) == (CT, [CT, PET])
    # The source: numpy on both; the CT has a rescale intercept of -1000.
    assert count == int((voxels(CT) - 1000.0 < voxels(PET)).sum())
    assert mask is not None
    assert wh.sql("select detailed_error_message from jobs").fetchall() == [(None,)]
    assert wh.sql("select matching from algorithms where algorithm = 'both'").fetchall() == [
        (["ct: Modality = 'CT'", "other: Modality = 'PT'"],)
    ]
    assert wh.algorithms.create("both", INTERFACE, function=function("pair"), matching=BOTH) == made
    assert wh.run_algorithm("both", workers=0).done_before == 1
    # The other order is another version: its outputs are about the PET.
    turned = dict(reversed(BOTH.items()))
    again = wh.algorithms.create("both", INTERFACE, function=function("pair"), matching=turned)
    assert again.version == 2
    assert wh.algorithms.queue("both", [CT, PET]).new == 1
    assert wh.algorithms.run_waiting("both", workers=0).succeeded == 1
    assert wh.sql("select series_key from outputs('both') order by all").fetchall() == [
        (CT,),
        (PET,),
    ]


def asked(
    wh: warehouse.Warehouse,
    name: str,
    series: list[str],
    conditions: dict[str, str],
    taken: str = INTERFACE,
) -> tuple:
    """Which series go into a job, and why there are others; nothing is executed."""
    wh.algorithms.create(name, taken, function=function("pair"), matching=conditions)
    algorithm = find_algorithm(wh.root, name)
    found = cases_of_studies(wh.catalog, wh.root, algorithm, series)
    return [
        {i.slug: i.series_key or i.value_id for i in c.inputs} for c in found.cases
    ], found.unmatched


def test_the_conditions_choose_one_series_each(wh: warehouse.Warehouse) -> None:
    """Of all studies, with another input for one of them, and a series that is not there."""
    age = wh.add_value("age", 41, patient="P1").value_id
    narrow = BOTH | {"other": "Modality = 'PT' and SeriesInstanceUID < '1.2.7'"}
    series = [CT, PET, CT2, PET2, "1.2.80", MR, FLAIR, "9.9"]
    assert asked(wh, "aged", series, narrow, "ct, other, age -> mask, voxel-count") == (
        [{"ct": CT, "other": PET, "age": age}],
        {
            STUDY2: "values for the other inputs of an interface are missing",
            STUDY3: "no series of the study matches the condition of 'ct'",
            "9.9": "the series is not in the warehouse",
        },
    )


@pytest.mark.long("test_the_conditions_choose_one_series_each")
def test_a_cohort_or_a_condition_makes_it_one_series(wh: warehouse.Warehouse) -> None:
    assert asked(wh, "both", [CT2, PET2], BOTH) == ([{"ct": CT2, "other": PET2}], {})
    narrow = BOTH | {"other": "Modality = 'PT' and SeriesInstanceUID < '1.2.7'"}
    cases, _ = asked(wh, "narrow", [CT, CT2, PET, PET2, "1.2.80"], narrow)
    assert cases == [{"ct": CT, "other": PET}, {"ct": CT2, "other": PET2}]
    mr = {"ct": "SeriesDescription is null", "other": "regexp_matches(SeriesDescription, 'flair')"}
    assert asked(wh, "mr", [MR, FLAIR], mr) == ([{"ct": MR, "other": FLAIR}], {})
    assert asked(wh, "same", [CT, PET], dict.fromkeys(BOTH, "Modality = 'CT'")) == (
        [], {STUDY: "one series of the study matches several sockets; narrow their conditions"},
    )  # fmt: skip


@pytest.mark.long("test_the_conditions_choose_one_series_each")
def test_other_inputs_are_said_about_the_first(wh: warehouse.Warehouse) -> None:
    # What else an interface takes is said about the series of the first condition.
    taken = "ct, other, age -> mask, voxel-count"
    said = "values for the other inputs of an interface are missing"
    assert asked(wh, "aged", [CT, PET], BOTH, taken) == ([], {STUDY: said})
    age = wh.add_value("age", 41, patient="P1").value_id
    assert asked(wh, "aged", [CT, PET, "9.9"], BOTH, taken) == (
        [{"ct": CT, "other": PET, "age": age}], {"9.9": "the series is not in the warehouse"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("interface", "conditions", "said"),
    [
        (INTERFACE, {"ct": "Modality = "}, "not valid SQL on the view series|not SQL"),
        (INTERFACE, {"ct": "Modality = 'CT'; drop table x"}, "is refused"),
        (INTERFACE, {"ct": "nothing = 1"}, "is not valid SQL on the view series"),
        (INTERFACE, {"ct": "Modality = $x"}, "cannot have parameters"),
        (INTERFACE, {"ct": "SeriesDate < today()"}, "is refused"),
        (INTERFACE, {"ct": "exists (from read_csv('/etc/passwd'))"}, "is refused"),
        (INTERFACE, {"age": "Modality = 'CT'"}, "not an image socket"),
        ("ct -> voxel-count", BOTH, "does not take other"),
    ],
)  # fmt: skip
def test_a_condition_that_cannot_be_one_is_refused(
    untouched: warehouse.Warehouse, interface: str, conditions: dict[str, str], said: str
) -> None:
    with pytest.raises(AlgorithmError, match=said):
        untouched.algorithms.create("x", interface, function=function("pair"), matching=conditions)
    assert untouched.sql("select count(*) from algorithm_versions").fetchall() == [(0,)]


@pytest.mark.long("test_a_person_asks_for_a_pair")
def test_a_submitted_job_is_that_of_a_run_until_the_series_has_other_instances(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    wh.algorithms.create("both", INTERFACE, function=function("pair"), matching=BOTH)
    wanted = {"other": PET, "ct": CT}
    job = wh.algorithms.submit("both", {}, series=wanted)
    report = wh.algorithms.run("both", [CT, PET], workers=0)
    assert (report.cases, report.succeeded) == (1, 1)
    assert wh.sql("select job_id, label from jobs").fetchall() == [(job.job_id, "Succeeded")]
    with pytest.raises(JobRefused, match="same algorithm and inputs"):
        wh.algorithms.submit("both", {}, series=wanted)
    later = image(
        f"{PET}.9", Modality="PT", SeriesInstanceUID=PET, PatientID="P1", StudyInstanceUID=STUDY
    )
    assert wh.ingest(write(tmp_path / "later", later), workers=1).created == 1
    assert wh.algorithms.submit("both", {}, series=wanted).job_id != job.job_id


def test_a_series_that_cannot_be_an_input_cancels_the_job(wh: warehouse.Warehouse) -> None:
    wh.algorithms.create("both", INTERFACE, function=function("pair"), matching=BOTH)
    wh.algorithms.create("aged", "age -> voxel-count", function=function("by_age"))
    for name, series, details in (
        ("both", {"other": "1.2.404", "ct": CT}, {"Other": "the series is not in the warehouse"}),
        ("aged", {"age": CT}, {"Age": "the socket takes a value, not a series"}),
    ):
        job = wh.algorithms.submit(name, {}, series=series)
        query = "select label, detailed_error_message from jobs where job_id = $1"
        ((label, stated),) = wh.sql(query, params=[job.job_id]).fetchall()
        assert (label, json.loads(stated)) == ("Cancelled", details)


def test_a_person_asks_for_a_pair(wh: warehouse.Warehouse) -> None:
    wh.algorithms.create("both", INTERFACE, function=function("pair"), matching=BOTH)
    job = wh.algorithms.submit("both", {}, series={"other": PET, "ct": CT2})
    assert job.series_key == CT2
    with pytest.raises(JobRefused, match="same algorithm and inputs"):
        wh.algorithms.submit("both", {}, series={"ct": CT2, "other": PET})
    assert wh.algorithms.run_waiting("both", workers=0).succeeded == 1
