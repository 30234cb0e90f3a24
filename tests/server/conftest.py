"""One server over the sample warehouse for all tests that only read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import warehouse
from tests.dicom_files import image, write
from tests.server.running import Client, running


@pytest.fixture(scope="session")
def client(
    sample: warehouse.Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A running server over ``sample``; its audit log is ``client.audit``."""
    audit = tmp_path_factory.mktemp("server") / "audit.jsonl"
    with running(sample, audit=audit) as made:
        made.audit = audit  # type: ignore[attr-defined]
        yield made


@pytest.fixture(scope="session")
def one_instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a warehouse of one instance. Not to write to: take ``held``."""
    folder = tmp_path_factory.mktemp("held")
    write(folder / "in" / "a.dcm", image("1.1", PatientName="Doe^Jane", PatientID="P1"))
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)
    made.close()
    return folder


@pytest.fixture
def held(one_instance: Path, tmp_path: Path) -> warehouse.Warehouse:
    """A warehouse of one instance, of its own for a test; its source is `in/a.dcm`."""
    shutil.copytree(one_instance / "w", tmp_path / "w")
    return warehouse.open(tmp_path / "w")
