"""Configuration becomes library objects."""

import os
from pathlib import Path

import pytest

from pipelines.resources import IntakeResource
from warehouse.errors import UnknownMode
from warehouse.settings import PLANNED_FILES, IngestSettings, Mode, S3Access

NAMES = ("DICOM_WAREHOUSE", "DICOM_WAREHOUSE_SOURCES", "DICOM_WAREHOUSE_MODE")


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def intake(**config):
    return IntakeResource(**config).create_resource(None)


def test_without_configuration_it_is_the_default_of_the_command_line():
    assert intake().root == Path("warehouse-data").absolute()
    assert intake().sources == ()
    # A partition holds more files than a batch that is committed while a person waits.
    expected = IngestSettings(s3=intake().settings.s3, batch_files=PLANNED_FILES)
    assert intake().settings == expected


def test_the_environment_is_asked_when_a_run_begins(monkeypatch):
    resource = IntakeResource()
    for name, value in zip(NAMES, ("/w", os.pathsep.join(["/a b", "/c.zip"]), "Full"), strict=True):
        monkeypatch.setenv(name, value)
    value = resource.create_resource(None)
    assert (value.root, value.sources, value.settings.mode) == (
        Path("/w"), ("/a b", "/c.zip"), Mode.FULL,
    )  # fmt: skip


def test_a_bucket_among_sources(monkeypatch):
    sources = ("/a", "s3://bucket/p", "s3://other", "/b")
    monkeypatch.setenv("DICOM_WAREHOUSE_SOURCES", os.pathsep.join(sources))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    assert intake().sources == sources
    assert intake().settings.s3 == S3Access("http://minio:9000")


def test_configuration_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("DICOM_WAREHOUSE_SOURCES", "/elsewhere")
    assert intake(sources=["/a"]).sources == ("/a",)


def test_an_unknown_mode_is_named():
    with pytest.raises(UnknownMode, match="medium"):
        intake(mode="medium")
