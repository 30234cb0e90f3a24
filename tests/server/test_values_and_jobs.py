"""REST: values and jobs are checked, stored and refused as the Python API does."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import warehouse
from tests.algorithms.conftest import CT, MR, function, template  # noqa: F401 - a fixture
from tests.server.running import Client, running
from warehouse.server.access import add_token


@pytest.fixture(scope="module")
def archive(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A small archive with sockets and two algorithms. Not to be changed: take ``served``."""
    folder = tmp_path_factory.mktemp("asked") / "w"
    shutil.copytree(template, folder)
    wh = warehouse.open(folder)
    wh.algorithms.create("grow", "age -> voxel-count", function=function("by_age"))
    wh.algorithms.create("mean", "scan -> mean-value", function=function("by_age"))
    wh.close()
    return folder


@contextlib.contextmanager
def serving(root: Path, folder: Path) -> Iterator[tuple[Client, warehouse.Warehouse]]:
    """Serve it to a client that may write."""
    wh = warehouse.open(root)
    secret = add_token(folder / "tokens", "station-3", "write")
    with running(wh, tokens=folder / "tokens", audit=folder / "audit") as client:
        client.session.headers["Authorization"] = f"Bearer {secret}"
        yield client, wh


@pytest.fixture
def served(archive: Path, tmp_path: Path) -> Iterator[tuple[Client, warehouse.Warehouse]]:
    """A server over an archive of its own."""
    shutil.copytree(archive, tmp_path / "w")
    with serving(tmp_path / "w", tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def refusing(
    archive: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Client, warehouse.Warehouse]]:
    """One server for everything that is refused: it stays as it is."""
    with serving(archive, tmp_path_factory.mktemp("refusing")) as made:
        yield made


def send(client: Client, path: str, given: Any) -> requests.Response:
    text = given if isinstance(given, str) else json.dumps(given)
    return client.post(f"/api/v1/{path}", text, **{"Content-Type": "application/json"})


def test_a_value_is_said_once(served: tuple[Client, warehouse.Warehouse]) -> None:
    client, wh = served
    said = {"socket": "age", "value": 41, "series": CT, "tool": "reader"}
    first = send(client, "values", said)
    assert first.status_code == 201, first.text
    made = first.json()
    assert (made["is_new"], made["is_new_use"]) == (True, True)
    again = send(client, "values", said | {"by": "reader 2"})
    assert (again.status_code, again.json()["value_id"]) == (200, made["value_id"])
    wh.refresh()
    asked = "select value, series_key, added_by, tool from values_about order by added_at"
    assert wh.sql(asked).fetchall() == [
        ("41", CT, "station-3", "reader"), ("41", CT, "reader 2", "reader"),
    ]  # fmt: skip
    shown = client.get(f"/api/v1/values/{made['value_id']}").json()
    assert (shown["value"], shown["slug"]) == (41, "age")
    assert [use["added_by"] for use in shown["uses"]] == ["station-3", "reader 2"]
    listed = client.get("/api/v1/values?slug=age").json()["results"]
    assert [row["value_id"] for row in listed] == [made["value_id"]]


@pytest.mark.long("test_a_value_is_said_once")
def test_a_value_of_more_than_a_mib_is_stored(served: tuple[Client, warehouse.Warehouse]) -> None:
    client, _ = served
    spots = {"name": "s", "type": "Multiple points", "version": {"major": 1, "minor": 0}}
    # More than a MiB, of few points: each takes as long whatever its name.
    spots["points"] = [{"name": "p" * 100, "point": [n, 2, 3.5]} for n in range(11_000)]
    many = send(client, "values", {"socket": "spots", "value": spots, "series": CT})
    assert many.status_code == 201, many.text
    assert client.get(f"/api/v1/values/{many.json()['value_id']}").json()["value"] == spots


@pytest.mark.parametrize(("given", "status", "error"), [
    ({"socket": "age", "value": "old"}, 400, "ValueRefused"),
    ({"socket": "nothing", "value": 1}, 404, "UnknownSocket"),
    ({"socket": "age", "value": 1, "series": "9.9"}, 400, "ValueRefused"),
    ({"socket": "age", "value": 1, "series": CT, "patient": "P1"}, 400, "UsageError"),
    ({"socket": "age"}, 400, "ValueRefused"),
    ({"socket": "age", "value": 1, "more": 1}, 400, "UsageError"),
    ({"value": 1}, 400, "UsageError"),
    ({"socket": "mask", "value": 1}, 400, "ValueRefused"),
    ('{"socket": "age", "value": NaN}', 400, "UsageError"),
    ('{"socket": "age", "socket": "mode", "value": 1}', 400, "UsageError"),
    ("[1]", 400, "UsageError"), ("{", 400, "UsageError"), ("", 400, "UsageError"),
    ("[" * 5000, 400, "UsageError"), ({"socket": "a\0", "value": 1}, 400, "UsageError"),
], ids=range(15))  # fmt: skip
def test_a_value_that_is_refused(
    refusing: tuple[Client, warehouse.Warehouse], given: Any, status: int, error: str
) -> None:
    client, wh = refusing
    answer = send(client, "values", given)
    assert (answer.status_code, answer.json().get("error")) == (status, error), answer.text
    assert set(answer.json()) == {"error", "message"}
    wh.refresh()
    assert wh.sql("select count(*) from socket_values").fetchall() == [(0,)]


def ask_cancel_and_retry(client: Client) -> str:
    """Ask for a job, cancel it, try it again; return its path."""
    age = send(client, "values", {"socket": "age", "value": 41}).json()["value_id"]
    asked = {"algorithm": "grow", "values": {"age": age}}
    made = send(client, "jobs", asked)
    assert made.status_code == 201, made.text
    job = made.json()
    assert (job["label"], job["created_by"]) == ("Queued", "station-3")
    assert [state["label"] for state in job["states"]] == ["Validating inputs", "Queued"]
    assert [(one["slug"], one["value_id"]) for one in job["inputs"]] == [("age", age)]
    twice = send(client, "jobs", asked)
    assert (twice.status_code, twice.json()["error"]) == (409, "JobRefused")
    path = f"jobs/{job['job_id']}"
    gone = client.session.delete(f"{client.url}/api/v1/{path}", timeout=30)
    assert (gone.status_code, gone.json()["label"]) == (200, "Cancelled")
    over = client.session.delete(f"{client.url}/api/v1/{path}", timeout=30)
    assert (over.status_code, over.json()["error"]) == (409, "TransitionRefused")
    assert send(client, f"{path}/retry", "").json()["label"] == "Re-Queued"
    return path


def test_a_job_is_asked_for_cancelled_and_tried_again(
    served: tuple[Client, warehouse.Warehouse],
) -> None:
    client, _ = served
    ask_cancel_and_retry(client)


@pytest.mark.long("test_a_job_is_asked_for_cancelled_and_tried_again")
def test_a_job_that_was_tried_again_succeeds(served: tuple[Client, warehouse.Warehouse]) -> None:
    client, wh = served
    path = ask_cancel_and_retry(client)
    report = wh.algorithms.run_waiting("grow", workers=0)
    assert report.succeeded == 1
    shown = client.get(f"/api/v1/{path}").json()
    assert shown["label"] == "Succeeded"
    assert [one["slug"] for one in shown["outputs"]] == ["voxel-count"]
    assert "signing_key" not in json.dumps(shown)
    assert client.get("/api/v1/jobs?label=Succeeded").json()["count"] == 1


def test_jobs_of_a_cohort(served: tuple[Client, warehouse.Warehouse]) -> None:
    client, wh = served
    answer = send(client, "jobs", {"algorithm": "mean", "cohort": [CT, MR]})
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"cases": 2, "new": 2, "unmatched": {}}
    assert send(client, "jobs", {"algorithm": "mean", "cohort": [CT]}).json()["new"] == 0
    wh.refresh()
    queued = wh.sql("select series_key from jobs order by 1").fetchall()
    assert queued == [(CT,), (MR,)]


@pytest.mark.parametrize(("given", "status", "error"), [
    ({"algorithm": "none", "values": {"age": "0"}}, 404, "UnknownAlgorithm"),
    ({"algorithm": "grow", "values": {"mode": "0"}}, 400, "ComponentError"),
    ({"algorithm": "grow"}, 400, "UsageError"),
    ({"algorithm": "grow", "values": {"age": "0"}, "cohort": "a"}, 400, "UsageError"),
    ({"algorithm": "grow", "cohort": "nobody"}, 404, "UnknownCohort"),
    ({"algorithm": "grow", "values": {"age": 1}}, 400, "UsageError"),
], ids=range(6))  # fmt: skip
def test_a_job_that_is_refused(
    refusing: tuple[Client, warehouse.Warehouse], given: Any, status: int, error: str
) -> None:
    client, wh = refusing
    answer = send(client, "jobs", given)
    assert (answer.status_code, answer.json().get("error")) == (status, error), answer.text
    wh.refresh()
    assert wh.sql("select count(*) from jobs").fetchall() == [(0,)]


def test_who_may_only_read_changes_nothing(
    served: tuple[Client, warehouse.Warehouse], tmp_path: Path
) -> None:
    client, _ = served
    secret = add_token(tmp_path / "tokens", "reader", "read")
    client.session.headers["Authorization"] = f"Bearer {secret}"
    assert send(client, "values", {"socket": "age", "value": 1}).status_code == 403
    assert send(client, "jobs", {"algorithm": "grow", "cohort": [CT]}).status_code == 403
    assert client.session.delete(f"{client.url}/api/v1/jobs/x", timeout=30).status_code == 403
    assert send(client, "jobs/x/retry", "").status_code == 403
    assert client.get("/api/v1/jobs/nothing").status_code == 404
    assert client.get("/api/v1/values/nothing").status_code == 404
