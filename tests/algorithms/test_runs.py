"""An algorithm over a cohort: outputs are rows, and what is done is not done again."""

from __future__ import annotations

import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydicom.dataset import Dataset

import warehouse
from tests.algorithms.conftest import CT, CT2, DX, MR, function, put_volume, voxels
from tests.algorithms.running import ends, modes
from tests.dicom_files import image, write
from warehouse.algorithms import jobs, task_pools
from warehouse.algorithms.runs import alone
from warehouse.components.sets import put_items
from warehouse.components.values import Given
from warehouse.errors import AlgorithmError, JobRefused, RunLocked, UnknownAlgorithm


def rows(wh: warehouse.Warehouse, name: str) -> list[tuple]:
    return sorted(wh.sql(f"select * exclude (job_id) from outputs('{name}')").fetchall())


def test_a_function_over_two_series(wh: warehouse.Warehouse) -> None:
    wh.algorithms.create("measure", "ct -> mean-value, voxel-count", function=function("measure"))
    report = wh.run_algorithm("measure", [CT, DX], workers=0)
    assert (report.cases, report.succeeded, report.failed) == (2, 1, 1)
    found = wh.sql("""
        select series_key, mean_value, voxel_count, why_not from outputs('measure') order by series_key
    """).fetchall()
    # The source: numpy on the stored values, and the rescale intercept of the CT.
    assert found[0] == (CT, float(voxels(CT).mean()) - 1000, 60, None)
    assert found[1][:3] == (DX, None, None)
    assert "is not a volume" in found[1][3]
    assert wh.run_algorithm("measure", [CT, DX], workers=0).done_before == 2


@pytest.mark.long("test_a_function_over_two_series")
@pytest.mark.acceptance("G53")
@pytest.mark.acceptance("G52")
def test_a_function_over_every_series(wh: warehouse.Warehouse) -> None:
    wh.algorithms.create("measure", "ct -> mean-value, voxel-count", function=function("measure"))
    report = wh.run_algorithm("measure", workers=2)
    assert (report.cases, report.succeeded, report.failed) == (4, 3, 1)
    # The source: numpy on the stored values, and the rescale intercept of -1000 of the CTs.
    means = {key: float(voxels(key).mean()) - 1000 * (key != MR) for key in (CT, CT2, MR)}
    found = wh.sql("""
        select series_key, Modality, mean_value, voxel_count, why_not
        from outputs('measure') join series using (series_key) order by series_key
    """).fetchall()
    assert found[:3] == [
        (CT, "CT", means[CT], 60, None), (CT2, "CT", means[CT2], 60, None), (MR, "MR", means[MR], 60, None),
    ]  # fmt: skip
    assert found[3][:4] == (DX, "DX", None, None)
    assert "is not a volume" in found[3][4]
    frame = wh.outputs("measure").collect()
    assert sorted(frame["mean_value"].drop_nulls().to_list()) == sorted(means.values())
    # Counts by SQL equal brute force: one job per series that has an image.
    assert wh.sql("select count(*), count(distinct series_key) from jobs").fetchall() == [(4, 4)]
    events = wh.sql("select count(*) from job_events").fetchall()
    again = wh.run_algorithm("measure", workers=2)
    assert (again.done_before, again.succeeded, again.failed) == (4, 0, 0)
    assert wh.sql("select count(*) from job_events").fetchall() == events
    tried = wh.run_algorithm("measure", again=True, workers=0)
    assert (tried.done_before, tried.failed) == (3, 1)
    assert wh.sql("select max(attempt) from jobs").fetchall() == [(1,)]
    with pytest.raises(UnknownAlgorithm):
        wh.outputs("nothing")
    with pytest.raises(
        warehouse.errors.QueryFailed, match=r"Error: there is no algorithm nothing;"
    ):
        wh.sql("from outputs('nothing')")


def test_an_array_is_a_segmentation_where_its_volume_lies(wh: warehouse.Warehouse) -> None:
    wh.algorithms.create("segment", "ct -> mask", function=function("segment"))
    assert wh.run_algorithm("segment", [CT], workers=0).succeeded == 1
    ((value_id, shape, labels, series),) = wh.sql("""
        select value_id, image_shape, image_labels, values_about.series_key
        from socket_values join values_about using (value_id)
    """).fetchall()
    assert (shape, labels, series) == ([3, 4, 5], [0, 1], CT)
    import SimpleITK

    # SimpleITK is the oracle of the file: voxels, and where they lie.
    file = wh.components.value_file(value_id)
    shutil.copyfile(file, wh.root.parent / "mask.mha")
    read = SimpleITK.ReadImage(wh.root.parent / "mask.mha")
    expected = voxels(CT) > voxels(CT).mean()
    assert np.array_equal(SimpleITK.GetArrayFromImage(read), expected)
    assert (read.GetSpacing(), read.GetOrigin()) == ((0.25, 0.5, 2.0), (1.0, 2.0, 3.0))
    assert read.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert wh.sql("select detailed_error_message from jobs").fetchall() == [(None,)]


def test_cases_are_made_of_values_that_may_be_equal(wh: warehouse.Warehouse) -> None:
    for patient in ("P1", "P2"):
        wh.add_value("age", 50, patient=patient)
    wh.algorithms.create("grow", "age -> voxel-count", function=function("by_age"))
    report = wh.run_algorithm("grow", [CT, CT2, MR], workers=0)
    assert (report.succeeded, list(report.unmatched)) == (2, [MR])
    query = "select series_key, voxel_count from outputs('grow') order by all"
    assert wh.sql(query).fetchall() == [(CT, 51), (CT2, 51)]


@pytest.mark.long("test_cases_are_made_of_values_that_may_be_equal")
def test_a_value_about_the_patient_is_an_input(wh: warehouse.Warehouse) -> None:
    wh.add_value("age", 41, patient="P1")
    wh.add_value("age", 7, patient="P2")
    wh.add_value("age", 8, series=CT2)
    wh.algorithms.create("grow", "age -> voxel-count", function=function("by_age"))
    report = wh.run_algorithm("grow", workers=0)
    assert (report.succeeded, sorted(report.unmatched)) == (2, [MR, DX])
    assert wh.sql("select series_key, voxel_count from outputs('grow') order by all").fetchall() == [
        (CT, 42), (CT2, 9),
    ]  # fmt: skip
    # Another value is another job; the one of before stays.
    wh.add_value("age", 50, patient="P1")
    assert wh.run_algorithm("grow", workers=0).succeeded == 1
    assert wh.sql(
        f"select voxel_count from outputs('grow') where series_key = '{CT}'"
    ).fetchall() == [(51,)]


@pytest.mark.acceptance("G53")
def test_items_of_a_set_that_match_exactly(wh: warehouse.Warehouse) -> None:
    parts = wh.components
    ids = {n: parts.add_value("age", n).value_id for n in (1, 2)}
    mode = parts.add_value("mode", "x").value_id
    parts.put("study", "one", {"age": ids[1]})
    parts.put("study", "two", {"age": ids[2], "mode": mode})
    wh.algorithms.create("grow", "age -> voxel-count", function=function("by_age"))
    report = wh.algorithms.run("grow", of_set="study", workers=0)
    assert (report.succeeded, list(report.unmatched)) == (1, ["two"])
    assert wh.sql("select item, voxel_count from outputs('grow')").fetchall() == [("study/one", 2)]
    brute = wh.sql("""
        select count(*) from (select item from value_sets group by item having list(slug) = ['age'])
    """).fetchall()
    assert wh.sql("select count(*) from jobs").fetchall() == brute


@pytest.mark.long("test_cases_are_made_of_values_that_may_be_equal")
def test_cases_with_equal_values_have_a_job_each(wh: warehouse.Warehouse) -> None:
    # A value is stored once: both patients are 50, and the second one had no job.
    for patient in ("P1", "P2"):
        wh.add_value("age", 50, patient=patient)
    parts = wh.algorithms
    parts.create("grow", "age -> voxel-count", function=function("by_age"))
    assert parts.run("grow", [CT2], workers=0).succeeded == 1
    for done_before in (1, 2):
        report = parts.run("grow", [CT, CT2], workers=0)
        assert (report.cases, report.done_before) == (2, done_before)
    query = "select series_key, item, voxel_count from outputs('grow') order by item, series_key"
    assert wh.sql(query).fetchall() == [(CT, None, 51), (CT2, None, 51)]
    # The same for items of sets, and for equal sets.
    value_id = wh.components.add_value("age", 50).value_id
    for set_name, item in (("s", "a"), ("s", "b"), ("t", "a")):
        wh.components.put(set_name, item, {"age": value_id})
    assert parts.run("grow", of_set="s", workers=0).succeeded == 2
    assert parts.run("grow", of_set="t", workers=0).succeeded == 1
    assert parts.run("grow", of_set="s", workers=0).done_before == 2
    with pytest.raises(JobRefused, match="same algorithm and inputs"):
        parts.submit("grow", {"age": value_id})
    items = [row[1:] for row in wh.sql(query).fetchall() if row[1]]
    assert items == [("s/a", 51), ("s/b", 51), ("t/a", 51)]


@pytest.mark.long("test_a_series_that_has_another_file_is_another_job")
def test_a_series_whose_files_changed_is_another_job(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    put_volume(tmp_path / "in", "MR", "1.2.50", "1.1.5")
    wh.ingest(tmp_path / "in", workers=1)
    wh.algorithms.create("measure", "ct -> mean-value, voxel-count", function=function("measure"))

    def counts() -> tuple[int, int]:
        report = wh.run_algorithm("measure", ["1.2.50"], workers=0)
        return report.succeeded, report.done_before

    assert counts() == (1, 0)
    # Neither a move of the files nor other files of the same instances change the series.
    (tmp_path / "in").rename(tmp_path / "moved")
    wh.upkeep.relocate(tmp_path / "in", tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", tmp_path / "other", copy_function=shutil.copyfile)
    assert wh.ingest(tmp_path / "other", workers=1).duplicate == 3
    assert counts() == (0, 1)
    # Other voxels in files of the same size; the source of their mean: numpy.
    put_volume(tmp_path / "moved", "MR", "1.2.50", "1.1.5", plus=600)
    wh.ingest(tmp_path / "moved", workers=1)
    assert counts() == (1, 0)
    assert wh.outputs("measure").collect()["mean_value"].to_list() == [
        voxels("1.2.50").mean() + 600
    ]


def test_a_series_that_has_another_file_is_another_job(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    wh.algorithms.create("count", "scan -> voxel-count", function=function("count"))
    scan = wh.components.add_value("scan", dicom_series=MR, series=MR).value_id
    wh.components.put("s", "one", {"scan": scan})
    assert wh.algorithms.run("count", of_set="s", workers=0).succeeded == 1
    write(tmp_path / "new" / "a", another(MR))
    wh.ingest(tmp_path / "new", workers=1)
    report = wh.algorithms.run("count", of_set="s", workers=0)
    assert (report.succeeded, report.done_before) == (1, 0)


def another(series: str) -> Dataset:
    """Another image of a series."""
    return image(
        f"{series}.9", Modality="MR", SeriesInstanceUID=series, PatientID="P3",
        StudyInstanceUID="1.1.3", PixelData=bytes(2),
    )  # fmt: skip


@pytest.mark.long("test_a_series_that_has_another_file_is_another_job")
def test_an_image_set_that_changed_is_another_job(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    parts = wh.algorithms
    parts.create("count", "scan -> voxel-count", function=function("count"))
    parts.create("count-aged", "scan, age -> voxel-count", function=function("count_aged"))
    scan = wh.components.add_value("scan", dicom_series=MR, series=MR).value_id
    wh.components.add_value("age", 3, series=MR)
    wh.components.put("s", "one", {"scan": scan})
    for again in (False, True):
        # In an item of a set, as a value about a series, and in a job of a user.
        for name, given in (("count", {"of_set": "s"}), ("count-aged", {"cohort": [MR]})):
            report = parts.run(name, workers=0, **given)
            assert (report.succeeded, report.done_before) == (1, 0), (name, again)
            assert parts.run(name, workers=0, **given).done_before == 1
        with pytest.raises(JobRefused, match="same algorithm and inputs"):
            parts.submit("count", {"scan": scan})
        write(tmp_path / "new" / "a", another(MR))
        wh.ingest(tmp_path / "new", workers=1)


def test_an_error_of_a_function_is_a_row(wh: warehouse.Warehouse) -> None:
    given = ("raise", "nan", "print")
    modes(wh, "s", *given)
    wh.algorithms.create("bad", "mode -> voxel-count", function=function("misbehave"))
    report = wh.algorithms.run("bad", of_set="s", workers=0)
    assert (report.succeeded, report.failed) == (1, 2)
    end = ends(wh)
    assert end["raise"][1] == "the function raised RuntimeError; see the log of the job"
    assert "it contains NaN or Infinity" in end["nan"][1]
    assert "Doe" not in end["nan"][1]
    assert "RuntimeError" in end["raise"][3]
    assert (end["print"][0], end["print"][4]) == ("Succeeded", True)


@pytest.mark.long("test_an_error_of_a_function_is_a_row")
def test_what_goes_wrong_in_a_function_is_a_row(wh: warehouse.Warehouse) -> None:
    said_of = {
        "raise": "the function raised RuntimeError; see the log of the job",
        "sleep": "Time limit exceeded",
        "die": "the process that executed it ended with exit code 7",
        "memory": "The algorithm was killed because it used more memory than requested",
        "nan": "it contains NaN or Infinity", "text": "it is not of type", "nothing": "was not produced",
        "other": "returned unknown, which is not an output", "print": "",
    }  # fmt: skip
    for mode in said_of:
        value = wh.components.add_value("mode", mode).value_id
        wh.components.put("modes", mode, {"mode": value})
    wh.algorithms.create(
        "bad", "mode -> voxel-count", function=function("misbehave"), requires_memory_gb=4
    )
    report = wh.algorithms.run("bad", of_set="modes", workers=2, seconds=1)
    assert (report.succeeded, report.failed) == (1, 8)
    found = dict(wh.sql("select replace(item, 'modes/', ''), error_message from jobs").fetchall())
    for mode, said in said_of.items():
        assert said in found[mode], mode
        assert "Doe" not in found[mode]
    assert wh.sql("select count(*) from socket_values where slug = 'voxel-count'").fetchall() == [
        (1,)
    ]
    ((stdout, is_warning),) = wh.sql(
        "select stdout, is_warning from jobs where status = 4"
    ).fetchall()
    assert (stdout.splitlines()[0], stdout.splitlines()[-1], is_warning) == (
        "line 1500 ",
        "line 1999 ",
        True,
    )
    ((log,),) = wh.sql("select stderr from jobs where item = 'modes/raise'").fetchall()
    assert "RuntimeError" in log


def test_two_operators_start_one_run(wh: warehouse.Warehouse) -> None:
    wh.algorithms.create("measure", "ct -> mean-value, voxel-count", function=function("measure"))
    with alone(wh.root, "measure"), pytest.raises(RunLocked):
        wh.run_algorithm("measure", [CT], workers=0)
    assert wh.sql("select count(*) from jobs").fetchall() == [(0,)]
    assert wh.run_algorithm("measure", [CT], workers=0).succeeded == 1


def test_code_that_changed_is_another_version(wh: warehouse.Warehouse, tmp_path) -> None:
    code = tmp_path / "mine.py"
    code.write_text("def run(case):\n    return {'voxel-count': 1}\n")
    first = wh.algorithms.create("mine", "ct -> voxel-count", function=f"{code}:run")
    assert wh.algorithms.create("mine", "ct -> voxel-count", function=f"{code}:run") == first
    wh.run_algorithm("mine", [CT], workers=0)
    code.write_text("def run(case):\n    return {'voxel-count': 2}\n")
    with pytest.raises(AlgorithmError, match="has changed"):
        wh.run_algorithm("mine", [CT2], workers=0)
    second = wh.algorithms.create("mine", "ct -> voxel-count", function=f"{code}:run")
    assert second.version == 2
    assert wh.run_algorithm("mine", [CT, CT2], workers=0).succeeded == 2
    assert (
        wh.sql("select voxel_count, algorithm_version from outputs('mine')").fetchall()
        == [(2, 2)] * 2
    )


def test_a_function_that_its_file_does_not_have_is_refused(
    wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    """Its code is not run, so whatever the module can bind is accepted."""
    code = tmp_path / "mine.py"
    code.write_text("def run(case): ...\ntry:\n    from fast import run as quick\nexcept: ...\n")
    interface = "ct -> voxel-count"
    with pytest.raises(AlgorithmError, match=r"has no function 'ran'; similar: run"):
        wh.algorithms.create("mine", interface, function=f"{code}:ran")
    with pytest.raises(AlgorithmError, match="has no function 'nosuch'"):
        wh.algorithms.create("mine", interface, function="json:nosuch")
    for name in ("run", "quick"):
        wh.algorithms.create("mine", interface, function=f"{code}:{name}")
    code.write_text("from elsewhere import *\n")
    wh.algorithms.create("mine", interface, function=f"{code}:any")
    code.write_text("def run(case:\n")
    with pytest.raises(AlgorithmError, match="not Python"):
        wh.algorithms.create("mine", interface, function=f"{code}:run")


@pytest.mark.acceptance("G40")
def test_what_a_job_is_to_do_never_changes(wh: warehouse.Warehouse) -> None:
    wh.algorithms.create("measure", "ct -> mean-value, voxel-count", function=function("measure"))
    wh.run_algorithm("measure", [CT], workers=0)
    before = wh.sql("from job_specs").fetchall()
    ((job_id,),) = wh.sql("select job_id from jobs").fetchall()
    for name in ("requires_gpu_type", "requires_memory_gb", "time_limit_s", "signing_key"):
        with pytest.raises(warehouse.errors.JobRefused, match=name):
            jobs.change_job(wh.root, job_id, **{name: 1})
    assert wh.sql("from job_specs").fetchall() == before


def test_a_gpu_is_asked_of_the_workers_of_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a client without a scheduler sees it."""
    asked = []

    class Client(nullcontext):
        def scheduler_info(self) -> dict:
            return {"workers": {"a": {"resources": {}}, "b": {"resources": resources}}}

        def nthreads(self) -> dict:
            return {"a": 1, "b": 1}

        def get_executor(self, **options: object) -> None:
            asked.append(options)

    def client(address: str, **_: object) -> Client:
        return Client()

    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=client))
    for gpu, resources in (("", {}), ("T4", {"GPU": 1}), ("T4", {})):
        algorithm = SimpleNamespace(algorithm="where", requires_gpu_type=gpu)
        refused = pytest.raises(AlgorithmError, match="--resources GPU=1")
        with (
            refused if gpu and not resources else nullcontext(),
            task_pools._on_dask("here", algorithm, print, "python"),
        ):
            pass
    assert asked == [{"pure": False}, {"pure": False, "resources": {"GPU": 1}}]


@pytest.mark.long("test_a_gpu_is_asked_of_the_workers_of_dask")
def test_jobs_that_ask_for_a_gpu_go_to_workers_that_have_one(wh: warehouse.Warehouse) -> None:
    from distributed import Scheduler, SpecCluster, Worker

    def cluster(**workers: dict) -> SpecCluster:
        named = {
            name: {"cls": Worker, "options": {"nthreads": 1, **how}}
            for name, how in workers.items()
        }
        options = {"dashboard": False, "host": "127.0.0.1", "port": 0}
        return SpecCluster(
            workers=named, scheduler={"cls": Scheduler, "options": options}, silence_logs=False
        )

    wh.components.add_values([Given("age", n) for n in range(4)])
    rows = wh.sql("select value_id from socket_values where slug = 'age'").fetchall()
    put_items(wh.root, "s", {f"{n}": {"age": row[0]} for n, row in enumerate(rows)})
    for name, gpu in (("where", ""), ("where-gpu", "T4")):
        wh.algorithms.create(name, "age -> mode", function=function("where"), requires_gpu_type=gpu)
    # Started as with `dask worker --resources GPU=1`; no GPU is needed to see where jobs go.
    with cluster(plain={}, fast={"resources": {"GPU": 1}}) as made:
        for name in ("where", "where-gpu"):
            report = wh.algorithms.run(name, of_set="s", scheduler=made.scheduler_address)
            assert report.succeeded == 4
    ran = "select list_sort(list(distinct mode)) from outputs('{}')"
    assert wh.sql(ran.format("where-gpu")).fetchall() == [(["fast"],)]
    assert "plain" in wh.sql(ran.format("where")).fetchall()[0][0]
    # Where no worker has one, the run says so instead of waiting for ever.
    wh.algorithms.create("none", "age -> mode", function=function("where"), requires_gpu_type="T4")
    with cluster(plain={}) as made, pytest.raises(AlgorithmError, match="--resources GPU=1"):
        wh.algorithms.run("none", of_set="s", scheduler=made.scheduler_address)


@pytest.mark.slow
def test_the_workers_of_dask_run_the_same_jobs(wh: warehouse.Warehouse) -> None:
    from distributed import LocalCluster

    wh.algorithms.create("measure", "ct -> mean-value, voxel-count", function=function("measure"))
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        report = wh.run_algorithm("measure", scheduler=cluster.scheduler_address)
    assert (report.succeeded, report.failed) == (3, 1)
    means = [float(voxels(key).mean()) - 1000 * (key != MR) for key in (CT, CT2, MR)]
    assert sorted(wh.outputs("measure").collect()["mean_value"].drop_nulls()) == sorted(means)


def test_a_file_with_half_a_surrogate_pair_fails_its_case_alone(wh: warehouse.Warehouse) -> None:
    wh.components.create_socket(
        title="Spot file", kind="MPOI", relative_path="spot-file.json", store_in_database=False
    )
    wh.algorithms.create("name", "mode -> spot-file", function=function("named_spot"))
    modes(wh, "s", "whole", "half", "other")
    report = wh.run_algorithm("name", of_set="s", workers=0)
    assert (report.succeeded, report.failed) == (2, 1)
    (why,) = report.failures.values()
    assert "lone surrogate" in why
    assert {mode: end[0] for mode, end in ends(wh).items()} == {
        "whole": "Succeeded", "half": "Failed", "other": "Succeeded",
    }  # fmt: skip
