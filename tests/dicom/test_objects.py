"""Sources in a bucket give the rows of the same files in a folder, over a bad line too."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import obstore
import pydicom.data
import pytest

import warehouse
from tests.content import content
from tests.dicom_files import image, write
from tests.object_server import SECRET, Line, MotoServer, bytes_under, put
from tests.pixels.conftest import UID, voxels, write_slice
from warehouse.dicom import objects, scan
from warehouse.dicom.objects import Listed, ObjectFile, list_objects, read_range
from warehouse.dicom.open import open_source
from warehouse.dicom.scan import SourceFile, Unreadable, discover, list_again
from warehouse.dicom.source import known_source
from warehouse.dicom.sources import day_folders
from warehouse.errors import (
    BucketUnreachable,
    ExportFailed,
    NotAsIngested,
    NotReferable,
    SourceChanged,
    SourceNotFound,
    SourcesVanished,
    Unreachable,
    UsageError,
)
from warehouse.ingest import ingest, plan, run_batch
from warehouse.removal import remove
from warehouse.settings import IngestSettings, Mode, S3Access
from warehouse.store.bucket import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

SAMPLES = Path(pydicom.data.__path__[0]) / "test_files"


@pytest.fixture(scope="module")
def server() -> Iterator[MotoServer]:
    made = MotoServer()
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def line(server: MotoServer) -> Iterator[Line]:
    made = Line(server.port)
    try:
        yield made
    finally:
        made.end()


def settings(line: Line, **more: Any) -> IngestSettings:
    return IngestSettings(mode=Mode.FULL, workers=1, s3=line.access, **more)


def named(made: dict[str, Any], before: str, after: str) -> dict[str, list[str]]:
    """Return a content as text, with other paths, and without the times of files."""
    return {
        table: sorted(
            repr(tuple("" if isinstance(v, dt.datetime) and table == "files" else v for v in row))
            .replace(before, after)
            for row in rows
        )
        for table, rows in made.items()
    }  # fmt: skip


def read_twice(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: str, samples: list[Path]
) -> tuple[warehouse.IngestReport, int]:
    """Ingest files of a bucket, and of a folder; return the report and how many files there are."""
    files = {path.name: path.read_bytes() for path in sorted(samples)}
    long = image("1.2.99")
    # A header that is longer than what is read of an object at once, and has more behind it.
    long.add_new(0x00420011, "OB", bytes(range(256)) * 1200)
    long.add_new(0x00420012, "LO", "behind")
    write(tmp_path / "long.dcm", long)
    files["nested/long.dcm"] = (tmp_path / "long.dcm").read_bytes()
    files["notes.dcm"] = b"not DICOM\n" * 100
    for name, data in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    put(line.access, bucket, {f"in/{name}": data for name, data in files.items()})
    line.delay, line.failures, line.most_at_once = 0.01, 1, 0
    monkeypatch.setitem(
        objects._RETRY,
        "backoff",
        {
            "init_backoff": dt.timedelta(milliseconds=5),
            "max_backoff": dt.timedelta(milliseconds=20),
            "base": 2,
        },
    )
    objects.bucket_store.cache_clear()
    report = ingest(tmp_path / "w", [f"s3://{bucket}/in"], settings(line))
    assert report.files == len(files)
    # What was read of an object is its header, not its pixels.
    ranges = [headers.get("range") for method, _, headers in line.requests if method == "GET"]
    assert sum(r is not None for r in ranges) >= len(files)
    local = ingest(tmp_path / "folder", [tmp_path / "in"], settings(line))
    assert (local.created, local.rejected) == (report.created, report.rejected)
    assert named(content(tmp_path / "w"), f"s3://{bucket}/in", "") == named(
        content(tmp_path / "folder"), str(tmp_path / "in"), ""
    )
    objects.bucket_store.cache_clear()
    return report, len(files)


def test_few_files_of_a_bucket_give_the_rows_of_a_folder(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [SAMPLES / "CT_small.dcm", SAMPLES / "MR_small.dcm"]
    report, _ = read_twice(line, tmp_path, monkeypatch, "few", samples)
    assert (report.created, report.rejected) == (3, 1)


@pytest.mark.long("test_few_files_of_a_bucket_give_the_rows_of_a_folder")
def test_a_bucket_over_a_bad_line_gives_the_rows_of_a_folder(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = [path for path in SAMPLES.glob("*.dcm") if path.stat().st_size < 100_000]
    report, count = read_twice(line, tmp_path, monkeypatch, "archive", small)
    assert report.readers["fast"] > count // 2
    assert line.most_at_once >= 16


def test_again_changed_new_and_gone(line: Line, tmp_path: Path) -> None:
    one, two = (SAMPLES / "CT_small.dcm").read_bytes(), (SAMPLES / "MR_small.dcm").read_bytes()
    odd = "day 1/ü#%41+&?=x.dcm"
    put(line.access, "changing", {"a.dcm": one, odd: two})
    source, root = "s3://changing", tmp_path / "w"
    assert ingest(root, [source], settings(line)).created == 2
    wh = warehouse.open(root, create=True)
    assert sorted(wh.sql("select file_path from files").fetchall()) == [
        ("s3://changing/a.dcm",), (f"s3://changing/{odd}",),
    ]  # fmt: skip
    read = len(line.requests)
    assert ingest(root, [source], settings(line)).existing == 2
    assert not [method for method, _, headers in line.requests[read:] if "range" in headers]
    put(line.access, "changing", {"a.dcm": (SAMPLES / "rtplan.dcm").read_bytes(), "empty/": b""})
    report = ingest(root, [source], settings(line))
    assert (report.replaced, report.existing, report.rejected) == (1, 1, 1)
    assert report.rejects == [("s3://changing/empty", "empty object")]
    wh.refresh()
    assert wh.sql("select Modality from instances order by 1").fetchall() == [("MR",), ("RTPLAN",)]


def test_objects_that_vanished_are_taken_out_when_told(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (SAMPLES / "CT_small.dcm").read_bytes(), (SAMPLES / "MR_small.dcm").read_bytes()
    put(line.access, "vanishing", {"p/a": one, "p/b": two, "p/copy": one, "q/c": two})
    source, root = "s3://vanishing/p", tmp_path / "w"
    ingest(root, [source, "s3://vanishing/q"], settings(line))
    store = objects.bucket_store("vanishing", line.access)
    obstore.delete(store, ["p/a", "p/b", "q/c"])
    done = remove(root, [source], settings(line))
    assert (done.known, done.vanished, done.removed) == (3, 2, 0)
    done = remove(root, [source], settings(line), delete=True)
    # Of the one a copy is left; the other is thought to be in q still, where nobody looked.
    assert (done.removed, done.instances, done.taken_over) == (2, 2, 1)
    wh = warehouse.open(root, create=True)
    held = wh.sql("select file_path, status from files order by file_path").fetchall()
    assert held == [
        ("s3://vanishing/p/a", "removed"), ("s3://vanishing/p/b", "removed"),
        ("s3://vanishing/p/copy", "ingested"), ("s3://vanishing/q/c", "rejected"),
    ]  # fmt: skip
    obstore.delete(store, ["p/copy"])
    with pytest.raises(SourcesVanished):
        remove(root, [source], settings(line), delete=True)
    refused = S3Access(endpoint="http://127.0.0.1:9", access_key_id="a", secret_access_key="b")
    objects.bucket_store.cache_clear()
    quick = {"max_retries": 0, "retry_timeout": dt.timedelta(seconds=1)}
    monkeypatch.setattr(objects, "_RETRY", quick)
    with pytest.raises(BucketUnreachable):
        remove(root, [source], IngestSettings(s3=refused), delete=True)
    objects.bucket_store.cache_clear()


def test_pixels_are_read_from_the_objects_that_are_sliced(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": line.access.endpoint, "AWS_ACCESS_KEY_ID": line.access.access_key_id,
        "AWS_SECRET_ACCESS_KEY": line.access.secret_access_key, "AWS_REGION": line.access.region,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    pixels = voxels(3)
    files = {
        path.name: path.read_bytes()
        for path in (
            write_slice(tmp_path / f"{n}.dcm", frame, InstanceNumber=n + 1)
            for n, frame in enumerate(pixels)
        )
    }
    put(line.access, "pixels", files)
    ingest(tmp_path / "w", ["s3://pixels"], settings(line))
    volume = warehouse.open(tmp_path / "w", create=True).volume(UID)
    read = len(line.requests)
    assert np.array_equal(volume[1], pixels[1])
    assert {path for _, path, _ in line.requests[read:]} == {"/pixels/1.dcm"}
    assert np.array_equal(volume[:], pixels)
    with pytest.raises(NotReferable, match="archive or a bucket"):
        volume.references()
    put(line.access, "pixels", {"1.dcm": files["2.dcm"] + b"\0\0"})
    with pytest.raises(SourceChanged, match=r"1\.dcm is not what was ingested: it has"):
        volume[1]


def thin(path: Path, number: int) -> bytes:
    """Return a slice that the cohort `ct_thin_slice` takes."""
    return write(path, uid=f"1.{number}", SliceThickness=1).read_bytes()


def test_a_file_of_a_bucket_is_exported_as_it_is(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = thin(tmp_path / "1.dcm", 1)
    put(line.access, "one", {"1.dcm": file})
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.access.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", line.access.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", line.access.secret_access_key)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest("s3://one", workers=1)
    found = wh.cohort("ct_thin_slice", min_instances=1)
    wh.export(found, tmp_path / "out", "copy", template="{SOPInstanceUID}")
    assert (tmp_path / "out" / "1.1").read_bytes() == file
    put(line.access, "one", {"1.dcm": file + b"  "})
    with pytest.raises(ExportFailed, match="its source has changed since it was ingested"):
        wh.export(found, tmp_path / "again", "copy")


@pytest.mark.long("test_a_file_of_a_bucket_is_exported_as_it_is")
def test_files_of_a_bucket_are_exported_as_they_are(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"s/{n}.dcm": thin(tmp_path / f"{n}", n) for n in range(3)}
    put(line.access, "exported", files)
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.access.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", line.access.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", line.access.secret_access_key)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest("s3://exported/s", workers=1)
    found = wh.cohort("ct_thin_slice", min_instances=1)
    assert found.counts["instances"] == 3
    out = tmp_path / "out"
    wh.export(found, out, "copy", template="{SOPInstanceUID}")
    assert {path.name: path.read_bytes() for path in out.glob("1.*")} == {
        f"1.{n}": files[f"s/{n}.dcm"] for n in range(3)
    }
    wh.export(found, tmp_path / "a.zip", "zip")
    with pytest.raises(ExportFailed, match="is an object in a bucket, which cannot be linked"):
        wh.export(found, tmp_path / "links", "link")
    put(line.access, "exported", {"s/1.dcm": files["s/1.dcm"] + b"  "})
    with pytest.raises(ExportFailed, match="its source has changed since it was ingested"):
        wh.export(found, tmp_path / "again", "copy")
    obstore.delete(objects.bucket_store("exported", line.access), "s/1.dcm")
    with pytest.raises(ExportFailed, match="cannot be read: there is no such object any more"):
        wh.export(found, tmp_path / "again", "copy")
    assert not (tmp_path / "again").exists()


def test_planned_batches_are_read_and_read_anew(line: Line, tmp_path: Path) -> None:
    files = {f"p/{n}.dcm": (SAMPLES / n).read_bytes() for n in ("CT_small.dcm", "MR_small.dcm")}
    put(line.access, "planned", files | {"other/x": b"x"})
    root = tmp_path / "w"
    (key,) = plan(root, ["s3://planned/p"], settings(line))
    assert SECRET.encode() not in bytes_under(root)
    assert run_batch(root, key, settings(line)).created == 2
    assert run_batch(root, key, settings(line)).replaced == 2
    assert list_again(["s3://planned/p/none"], line.access) == [None]
    assert SECRET.encode() not in bytes_under(root)
    assert SECRET not in repr(settings(line))


def test_milliseconds_of_a_listing_are_no_other_time_than_whole_seconds_of_a_head(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MinIO and Ceph list milliseconds; Last-Modified has whole seconds (RFC 9110 5.6.7)."""
    put(line.access, "exact", {"a.dcm": (SAMPLES / "CT_small.dcm").read_bytes()})
    answer = line.answer

    def with_milliseconds(*asked: Any) -> Any:
        status, headers, data = answer(*asked)
        return status, headers, data.replace(b".000Z</LastModified>", b".123Z</LastModified>")

    monkeypatch.setattr(line, "answer", with_milliseconds)
    (found,) = discover(["s3://exact"], s3=line.access)
    assert isinstance(found, SourceFile)
    assert list_again([found.path], line.access) == [found]
    assert known_source(*found[:3], line.access).path == found.path
    # As earlier versions stored it.
    stored = found._replace(modified_us=(found.modified_us or 0) + 123_000)
    assert known_source(*stored[:3], line.access).path == found.path
    with pytest.raises(NotAsIngested):
        known_source(found.path, found.size_bytes, (found.modified_us or 0) - 1, line.access)
    with monkeypatch.context() as earlier:
        earlier.setattr(scan, "list_objects", lambda *_: [Listed(*stored[:3])])
        assert ingest(tmp_path / "w", ["s3://exact"], settings(line)).created == 1
    assert ingest(tmp_path / "w", ["s3://exact"], settings(line)).existing == 1


@pytest.mark.parametrize("tag", [[], [("etag", '"page"')]])
def test_a_web_page_is_no_empty_bucket(
    line: Line, tag: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of a console or of a proxy was an ingest of no files, without an error."""
    page = b"<html>please log in</html>"
    headers = [
        ("content-length", str(len(page))),
        ("last-modified", "Sat, 28 Nov 2026 12:00:00 GMT"),
    ]
    monkeypatch.setattr(line, "answer", lambda *_: (200, headers + tag, page))
    with pytest.raises(BucketUnreachable, match="Check AWS_ENDPOINT_URL"):
        list(list_objects("s3://pages/", line.access))


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3:///a", "s3://a b/c", "s3://b//c", "s3://b/a/../c", "s3://b/.", "s3://b/a\nb"],
)
def test_what_no_client_can_ask_for_is_refused(url: str) -> None:
    access = S3Access(endpoint="http://127.0.0.1:9")
    with pytest.raises(UsageError, match="cannot be asked for"):
        list(list_objects(url, access))
    with pytest.raises(UsageError, match="cannot be asked for"):
        Bucket(url, access)


def test_an_object_that_changes_while_it_is_read_is_no_mixture(line: Line) -> None:
    put(line.access, "torn", {"a": b"old" * 100_000})
    url = "s3://torn/a"
    first = read_range(url, line.access, 0, 3)
    assert (bytes(first.data), first.size_bytes) == (b"old", 300_000)
    reading = ObjectFile(url, line.access)
    put(line.access, "torn", {"a": b"new" * 100_000})
    with pytest.raises(OSError, match="changed while it was read"):
        reading.read(10)
    with pytest.raises(OSError, match="changed while it was read"):
        read_range(url, line.access, 3, 3, first.state)
    source = SourceFile(url, 300_000, 0, access=line.access)
    with pytest.raises(Unreachable, match="changed while it was read"):
        read_while_it_changes(source, line)


def read_while_it_changes(source: SourceFile, line: Line) -> None:
    with open_source(source) as file:
        put(line.access, "torn", {"a": b"newer" * 60_000})
        file.read(300_000)


def test_a_file_of_an_object_is_read_and_sought_as_any(line: Line) -> None:
    data = bytes(range(256)) * 20
    put(line.access, "file", {"a": data, "none": b""})
    with objects.open_object("s3://file/a", line.access, len(data)) as file:
        assert file.seek(0, 2) == len(data)
        file.seek(-3, 1)
        assert file.read() == data[-3:]
        assert file.read(1) == b""
        file.seek(1000)
        assert file.read(5) == data[1000:1005]
    with objects.open_object("s3://file/none", line.access, 0) as file:
        assert file.read() == b""


def test_what_is_listed_and_what_is_refused(line: Line) -> None:
    put(line.access, "kinds", {
        "a/1.dcm": b"1", "a/2.txt": b"2", "a/z.zip": b"z", "ab": b"3", "2026/11/21/x": b"4",
    })  # fmt: skip
    s3 = line.access
    found = list(discover(["s3://kinds/a"], patterns=["*.DCM"], s3=s3))
    assert [item.path for item in found] == ["s3://kinds/a/1.dcm", "s3://kinds/a/z.zip"]
    assert isinstance(found[1], Unreadable)
    assert [item.path for item in discover(["s3://kinds/ab"], s3=s3)] == ["s3://kinds/ab"]
    assert list(discover(["s3://kinds/none/"], s3=s3)) == []
    days = day_folders(["s3://kinds"], 2, dt.date(2026, 11, 22))
    assert [item.path for item in discover(days, s3=s3)] == ["s3://kinds/2026/11/21/x"]
    with pytest.raises(SourceNotFound, match="s3://nobody"):
        list(discover(["s3://nobody/x/"], s3=s3))


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(objects._RETRY, "max_retries", 0)
    access = S3Access(endpoint="http://127.0.0.1:9", access_key_id="x", secret_access_key=SECRET)
    with pytest.raises(BucketUnreachable, match="Check AWS_ENDPOINT_URL") as caught:
        list(list_objects("s3://bucket/", access))
    # That nobody answers does not mean that an object is gone.
    with pytest.raises(BucketUnreachable):
        objects.find_objects(["s3://bucket/a"], access)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_requests_are_signed_with_the_given_keys_or_not_at_all(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(line.access, "public", {"a": b"1"})
    # What the machine may have in its environment is not asked below the edge.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-machine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-machine")
    for access, begins in ((line.access, "AWS4-HMAC-SHA256 Credential=nobody/"), (S3Access(endpoint=line.access.endpoint), None)):  # fmt: skip
        line.requests.clear()
        assert [found.path for found in list_objects("s3://public/", access)] == ["s3://public/a"]
        for _, _, headers in line.requests:
            signature = {name.lower(): value for name, value in headers.items()}.get(
                "authorization"
            )
            assert signature is None if begins is None else signature.startswith(begins)


def test_keys_come_from_the_usual_variables() -> None:
    assert S3Access.from_variables({}) == S3Access()
    given = {
        "AWS_ENDPOINT_URL": "http://minio:9000", "AWS_REGION": "eu-1", "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t",
    }  # fmt: skip
    assert S3Access.from_variables(given) == S3Access("http://minio:9000", "eu-1", "k", "s", "t")


def test_the_command_reads_a_bucket(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.command_line import run

    put(line.access, "command", {"a.dcm": (SAMPLES / "CT_small.dcm").read_bytes()})
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.access.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    done = run("ingest", "s3://command/", "-w", tmp_path / "w", "--json")
    assert json.loads(done.stdout)["created"] == 1, done.stderr
