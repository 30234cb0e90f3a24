"""Sockets and values of a warehouse in a bucket: published with the version that names them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from obstore.store import MemoryStore

import warehouse
from tests.components.conftest import CT
from tests.dicom_files import image, write
from tests.object_server import SECRET, Line, MotoServer, put
from warehouse.errors import ValueRefused
from warehouse.store import bucket

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def line() -> Iterator[Line]:
    server = MotoServer()
    made = Line(server.port)
    try:
        put(made.access, "archive", {})
        yield made
    finally:
        made.end()
        server.end()


def test_values_are_among_the_objects_for_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects in memory, without a server."""
    store = MemoryStore()
    monkeypatch.setattr(bucket, "bucket_store", lambda *_: store)
    add_from_two_caches(tmp_path, monkeypatch)


@pytest.mark.long("test_values_are_among_the_objects_for_the_next_one")
def test_values_are_in_the_bucket_for_the_next_one(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = {
        "AWS_ENDPOINT_URL": line.access.endpoint, "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1",
    }  # fmt: skip
    for name, value in access.items():
        monkeypatch.setenv(name, str(value))
    add_from_two_caches(tmp_path, monkeypatch)


def add_from_two_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add a value to a warehouse in a bucket, and again where nothing of it was kept."""
    write(tmp_path / "in" / "a", image("1.1.1", SeriesInstanceUID=CT))
    (tmp_path / "r.pdf").write_bytes(b"%PDF-1.4")
    for cache in ("one", "two"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        with warehouse.open("s3://archive/wh", create=True) as wh:
            wh.ingest(tmp_path / "in", workers=1)
            if cache == "one":
                wh.components.create_socket(title="Report", kind="PDF", relative_path="r.pdf")
                with pytest.raises(ValueRefused):
                    wh.components.add_value("report", file=tmp_path / "in" / "a")
            added = wh.components.add_value("report", file=tmp_path / "r.pdf", series=CT, by=cache)
            assert added.is_new is (cache == "one")
            assert wh.components.value_file(added.value_id).read_bytes() == b"%PDF-1.4"
            said = wh.sql("select added_by from values_about order by added_by").fetchall()
            assert said == [("one",), ("two",)][: 1 if cache == "one" else 2]
