"""Schemathesis, which makes requests of the description of the service, finds nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import warehouse
from tests.server.running import Client, running
from warehouse.server.access import add_token

# No schema says which texts are SQL, which values a socket takes, which jobs an algorithm has.
UNKNOWN = "".join(
    f'[[operations]]\ninclude-path = "{path}"\n[operations.checks]\npositive_data_acceptance.enabled = false\n'
    for path in ("/api/v1/sql", "/api/v1/values", "/api/v1/jobs")
)
LONG = ("--max-examples", "10")
# Of the bodies: those of values and jobs are refused one by one in `test_values_and_jobs`.
SHORT = ("--phases", "examples,coverage", "--max-examples", "1", "--include-path-regex", "sql")  # fmt: skip


def attacked(client: Client, folder: Path, *given: str) -> None:
    """Run it against a server; every answer is what the description says, and none is a 5xx."""
    program = shutil.which("schemathesis", path=os.path.dirname(sys.executable))
    if program is None:
        pytest.skip("schemathesis is not installed")
    (folder / "schemathesis.toml").write_text(UNKNOWN)
    done = subprocess.run(
        [program, "run", f"{client.url}/openapi.json", "--generation-deterministic", "--no-color", *given],
        capture_output=True, text=True, check=False, timeout=900, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.acceptance("W6")
def test_bodies_get_answers_of_the_description(held: warehouse.Warehouse, tmp_path: Path) -> None:
    """A few of those that Schemathesis makes, without its program."""
    secret = add_token(tmp_path / "tokens", "fuzz", "write")
    with running(held, tokens=tmp_path / "tokens", audit=tmp_path / "audit") as client:
        client.session.headers["Authorization"] = f"Bearer {secret}"
        described = client.get("/openapi.json").json()["paths"]["/api/v1/sql"]["post"]["responses"]
        for body, status in (
            ({"sql": "select 1"}, 200), ({"sql": ""}, 400), ({"sql": 1}, 400), ({}, 400),
            ([], 400), (None, 400), ({"sql": "select 1", "more": 1}, 400), (b"\xff", 400),
        ):  # fmt: skip
            data = body if isinstance(body, bytes) else json.dumps(body)
            answer = client.post("/api/v1/sql", data, **{"Content-Type": "application/json"})
            assert answer.status_code == status, (body, answer.text)
            assert str(status) in described
            assert answer.headers["Content-Type"] in described[str(status)]["content"]
        assert client.get("/api/v1/sql").status_code == 405


@pytest.mark.acceptance("W6")
@pytest.mark.parametrize("form", [
    pytest.param(SHORT, marks=pytest.mark.long("test_bodies_get_answers_of_the_description")),
    pytest.param(LONG, marks=pytest.mark.slow),
], ids=["short", "long"])  # fmt: skip
def test_who_may_write_finds_nothing(
    held: warehouse.Warehouse, tmp_path: Path, form: tuple[str, ...]
) -> None:
    secret = add_token(tmp_path / "tokens", "fuzz", "write")
    with running(held, tokens=tmp_path / "tokens", audit=tmp_path / "audit") as client:
        attacked(client, tmp_path, *form, "-H", f"Authorization: Bearer {secret}")


@pytest.mark.slow
def test_who_may_read_finds_nothing(sample: warehouse.Warehouse, tmp_path: Path) -> None:
    secret = add_token(tmp_path / "tokens", "fuzz", "read")
    with running(sample, tokens=tmp_path / "tokens", audit=tmp_path / "audit") as client:
        attacked(client, tmp_path, *LONG, "-H", f"Authorization: Bearer {secret}")


@pytest.mark.slow
def test_nobody_finds_anything(held: warehouse.Warehouse, tmp_path: Path) -> None:
    """Without a token: 401 everywhere, as described; ``test_access`` is the short form."""
    add_token(tmp_path / "tokens", "somebody", "read")
    with running(held, tokens=tmp_path / "tokens", audit=tmp_path / "audit") as client:
        attacked(
            client, tmp_path, *LONG, "--exclude-checks", "positive_data_acceptance",
        )  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    # 400: what is no request at all.
    assert {401} <= {line["status"] for line in lines} <= {400, 401, 413}
