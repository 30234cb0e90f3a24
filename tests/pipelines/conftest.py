"""A small archive of pydicom's own files, and Dagster without anything on disk."""

import shutil
from pathlib import Path

import dagster as dg
import pydicom.data
import pytest

import warehouse
from pipelines.assets import stored_tables
from pipelines.definitions import build_definitions
from pipelines.resources import IntakeResource
from tests.cohorts.conftest import asked_here, opened, opened_once  # noqa: F401 - fixtures
from warehouse.ingest import plan

SAMPLES = Path(pydicom.data.__file__).parent / "test_files"


@pytest.fixture
def archive(tmp_path):
    """Four instances, a copy of one and a text file, in two folders."""
    folder = tmp_path / "archive"
    for name, sample in {
        "a/ct.dcm": "CT_small.dcm",
        "a/mr": "MR_small.dcm",
        "a/plan.dcm": "rtplan.dcm",
        "b/report.dcm": "reportsi.dcm",
        "b/mr-again": "MR_small.dcm",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SAMPLES / sample, folder / name)
    (folder / "b/notes.dcm").write_text("not DICOM\n")
    return folder


@pytest.fixture
def intake(tmp_path, archive):
    """Three files a batch, so that the archive makes two."""
    return IntakeResource(
        root=str(tmp_path / "warehouse"),
        sources=[str(archive)],
        mode="full",
        workers=1,
        batch_files=3,
    )


@pytest.fixture(scope="session")
def made_instance():
    """An instance in memory: to make its tables takes as long as many a test."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def instance(made_instance):
    """Without runs, events and partitions."""
    yield made_instance
    made_instance.wipe()


@pytest.fixture
def run(instance, intake):
    """Run a job by its name; the partition is made known first."""
    defs = build_definitions(intake)

    def run(job: str, partition: str | None = None, **options):
        if partition:
            instance.add_dynamic_partitions("batch", [partition])
        return defs.resolve_job_def(job).execute_in_process(
            instance=instance, partition_key=partition, **options
        )

    return run


@pytest.fixture
def store(instance, intake):
    """Materialize the stored tables of one batch, without the checks of the job."""

    def store(partition: str):
        instance.add_dynamic_partitions("batch", [partition])
        return dg.materialize(
            [stored_tables],
            resources={"intake": intake},
            instance=instance,
            partition_key=partition,
        )

    return store


@pytest.fixture
def planned(intake):
    """Keys of the two batches of the archive, planned and not yet run."""
    value = intake.create_resource(None)
    return plan(value.root, value.sources, value.settings)


@pytest.fixture
def rows(intake):
    """Read the stored tables without what depends on the batching, in an order that does not."""

    def rows(root=None):
        wh = warehouse.open(root or intake.root, create=True)
        keys = wh.table("instances").select("instance_id", "instance_key")
        tables = {name: wh.table(name) for name in ("files", "elements", "instances", "blobs")}
        tables["elements"] = tables["elements"].join(keys, on="instance_id")
        tables = {
            name: frame.drop("batch", "instance_id", strict=False).collect()
            for name, frame in tables.items()
        }
        order = ("instance_key", "sha256", "file_path", "path", "tag", "index")
        return {
            name: frame.sort([column for column in order if column in frame.columns])
            for name, frame in tables.items()
        }

    return rows
