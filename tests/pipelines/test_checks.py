"""The SELECTs of ``sql/checks/`` pass on a sound warehouse, and fail on one that is not."""

import shutil

import pydicom
import pytest

from pipelines.checks import CHECKS, check_result, check_spec
from warehouse.catalog.connect import ask, open_catalog
from warehouse.ingest import ingest
from warehouse.sqlfiles import read_checks
from warehouse.store import delta, locks
from warehouse.store.delta import Change


def outcomes(done):
    return {check.check_name: check for check in done.get_asset_check_evaluations()}


@pytest.fixture
def stored(intake):
    value = intake.create_resource(None)
    ingest(value.root, value.sources, value.settings)
    return value.root


def test_a_check_tells_what_it_found_and_no_value(stored):
    """Without Dagster; of a lost table, and of one whose rows agree with the others."""
    catalog = open_catalog(stored)
    asked = "select PatientID, PatientName, SOPInstanceUID from instances where Modality = 'CT'"
    (values,) = ask(catalog, asked).fetchall()
    base = delta.snapshot(stored)
    assert check_result(catalog, CHECKS["file_without_instance"]).passed
    assert check_result(catalog, CHECKS["series_in_two_studies"]).severity.value == "WARN"
    with locks.locked(stored):
        lost = Change(remove=list(base.parts["instances"]))
        delta.commit(stored, {"instances": lost}, base, "lose all instances")
    result = check_result(open_catalog(stored), CHECKS["file_without_instance"])
    assert not result.passed
    assert result.severity.value == "ERROR"
    assert result.metadata["rows"].value == 4
    assert "select" in result.metadata["question"].value
    for value in values:
        assert value
        assert value not in repr(result)
    assert check_spec(CHECKS["file_without_instance"]).blocking
    assert not check_spec(CHECKS["series_in_two_studies"]).blocking


@pytest.mark.usefixtures("stored")
@pytest.mark.acceptance("D75")
@pytest.mark.long("test_a_run_checks_what_it_stored")
def test_every_check_runs_and_passes(run):
    done = outcomes(run("check"))
    assert set(done) == {"values_are_valid", *(check.name for check in read_checks())}
    assert {name for name, check in done.items() if not check.passed} == set()
    assert done["instance_held_twice"].metadata["rows"].value == 0
    assert "select" in done["instance_held_twice"].metadata["question"].value


def test_a_run_checks_what_it_stored(run, planned):
    done = outcomes(run("ingest", planned[0]))
    assert {"instance_held_twice", "orphan_elements", "instance_without_file"} <= set(done)
    assert "vr_conflicts" not in done  # of a view, about the whole warehouse
    assert all(check.passed for check in done.values())


@pytest.mark.long("test_a_check_tells_what_it_found_and_no_value")
def test_a_store_that_contradicts_itself_fails_the_run(run, stored):
    base = delta.snapshot(stored)
    with locks.locked(stored):
        lost = Change(remove=list(base.parts["instances"]))
        delta.commit(stored, {"instances": lost}, base, "lose all instances")
    done = run("check", raise_on_error=False)
    assert not done.success
    failed = {name: check for name, check in outcomes(done).items() if not check.passed}
    assert {"orphan_elements", "file_without_instance"} <= set(failed)
    assert failed["file_without_instance"].metadata["rows"].value == 4
    assert failed["file_without_instance"].severity.value == "ERROR"


@pytest.mark.long("test_a_check_tells_what_it_found_and_no_value")
def test_odd_sources_only_warn(run, intake, archive, stored):
    image = pydicom.dcmread(archive / "a/ct.dcm")
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    image.StudyInstanceUID = "1.2.3"
    image.save_as(archive / "a/other-study.dcm")
    ingest(stored, [archive], intake.create_resource(None).settings)
    done = run("check")
    assert done.success
    check = outcomes(done)["series_in_two_studies"]
    assert not check.passed
    assert check.severity.value == "WARN"


@pytest.mark.long("test_a_check_tells_what_it_found_and_no_value")
def test_results_hold_no_value_of_a_header(run, archive, stored):
    image = pydicom.dcmread(archive / "a/ct.dcm")
    base = delta.snapshot(stored)
    shutil.copyfile(archive / "a/ct.dcm", archive / "a/copy.dcm")
    with locks.locked(stored):
        lost = Change(remove=list(base.parts["files"]))
        delta.commit(stored, {"files": lost}, base, "lose all files")
    shown = repr(outcomes(run("check", raise_on_error=False)))
    assert "instance_without_file" in shown
    for value in (image.PatientID, str(image.PatientName), image.SOPInstanceUID):
        assert value not in shown
