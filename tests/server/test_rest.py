"""REST: lists equal `select`, pages hold every row once, files and SQL are what the warehouse says."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import warehouse
from tests.server.running import Client
from warehouse.cohorts.pages import page
from warehouse.listener.state import State, write_state


def every(client: Client, path: str) -> list[dict[str, Any]]:
    """Follow `next` to the end."""
    seen: list[dict[str, Any]] = []
    url: str | None = f"{client.url}{path}"
    while url:
        answer = client.session.get(url, timeout=30)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        seen += told["results"]
        url = told["next"]
    return seen


@pytest.mark.acceptance("D64")
def test_pages_hold_every_row_once_in_both_directions(
    client: Client, sample: warehouse.Warehouse
) -> None:
    first = client.get("/api/v1/instances").json()
    ((count,),) = sample.sql("select count(*) from instances").fetchall()
    assert first["count"] == count > 60
    assert len(first["results"]) == 25
    assert first["previous"] is None
    # Of `instances`: a page of `series` takes ten times as long.
    found = every(
        client, "/api/v1/instances?limit=21&order=-Modality,SeriesDate,Rows&columns=instance_key"
    )
    wanted = sample.select(
        "instances", order=["-Modality", "SeriesDate", "Rows"], columns=["instance_key"]
    ).fetchall()
    assert [row["instance_key"] for row in found] == [row[0] for row in wanted]
    # Of one column: those of the first page are enough.
    one = client.get("/api/v1/instances?limit=30&columns=instance_key").json()
    pages = [one["results"]]
    while one["next"]:
        one = client.session.get(one["next"], timeout=30).json()
        pages.append(one["results"])
    back = [one["results"]]
    while one["previous"]:
        one = client.session.get(one["previous"], timeout=30).json()
        back.append(one["results"])
    assert back[::-1] == pages
    assert client.get("/api/v1/instances?limit=10000").json()["next"] is None
    refused = client.get("/api/v1/instances?limit=99999")
    assert refused.status_code == 400
    assert "10000" in refused.json()["message"]


@pytest.mark.long("test_pages_hold_every_row_once_in_both_directions")
@settings(max_examples=6)
@given(
    st.lists(
        st.sampled_from(["Modality", "-Modality", "SeriesDate", "-EchoTime", "ImageType", "-Rows"]),
        max_size=3,
        unique_by=lambda name: name.strip("-"),
    ),
    st.integers(20, 60),
)
def test_any_order_pages_as_it_selects(
    sample: warehouse.Warehouse, order: list[str], size: int
) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        found = page(
            sample.catalog, "instances", {}, order=order, columns=["instance_key"], limit=size, cursor=cursor
        )  # fmt: skip
        seen += found.rows["instance_key"].to_pylist()
        cursor = found.next
        if cursor is None:
            break
    wanted = sample.select("instances", order=order, columns=["instance_key"]).fetchall()
    assert seen == [row[0] for row in wanted]


# Each is no column of its table: a list, its elements numbers, or bytes that all instances share.
@pytest.mark.parametrize(
    ("table", "order"),
    [("studies", "ImageType"), ("patients", "-WindowCenter"), ("patients", "FileMetaInformationVersion")],
)  # fmt: skip
def test_pages_in_the_order_of_what_instances_state(
    client: Client, sample: warehouse.Warehouse, table: str, order: str
) -> None:
    key = {"studies": "study_key", "patients": "patient_key"}[table]
    wanted = sample.select(table, order=order, columns=[key]).fetchall()
    found = every(client, f"/api/v1/{table}?limit=20&order={order}&columns={key}")
    assert len(found) > 20
    assert [row[key] for row in found] == [row[0] for row in wanted]


CONDITIONS = {
    "Modality=MR": {"Modality": "MR"},
    "Modality!=MR": {"-Modality": "MR"},
    "Modality__in=MR,CT&Rows__min=100": {"Modality__in": "MR,CT", "Rows__min": 100},
    "EchoTime__max=30": {"EchoTime__max": 30},
    "Manufacturer__icontains=ge": {"Manufacturer__icontains": "ge"},
    "EchoTime__null=true": {"EchoTime__null": True},
    "(0018,0095)__min=100": {"(0018,0095)__min": 100},
    "ImageType__has=ORIGINAL&ImageType__has=PRIMARY": {"ImageType__has": ["ORIGINAL", "PRIMARY"]},
    # names of django_dicom
    "modality=MR&echo_time_max=30": {"Modality": "MR", "EchoTime__max": 30},
    "description=T1&description_lookup=icontains": {"SeriesDescription__icontains": "T1"},
    "scanning_sequence=SE": {"ScanningSequence__set": ["SE"]},
    'header_fields={"-Modality": "CT"}': {"-Modality": "CT"},
}


OF_INSTANCES = {
    query for query in CONDITIONS
    if query.startswith(("Modality", "ImageType", "Manufacturer", "EchoTime__max"))
}  # fmt: skip


@pytest.mark.parametrize("query", CONDITIONS)
def test_conditions_are_those_of_select(
    client: Client, sample: warehouse.Warehouse, query: str
) -> None:
    # Of `instances` where it may be: a page of `series` takes ten times as long.
    table, key = (
        ("instances", "instance_key") if query in OF_INSTANCES else ("series", "series_key")
    )
    found = every(client, f"/api/v1/{table}?limit=50&columns={key}&{query}")
    wanted = sample.select(table, CONDITIONS[query], columns=[key]).fetchall()
    assert [row[key] for row in found] == [row[0] for row in wanted]


def test_a_row_is_what_select_prints(
    client: Client, sample: warehouse.Warehouse, tmp_path: Path
) -> None:
    from warehouse.catalog import answer

    answer.write(sample.catalog, sample.select("studies", limit=3), "json", tmp_path / "a.json")
    wanted = json.loads((tmp_path / "a.json").read_text())
    assert client.get("/api/v1/studies?limit=3").json()["results"] == wanted
    assert client.get(f"/api/v1/studies/{wanted[0]['study_key']}").json() == wanted[0]
    assert client.get("/api/v1/studies/nobody").status_code == 404


def test_whole_lists_in_other_formats(client: Client, sample: warehouse.Warehouse) -> None:
    wanted = sample.select("series", {"Modality": "MR"}).pl()
    ask = "/api/v1/series?Modality=MR&format="
    assert pl.read_parquet(io.BytesIO(client.get(f"{ask}parquet").content)).equals(wanted)
    with pa.ipc.open_stream(client.get(f"{ask}arrow").content) as stream:
        assert (
            pl.DataFrame(stream.read_all())["series_key"].to_list()
            == wanted["series_key"].to_list()
        )
    rows = list(csv.DictReader(io.StringIO(client.get(f"{ask}csv").text)))
    assert [row["series_key"] for row in rows] == wanted["series_key"].to_list()
    fourteen = list(csv.reader(io.StringIO(client.get("/api/v1/series_csv?Modality=MR").text)))
    assert fourteen[0] == [
        "ID", "EchoTime", "RepetitionTime", "InversionTime", "PixelSpacing", "SliceThickness", "StudyDescription",
        "SequenceName", "PulseSequenceName", "StudyTime", "StudyDate", "Manufacturer", "ScanningSequence", "SequenceVariant",
    ]  # fmt: skip
    assert sorted(row[0] for row in fourteen[1:]) == sorted(wanted["series_key"].to_list())


@pytest.mark.acceptance("D66")
def test_aggregates_equal_a_loop(client: Client, sample: warehouse.Warehouse) -> None:
    for table in ("patients", "studies", "series"):
        told = client.get(f"/api/v1/aggregates/{table}").json()
        rows = sample.sql(f"from {table}").pl()
        assert told["count"] == rows.height
        for name in ("study_count", "series_count", "instance_count", "patient_count"):
            if name in rows.columns:
                assert told["columns"][name] == {"min": rows[name].min(), "max": rows[name].max()}
    told = client.get("/api/v1/aggregates/series?Modality=MR").json()
    rows = sample.select("series", {"Modality": "MR"}).pl()
    assert told["columns"]["EchoTime"] == {
        "min": rows["EchoTime"].min(),
        "max": rows["EchoTime"].max(),
    }
    found = client.get("/api/v1/distinct/series/Manufacturer").json()["values"]
    assert found == sample.values("series", "Manufacturer")


def test_a_zip_is_every_file(client: Client, sample: warehouse.Warehouse) -> None:
    ((patient, count),) = sample.sql(
        "select patient_key, instance_count from patients where study_count > 1 order by 2 limit 1"
    ).fetchall()
    answer = client.get(f"/api/v1/patients/{patient}/files.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == len(set(archive.namelist())) == count
        made = sorted(hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist())
    paths = sample.sql(
        "select file_path from instances where patient_key = $p", {"p": patient}
    ).fetchall()
    assert made == sorted(hashlib.sha256(Path(path).read_bytes()).hexdigest() for (path,) in paths)
    two = [
        row[0]
        for row in sample.sql(
            "select series_key from series order by instance_count limit 2"
        ).fetchall()
    ]
    with zipfile.ZipFile(
        io.BytesIO(client.get(f"/api/v1/files.zip?series={','.join(two)}").content)
    ) as archive:
        assert len({name.split("/")[2] for name in archive.namelist()}) == 2
    assert client.get("/api/v1/series/none/files.zip").status_code == 404
    assert client.get("/api/v1/files.zip?series=").status_code == 400
    answer = client.get(f"/api/v1/files.zip?series={two[0]},none")
    assert (answer.status_code, answer.json()["message"]) == (
        404, "series has no such row: 1 of 2 keys",
    )  # fmt: skip


def test_a_series_as_nifti_and_pictures(client: Client, sample: warehouse.Warehouse) -> None:
    ((uid,),) = sample.sql(
        "select series_key from series_geometry where is_volume order by 1 limit 1"
    ).fetchall()
    content = gzip.decompress(client.get(f"/api/v1/series/{uid}/volume.nii.gz").content)
    made = nibabel.Nifti1Image.from_bytes(content)
    volume = sample.volume(uid)
    np.testing.assert_allclose(made.affine, volume.affine_ras[:, [2, 1, 0, 3]], atol=1e-4)
    assert made.shape == volume.shape[::-1]
    assert (
        Image.open(
            io.BytesIO(client.get(f"/api/v1/series/{uid}/picture.png?slice=0").content)
        ).format
        == "PNG"
    )
    assert client.get(f"/api/v1/series/{uid}/planes.png").status_code == 200
    assert client.get(f"/api/v1/series/{uid}/picture.png?slice=100000").status_code == 404
    ((other,),) = sample.sql(
        "select series_key from series where Modality = 'SR' or image_count = 0 limit 1"
    ).fetchall()
    assert client.get(f"/api/v1/series/{other}/volume.nii.gz").status_code == 404


def test_a_header_is_that_of_the_command(client: Client, sample: warehouse.Warehouse) -> None:
    ((key,),) = sample.sql(
        "select instance_key from instances where Modality = 'CT' limit 1"
    ).fetchall()
    told = client.get(f"/api/v1/instances/{key}/header").json()
    assert [tuple(row.values()) for row in told] == sample.header(key).frame().rows()


def ask(client: Client, sql: str, accept: str = "application/json", **parameters: object) -> Any:
    body = json.dumps({"sql": sql, "parameters": parameters})
    return client.post("/api/v1/sql", body, Accept=accept, **{"Content-Type": "application/json"})


def test_sql(client: Client, sample: warehouse.Warehouse) -> None:
    asked = "select Modality, count(*) as n, max(EchoTime) as longest from series where Rows > $rows group by all order by all"
    told = ask(client, asked, rows=64).json()
    rows = sample.sql(asked, {"rows": 64}).fetchall()
    assert told["columns"] == ["Modality", "n", "longest"]
    assert told["rows"] == [list(row) for row in rows]
    answer = ask(client, asked, "application/vnd.apache.arrow.stream", rows=64)
    with pa.ipc.open_stream(answer.content) as stream:
        assert (
            stream.read_all().to_pylist()
            == sample.sql(asked, {"rows": 64}).to_arrow_table().to_pylist()
        )
    assert ask(client, "select 'nan'::double as x, date '2026-01-02' as d").json()["rows"] == [
        [None, "2026-01-02"]
    ]


@pytest.mark.parametrize("sql", [
    "drop table series", "select 1; select 2", "select * from read_csv('/etc/passwd')", "from '/etc/passwd'", "",
    "copy series to '/tmp/x.csv'", "select getenv('HOME')", "attach '/tmp/x'", "set threads = 1", "select $a", "select *", "pragma x",
    "install httpfs", "with a as (insert into series select 1 returning 1) select * from a", "select * from qido_studies",
    f"select {'(' * 2000}1{')' * 2000}", f"select {'- ' * 30_000}1", f"{'select * from (' * 900}series{')' * 900}",
], ids=lambda text: text[:40])  # fmt: skip
def test_sql_that_is_refused(client: Client, sql: str) -> None:
    answer = ask(client, sql)
    assert answer.status_code in {400, 404}, answer.text
    assert set(answer.json()) == {"error", "message"}


def test_bodies_that_are_none(client: Client) -> None:
    for body in (
        "",
        "{",
        "[]",
        '{"sql": 1}',
        '{"sql": "select 1", "more": 1}',
        '{"sql": "select 1", "parameters": {"a": [1]}}',
    ):
        assert (
            client.post("/api/v1/sql", body, **{"Content-Type": "application/json"}).status_code
            == 400
        )
    assert (
        client.post(
            "/api/v1/sql", b"x" * (2 << 20), **{"Content-Type": "application/json"}
        ).status_code
        == 413
    )
    assert (
        client.post(
            "/api/v1/sql", iter([b" " * (1 << 20)] * 3), **{"Content-Type": "application/json"}
        ).status_code
        == 413
    )


@pytest.mark.parametrize("path", [
    "series?limit=0", "series?limit=-1", "series?limit=abc", f"series?limit={10**12}", "series?page_size=0", "series?page_size=99999",
    "series?Nothing=1", "series?Modality__nope=1", "series?EchoTime=x", "series?cursor=abc", "series?cursor=%21", "series?order=Nothing",
    "series?columns=Nothing", "series?format=xml", "studies?format=series_csv", "series_csv?Nothing=1", "series?description=T1", "series?header_fields=1",
    "series?search=" + "x" * 8192, "series?search=%00", "files.zip", "series?cursor=WyJuIl0",
    "series?cursor=WyJuIiwgeyJhIjogMX1d", "series/x/picture.png?slice=-1",
    "distinct/series/Manufacturer?Modality=MR", "distinct/series/Modality?limit=1", "aggregates/series?limit=1",
    "aggregates/series?columns=Rows&order=Rows", "aggregates/series?format=csv", "series_csv?limit=5", "series_csv?format=json",
    "series?search=M%FCller", "aggregates/patients?PatientID=%E9",
    "series?format=csv&page_size=5", "series?format=parquet&cursor=WyJuIl0",
])  # fmt: skip
def test_what_has_no_meaning_is_refused(client: Client, path: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"error", "message"}


def test_a_search_narrows_aggregates_and_the_csv(client: Client) -> None:
    text = "csv_no_row_has_this"
    assert client.get("/api/v1/aggregates/series").json()["count"] > 0
    assert client.get(f"/api/v1/aggregates/series?format=json&search={text}").json()["count"] == 0
    assert len(client.get("/api/v1/series_csv?format=csv").text.splitlines()) > 1
    assert len(client.get(f"/api/v1/series_csv?search={text}").text.splitlines()) == 1


@pytest.mark.parametrize("form", ["json", "csv", "arrow"])
def test_a_column_that_is_named_twice_is_shown_once(client: Client, form: str) -> None:
    path = "/api/v1/series?limit=2&order=Modality,Modality&format=" + form
    once, twice = (
        client.get(f"{path}&columns={names}") for names in ("Modality", "Modality,Modality")
    )
    assert twice.status_code == 200
    assert twice.content == once.content or form == "json"
    if form == "json":
        assert twice.json()["results"] == once.json()["results"]


@pytest.mark.parametrize("value", [
    "date 'infinity'", "timestamp '-infinity'", "date '20000-01-01'", "{'a': date '0001-01-01' - interval 5 year}",
    "'2026-01-02 03:04:05.123456789'::timestamp_ns",
])  # fmt: skip
def test_values_that_python_does_not_have_are_no_lack_of_memory(client: Client, value: str) -> None:
    refused = ask(client, f"select {value} as x")
    assert refused.status_code == 400
    assert "cast it to VARCHAR" in refused.json()["message"]
    assert ask(client, f"select cast({value} as varchar) as x").status_code == 200
    arrow = ask(client, f"select {value} as x", "application/vnd.apache.arrow.stream")
    assert arrow.status_code == 200


def test_a_method_that_an_address_does_not_have(client: Client) -> None:
    for path, method, allowed in (
        ("/api/v1/sql", "GET", "POST"), ("/dicomweb/studies", "DELETE", "GET, HEAD, POST"), ("/api/v1/series", "PUT", "GET, HEAD"), ("/api/v1/sql", "HEAD", "POST"),
    ):  # fmt: skip
        answer = client.session.request(method, client.url + path, timeout=20)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


def test_cohorts_and_runs(client: Client, sample: warehouse.Warehouse) -> None:
    names = [one["name"] for one in client.get("/api/v1/cohorts").json()]
    assert names == list(sample.cohorts())
    runs = [one["run"] for one in client.get("/api/v1/runs").json()]
    assert runs == [one.run for one in sample.runs()]
    assert client.get("/api/v1/runs/none/series").status_code in {400, 404}


def test_the_pages_for_people_and_programs(client: Client) -> None:
    told = client.get("/openapi.json").json()
    assert told["openapi"].startswith("3.1")
    assert "/api/v1/{table}" in told["paths"]
    docs = client.get("/docs")
    assert "/dicomweb/studies" in docs.text
    assert "http://" not in docs.text
    assert "https://" not in docs.text
    assert client.get("/health").json()["status"] == "ok"
    assert client.get("/nothing").status_code == 404


@pytest.mark.acceptance("D71")
def test_what_listeners_have_done_is_told(client: Client, sample: warehouse.Warehouse) -> None:
    spool = sample.root.parent / f"{sample.root.name}-received" / "ARCHIVE"
    spool.mkdir(parents=True, exist_ok=True)
    state = State(
        "ARCHIVE", "127.0.0.1", 11112, str(spool), "2026-11-28T10:00:00+00:00", True, 1, 3, 0, 0, 3,
        None, "2026-11-28T10:00:10+00:00", None,
    )  # fmt: skip
    write_state(spool, state)
    told = client.get("/api/v1/listeners").json()
    assert [(one["aet"], one["port"], one["received"]) for one in told] == [("ARCHIVE", 11112, 3)]
    assert "spool" not in told[0]
