"""A small warehouse that tests of cohorts may change."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

import warehouse
from tests.dicom_files import write
from tests.made_once import made_once
from warehouse.catalog.connect import reorder
from warehouse.catalog.materialized import materialized_files
from warehouse.cohorts import asking, runs
from warehouse.cohorts.guard import locked_catalog
from warehouse.store import delta

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from warehouse.catalog.connect import Catalog

PATIENTS = 6


def make(folder: Path, patient: int, number: int = 1, **attributes: object) -> Path:
    """Write one CT slice of a patient: one study and one series each, thickness = patient mm."""
    usual = {
        "PatientID": f"P{patient}", "StudyInstanceUID": f"1.{patient}", "SeriesInstanceUID": f"1.{patient}.1",
        "SOPInstanceUID": f"1.{patient}.1.{number}", "SliceThickness": str(patient), "InstanceNumber": number,
        "Manufacturer": "ACME" if patient % 2 else "Other",
    }  # fmt: skip
    content = {**usual, **attributes}
    return write(folder / f"p{patient}_{number}.dcm", uid=content.pop("SOPInstanceUID"), **content)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six patients with two slices each, read once."""

    def made(folder: Path) -> None:
        for patient in range(1, PATIENTS + 1):
            for number in (1, 2):
                make(folder / "in", patient, number)
        warehouse.open(folder / "w", create=True).ingest(folder / "in", workers=1)

    return made_once(tmp_path_factory, "cohorts", made)


@pytest.fixture
def archive(template: Path, tmp_path: Path) -> warehouse.Warehouse:
    """Return a warehouse of its own over sources that are not to be changed."""
    shutil.copytree(template / "w", tmp_path / "w")
    return warehouse.open(tmp_path / "w", create=True)


@pytest.fixture
def changing(tmp_path: Path) -> warehouse.Warehouse:
    """Return a warehouse of three patients whose sources, in ``tmp_path/in``, a test may change."""
    for patient in (1, 2, 3):
        for number in (1, 2):
            make(tmp_path / "in", patient, number)
    made = warehouse.open(tmp_path / "w", create=True)
    made.ingest(tmp_path / "in", workers=1)
    return made


@pytest.fixture(scope="module")
def opened() -> Callable[..., Catalog]:
    """Open a version for a thread; the last few stay open, as to open one takes as long as three questions."""

    @functools.lru_cache(maxsize=6)
    def of(
        _thread: int, root: Path, version: int, order: int = 0, threads: int | None = None
    ) -> Catalog:
        return locked_catalog(root, version, order=order, threads=threads)

    return lambda *asked: of(threading.get_ident(), *asked)


@pytest.fixture
def opened_once(monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Catalog]) -> None:
    """Open a version that is asked several questions once, in each of the ways in which it is asked."""

    def for_a_question(
        root: Path, version: int, *, order: int = 0, threads: int | None = None
    ) -> Catalog:
        made = opened(root, version, order, threads)
        if order:
            # Whoever asked before may have left it in another order.
            reorder(made, order)
        return made

    monkeypatch.setattr(asking, "locked_catalog", for_a_question)


@pytest.fixture
def asked_here(
    opened_once: None, monkeypatch: pytest.MonkeyPatch, opened: Callable[..., Catalog]
) -> None:
    """Answer the questions of saved cohorts in this process, with all that is sent to another one.

    Left out are its start, which takes longer than the question, and its limits: see `test_asking`.
    """

    def for_a_run(root: Path) -> Catalog:
        snapshot = delta.snapshot(root)
        if materialized_files(snapshot):
            return locked_catalog(root)
        made = opened(root, snapshot.version)
        made.connection.execute("drop table if exists picked")
        return made

    def run(command: list[str], *, input: bytes, **_: object) -> subprocess.CompletedProcess[bytes]:  # noqa: A002
        told = json.dumps(asking.answered(json.loads(input))).encode()
        return subprocess.CompletedProcess(command, 0, told, b"")

    process = SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(asking, "subprocess", process)
    monkeypatch.setattr(runs, "locked_catalog", for_a_run)
