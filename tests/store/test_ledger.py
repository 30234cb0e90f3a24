"""Rows of `files` that a process keeps are those that are stored."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.dicom_files import write
from warehouse.ingest import ingest
from warehouse.removal import remove
from warehouse.settings import IngestSettings
from warehouse.store import delta, ledger
from warehouse.store.duck import connect, view_files

if TYPE_CHECKING:
    import duckdb

SETTINGS = IngestSettings(workers=1, batch_files=1)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Return the one database of this module: to open one takes as long as its questions."""
    return connect()


def rows(root: Path, *, kept: bool) -> list[tuple[object, ...]]:
    parts = delta.snapshot(root).paths("files")
    connection = _database().cursor()
    (ledger.view_ledger if kept else view_files)(connection, parts)
    described = connection.execute("describe files").fetchall()
    return described + connection.execute("from files order by all").fetchall()


def test_after_every_change_the_rows_are_those_of_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "WORTHWHILE", 2)
    root, source = tmp_path / "w", tmp_path / "in"
    read = list[int]()
    real = ledger.set_stored

    def counted(connection: object, parts: dict[str, list[str]]) -> None:
        read.append(len(parts["files"]) - 1)
        real(connection, parts)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "set_stored", counted)
    for number in range(3):
        write(source / f"{number}", uid=f"1.{number}")
        ingest(root, [source], SETTINGS)
        assert rows(root, kept=True) == rows(root, kept=False)
    read.clear()
    # What is known is not read again: here nothing has come since.
    assert len(rows(root, kept=True)) > 4
    assert read == [0]
    (source / "no").write_bytes(b"nothing")
    write(source / "copy", uid="1.0")
    write(source / "1", uid="1.1", PatientID="changed")
    (source / "2").unlink()
    assert ingest(root, [source], SETTINGS).replaced == 1
    assert rows(root, kept=True) == rows(root, kept=False)
    remove(root, [source], SETTINGS, delete=True)
    assert rows(root, kept=True) == rows(root, kept=False)
    assert ingest(root, [source], SETTINGS).existing > 0


def test_large_parts_and_many_rows_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "WORTHWHILE", 2)
    root = tmp_path / "w"
    for number in range(4):
        write(tmp_path / "in" / f"{number}", uid=f"1.{number}")
    ingest(root, [tmp_path / "in"], SETTINGS)
    everything = rows(root, kept=False)
    for bound in ("SMALL_BYTES", "KEPT_ROWS"):
        ledger._kept.clear()
        with monkeypatch.context() as patched:
            patched.setattr(ledger, bound, 0)
            assert rows(root, kept=True) == rows(root, kept=True) == everything
