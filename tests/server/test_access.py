"""Who may ask: tokens, roles, hosts, limits, and versions that come while others are read."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import types
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

import warehouse
from tests.command_line import run
from tests.dicom_files import image, write
from tests.server.running import Client, running
from warehouse.errors import CannotListen, UsageError
from warehouse.server import asking, questions
from warehouse.server.access import Gate, add_token, read_tokens, revoke_token
from warehouse.server.serve import check, make_server, serve
from warehouse.server.settings import ServerSettings


@pytest.fixture
def guarded(held: warehouse.Warehouse, tmp_path: Path) -> Iterator[tuple[Client, dict[str, str]]]:
    """A server with a token of each role."""
    secrets = {
        role: add_token(tmp_path / "tokens", f"a-{role}", role)
        for role in ("read", "write", "deidentified")
    }
    with running(held, tokens=tmp_path / "tokens", audit=tmp_path / "audit") as client:
        yield client, secrets


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


NO_TOKENS = (
    {},
    bearer("wrong"),
    {"Authorization": "Basic eA=="},
    {"Authorization": "Basic \xff"},
    {"Authorization": "Nonsense"},
)


def require_refused(client: Client, method: str, path: str, headers: dict[str, str]) -> None:
    address = re.sub(r"\{\w+\}", "1", path)
    answer = client.session.request(method, client.url + address, headers=headers, timeout=20)
    assert answer.status_code == 401, address
    assert "Bearer" in answer.headers["WWW-Authenticate"]


@pytest.mark.long("test_without_a_token_nothing_is_told")
def test_without_a_token_nothing_is_told_whatever_is_sent_instead(
    guarded: tuple[Client, dict[str, str]],
) -> None:
    client, _ = guarded
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        for method in operations:
            for headers in NO_TOKENS:
                require_refused(client, method, path, headers)


@pytest.mark.acceptance("W6")
@pytest.mark.acceptance("D70")
def test_without_a_token_nothing_is_told(
    guarded: tuple[Client, dict[str, str]], tmp_path: Path
) -> None:
    client, secrets = guarded
    told = client.get("/openapi.json").json()
    # Every operation with one thing that is no token, and one operation with all of these.
    for number, (path, operations) in enumerate(told["paths"].items()):
        for method in operations:
            require_refused(client, method, path, NO_TOKENS[number % len(NO_TOKENS)])
    for headers in NO_TOKENS:
        require_refused(client, "GET", "/api/v1/studies", headers)
    for path in (
        "/api/v1/studies",
        "/api/v1/studies/1.2.1",
        "/api/v1/aggregates/studies",
        "/dicomweb/studies",
    ):
        assert client.get(path, **bearer(secrets["read"])).status_code == 200
    basic = base64.b64encode(f"a-read:{secrets['read']}".encode()).decode()
    assert client.get("/api/v1/studies", Authorization=f"Basic {basic}").status_code == 200
    other = base64.b64encode(f"a-write:{secrets['read']}".encode()).decode()
    assert client.get("/api/v1/studies", Authorization=f"Basic {other}").status_code == 401
    assert client.get("/health").status_code == 200
    # A token that is taken away is refused by the server that runs.
    revoke_token(tmp_path / "tokens", "a-read")
    assert client.get("/api/v1/studies", **bearer(secrets["read"])).status_code == 401
    lines = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    assert {line["who"] for line in lines} == {None, "a-read"}
    assert all(secret not in (tmp_path / "audit").read_text() for secret in secrets.values())


def require_no_identity(client: Client, headers: dict[str, str], table: str) -> None:
    """Require one row, without what identifies the patient, as JSON and in another form."""
    answer = client.get(f"/api/v1/{table}", **headers)
    assert answer.status_code == 200
    assert not re.search('Doe|Jane|P1|"1[.]1|"1[.]2[.]1"|1[.]2[.]1[.]1"', answer.text)
    assert answer.json()["count"] == 1
    for form in ("csv", "parquet"):
        content = client.get(f"/api/v1/{table}?format={form}", **headers).content
        assert not any(secret in content for secret in (b"Doe", b"P1", b"1.2.1.1"))


def test_who_is_shown_no_identity_has_pseudonyms_alone(
    guarded: tuple[Client, dict[str, str]],
) -> None:
    client, secrets = guarded
    headers = bearer(secrets["deidentified"])
    require_no_identity(client, headers, "patients")
    for path in (
        "/dicomweb/studies",
        "/api/v1/files",
        "/api/v1/series/1.2.1.1/files.zip",
        "/api/v1/patients?PatientID=P1",
        "/api/v1/series?search=Doe",
        "/api/v1/series?columns=SeriesInstanceUID",
        "/api/v1/instances/1.1/header",
    ):
        assert client.get(path, **headers).status_code == 403, path


@pytest.mark.long("test_who_is_shown_no_identity_has_pseudonyms_alone")
def test_who_is_shown_no_identity(guarded: tuple[Client, dict[str, str]]) -> None:
    client, secrets = guarded
    headers = bearer(secrets["deidentified"])
    for table in ("patients", "studies", "series", "instances", "images"):
        require_no_identity(client, headers, table)
    assert (
        client.get("/api/v1/series?Modality=CT", **headers).json()["results"][0]["Modality"] == "CT"
    )
    assert client.get("/api/v1/aggregates/series", **headers).json()["columns"][
        "instance_count"
    ] == {"min": 1, "max": 1}
    for path in (
        "/dicomweb/studies", "/api/v1/files", "/api/v1/series/1.2.1.1", "/api/v1/series/1.2.1.1/files.zip",
        "/api/v1/patients?PatientID=P1", "/api/v1/series?search=Doe", "/api/v1/series?order=PatientID", "/api/v1/cohorts",
        "/api/v1/series?columns=SeriesInstanceUID", "/api/v1/aggregates/studies?StudyDate__min=20200101", "/api/v1/series?-PatientName=x",
        "/api/v1/distinct/patients/PatientName", "/api/v1/series?cursor=x", "/api/v1/series_csv",
        "/api/v1/instances/1.1/header", "/api/v1/values", "/api/v1/series?modality=CT&uid=1",
    ):  # fmt: skip
        assert client.get(path, **headers).status_code == 403, path
    body = json.dumps({"sql": "select 1"})
    assert (
        client.post(
            "/api/v1/sql", body, **headers, **{"Content-Type": "application/json"}
        ).status_code
        == 403
    )


def test_a_file_of_tokens_keeps_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "w.tokens.json"
    done = run("token", "add", "viewer", "--role", "read", "-w", str(tmp_path / "w"))
    secret = done.stdout.strip()
    assert len(secret) > 40
    assert secret not in path.read_text()
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert run("token", "list", "-w", str(tmp_path / "w")).stdout.startswith("viewer  read  20")
    assert run("token", "add", "viewer", "-w", str(tmp_path / "w")).returncode == 2
    assert run("token", "add", "../x", "-w", str(tmp_path / "w")).returncode == 2
    assert run("token", "revoke", "nobody", "-w", str(tmp_path / "w")).returncode == 2
    assert run("token", "revoke", "viewer", "-w", str(tmp_path / "w")).returncode == 0
    assert read_tokens(path) == []
    path.write_text("{}")
    with pytest.raises(UsageError, match="is not a token file"):
        read_tokens(path)


def test_a_server_does_not_start_without_the_token_file_it_is_given(tmp_path: Path) -> None:
    made = run("serve", "-w", str(tmp_path / "w"), "--tokens", str(tmp_path / "tokne.json"))
    assert made.returncode == 2
    assert "tokne.json does not exist; create a token with" in made.stderr


def test_other_machines_need_tokens(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="token add"):
        check(ServerSettings(host="0.0.0.0", tokens=tmp_path / "none"))
    add_token(tmp_path / "some", "a", "read")
    check(ServerSettings(host="0.0.0.0", tokens=tmp_path / "some"))
    # A proxy lets others ask a server that listens here only.
    public = "https://archive.example.org"
    with pytest.raises(UsageError, match=r"archive\.example\.org can be reached"):
        check(ServerSettings(tokens=tmp_path / "none", public_url=public))
    check(ServerSettings(tokens=tmp_path / "some", public_url=public))
    check(ServerSettings(tokens=tmp_path / "none", public_url="http://localhost:9"))
    with pytest.raises(UsageError, match="both"):
        check(ServerSettings(certificate=tmp_path / "c"))
    with pytest.raises(UsageError, match=r"cannot be used: No such file"):
        check(ServerSettings(certificate=tmp_path / "c", key=tmp_path / "k"))
    (tmp_path / "c").write_text("no certificate")
    with pytest.raises(UsageError, match="not a PEM certificate"):
        check(ServerSettings(certificate=tmp_path / "c", key=tmp_path / "c"))


def test_a_port_that_is_taken_is_an_error(
    held: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setattr("logging.basicConfig", lambda **_: None)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port}.*another --port"):
            serve(held, ServerSettings(port=port))


def test_a_port_that_clients_cannot_know_is_refused(held: warehouse.Warehouse) -> None:
    done = run("serve", "-w", held.root, "--port", 0)
    assert (done.returncode, "from 1 to 65535" in done.stderr) == (2, True)


def test_who_asks_through_a_proxy_needs_a_token(client: Client) -> None:
    """nginx says for whom it asks, as docs/how-to/serve.md sets it up; 203.0.113.7 is of RFC 5737."""
    for path in ("/api/v1/studies", "/dicomweb/studies?limit=1"):
        for given, status in (
            ("203.0.113.7", 401),
            ("2001:db8::7", 401),
            ("x", 401),
            ("127.0.0.1", 200),
        ):
            assert client.get(path, **{"X-Forwarded-For": given}).status_code == status, given


def test_a_proxy_at_either_loopback_address_is_believed(held: warehouse.Warehouse) -> None:
    """`serve --host ::1` has a proxy at ::1; else everyone whom it asks for would appear local."""
    trusted = make_server(held, ServerSettings(host="::1")).config.forwarded_allow_ips
    assert {"127.0.0.1", "::1"} <= {*str(trusted).split(",")}


def test_a_spoilt_file_of_tokens_lets_nobody_in(
    guarded: tuple[Client, dict[str, str]], tmp_path: Path
) -> None:
    client, secrets = guarded
    good = (tmp_path / "tokens").read_text()
    for spoilt in ("{", '{"tokens": [{"name": "x"}]}', good.replace('"read"', '"everything"')):
        (tmp_path / "tokens").write_text(spoilt)
        for headers in ({}, bearer(secrets["read"])):
            assert client.get("/api/v1/studies", **headers).status_code == 401
    (tmp_path / "tokens").unlink()
    assert client.get("/api/v1/studies").status_code == 401
    (tmp_path / "tokens").write_text(good)
    assert client.get("/api/v1/studies", **bearer(secrets["read"])).status_code == 200
    # Moved away and back, the file has the same inode, size and time.
    (tmp_path / "tokens").rename(tmp_path / "aside")
    assert client.get("/api/v1/studies", **bearer(secrets["read"])).status_code == 401
    assert client.get("/api/v1/studies").status_code == 401
    (tmp_path / "aside").rename(tmp_path / "tokens")
    assert client.get("/api/v1/studies", **bearer(secrets["read"])).status_code == 200
    (tmp_path / "other").write_text("{")
    with pytest.raises(UsageError, match="is not a token file"):
        Gate(tmp_path / "other")


@pytest.mark.long("test_a_head_of_few_answers_is_theirs")
def test_a_head_is_that_of_the_answer(client: Client) -> None:
    (series, *_) = client.get("/dicomweb/series?limit=1").json()
    (address,) = series["00081190"]["Value"]
    place = address.removeprefix(client.url)
    require_heads(
        client, "/health", "/", "/openapi.json", "/api/v1/series", "/api/v1/series?format=csv",
        "/dicomweb/studies", f"{place}/metadata", place, "/api/v1/nothing",
        "/api/v1/series?limit=0", "/dicomweb/studies/9/metadata",
    )  # fmt: skip
    etag = client.get("/dicomweb/studies").headers["ETag"]
    head = client.session.head(
        f"{client.url}/dicomweb/studies", headers={"If-None-Match": etag}, timeout=20
    )
    assert head.status_code == 304


def test_a_head_of_few_answers_is_theirs(held: warehouse.Warehouse, tmp_path: Path) -> None:
    with running(held, audit=tmp_path / "audit") as client:
        require_heads(client, "/health", "/dicomweb/studies", "/dicomweb/studies/9/metadata")


def require_heads(client: Client, *paths: str) -> None:
    """RFC 9110 9.3.2: what GET answers, without the content; a stream is not made for it."""
    for path in paths:
        whole = client.get(path)
        head = client.session.head(f"{client.url}{path}", timeout=20)
        assert (head.status_code, head.content) == (whole.status_code, b""), path
        for name in ("Content-Type", "Content-Length", "ETag", "X-Warehouse-Version"):
            shown, there = (
                one.headers.get(name, "").partition("boundary=")[0] for one in (head, whole)
            )
            assert shown == there, (path, name)


def test_an_answer_is_made_again_when_it_could_be_another_one(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9110 13.2.1: what would not be a success is not 304; `during=today` is another day tomorrow."""
    for path, status in (("/dicomweb/studies/9/metadata", 404), ("/dicomweb/studies?limit=0", 400)):
        assert client.get(path, **{"If-None-Match": "*"}).status_code == status
    path = "/api/v1/series?SeriesDate__during=today"
    given = {"If-None-Match": client.get(path).headers["ETag"]}
    assert client.get(path, **given).status_code == 304

    class Tomorrow(dt.date):
        @classmethod
        def today(cls) -> dt.date:  # type: ignore[override]
            return dt.date.today() + dt.timedelta(days=1)  # noqa: DTZ011

    monkeypatch.setattr(asking, "dt", types.SimpleNamespace(date=Tomorrow))
    assert client.get(path, **given).status_code == 200


def test_the_audit_log_says_which_studies_were_taken(
    guarded: tuple[Client, dict[str, str]], tmp_path: Path
) -> None:
    """Of a series by its UID, of a patient by the studies: a PatientID is a value of a header."""
    client, secrets = guarded
    for path in (
        "series/1.2.1.1/files.zip", "files.zip?series=1.2.1.1", "patients/P1/files.zip", "patients/P1",
        "studies/1.2.1", "instances/1.1/header", "series/1.2.1.1/volume.nii.gz",
    ):  # fmt: skip
        assert client.get(f"/api/v1/{path}", **bearer(secrets["read"])).status_code in {200, 409}, (
            path
        )
    # A line is written when its answer has been sent, which the client may know before.
    ends = time.monotonic() + 10
    while (text := (tmp_path / "audit").read_text()).count("\n") < 7 and time.monotonic() < ends:
        time.sleep(0.01)
    assert "P1" not in text
    uids = [
        {name: line[name] for name in ("study", "series", "instance", "studies") if name in line}
        for line in map(json.loads, text.splitlines())
    ]
    taken = {"studies": ["1.2.1"]}
    assert uids == [
        {"series": "1.2.1.1", **taken}, taken, taken, {}, {"study": "1.2.1"}, {"instance": "1.1"}, {"series": "1.2.1.1"},
    ]  # fmt: skip


def test_keys_with_slashes_have_addresses(held: warehouse.Warehouse, tmp_path: Path) -> None:
    """A PatientID is any text (LO); `/` and a `%2F` that is meant as such are different patients."""
    known = ["A/1", "A%2F1", "../../x", "100 % ?#"]
    for number, key in enumerate(known):
        made = image(f"1.1.{number}", PatientID=key, StudyInstanceUID=f"1.7.{number}")
        write(tmp_path / "more" / f"{number}.dcm", made)
    held.ingest(tmp_path / "more", workers=1)
    with running(held, audit=tmp_path / "audit") as client:
        for number, key in enumerate(known):
            place = f"/api/v1/patients/{quote(key, safe='')}"
            assert client.get(place).json()["PatientID"] == key
            (name,) = zipfile.ZipFile(
                io.BytesIO(client.get(f"{place}/files.zip").content)
            ).namelist()
            assert name.endswith(f"1.1.{number}.dcm")
            assert ".." not in Path(name).parts
        assert client.get("/api%2Fv1/patients").status_code == 404
        assert client.get("/api/v1/patients/A%2F2").status_code == 404


def test_a_page_elsewhere_cannot_name_this_server(client: Client) -> None:
    """DNS rebinding: a name of theirs that leads to 127.0.0.1."""
    assert client.get("/api/v1/studies", Host="evil.example.org").status_code == 400
    assert client.get("/dicomweb/studies?limit=1", Host="localhost:1").status_code == 200
    for host in ("[", "]", "[::1", "[x]:1", "a]b"):
        refused = client.get("/api/v1/studies", Host=host)
        assert (refused.status_code, refused.json()["error"]) == (400, "UsageError")


def test_a_version_that_comes_is_shown(held: warehouse.Warehouse, tmp_path: Path) -> None:
    with running(held, audit=tmp_path / "audit") as client:
        first = client.get("/dicomweb/instances")
        given = {"If-None-Match": first.headers["ETag"]}
        assert client.get("/dicomweb/instances", **given).status_code == 304
        held.ingest(write(tmp_path / "2.dcm", image("1.1.2")), workers=1)
        last = client.get("/dicomweb/instances", **given)
    assert (last.status_code, len(first.json()), len(last.json())) == (200, 1, 2)
    assert last.headers["X-Warehouse-Version"] != first.headers["X-Warehouse-Version"]


@pytest.mark.long("test_a_version_that_comes_is_shown")
@pytest.mark.acceptance("W7")
def test_a_new_version_is_shown_and_old_answers_go_on(
    held: warehouse.Warehouse, tmp_path: Path
) -> None:
    """Eight clients ask while instances come: every answer is of one version, none fails."""
    with running(held, audit=tmp_path / "audit") as client:
        first = client.get("/dicomweb/instances")
        etag = first.headers["ETag"]
        assert client.get("/dicomweb/instances", **{"If-None-Match": etag}).status_code == 304
        stop, seen, wrong = threading.Event(), set[tuple[str, int, int]](), list[str]()

        def ask() -> None:
            mine = Client(client.url)
            while not stop.is_set():
                rows = mine.get("/dicomweb/instances")
                told = mine.get("/api/v1/aggregates/studies")
                for answer in (rows, told):
                    if answer.status_code != 200:
                        wrong.append(answer.text)
                count = told.json()["columns"]["instance_count"]["max"]
                seen.add((rows.headers["X-Warehouse-Version"], len(rows.json()), -1))
                seen.add((told.headers["X-Warehouse-Version"], count, -1))
                stop.wait(0.25)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for number in range(2, 4):
            write(tmp_path / "in" / f"{number}.dcm", image(f"1.1.{number}"))
            held.ingest(tmp_path / "in", workers=1)
        last = client.get("/dicomweb/instances")
        stop.set()
        for thread in threads:
            thread.join(30)
        assert not wrong
        assert len(last.json()) == 3
        assert last.headers["ETag"] != etag
        # A version has one number of instances, whoever asks.
        assert len({version for version, *_ in seen}) == len(seen)


@pytest.mark.parametrize("given", [{"requests": 0}, {"requests": -1}, {"body_bytes": 0}])
def test_a_server_that_would_refuse_everything_is_refused(given: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="must be at least 1"):
        ServerSettings(**given)  # type: ignore[arg-type]


def test_too_many_at_a_time(
    held: warehouse.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if another request were always running.
    monkeypatch.setattr(ServerSettings, "__post_init__", lambda _: None)
    with running(held, audit=tmp_path / "audit", requests=0) as client:
        answer = client.get("/api/v1/studies")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        # Nobody needs a token for a page: who reads pages slowly takes no place.
        assert [client.get(path).status_code for path in ("/", "/health", "/docs")] == [200] * 3


def test_questions_that_wait_keep_nobody_else_waiting(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More questions than there are threads (40 of anyio), of which none has its turn."""
    monkeypatch.setattr(questions, "_SLOTS", threading.Semaphore(0))
    monkeypatch.setattr(questions, "_WAIT_SECONDS", 0.2)
    told = []

    def ask() -> None:
        asked = Client(client.url).post(
            "/api/v1/sql", '{"sql": "select 1"}', **{"Content-Type": "application/json"}
        )
        told.append((asked.status_code, asked.json()["error"]))

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    assert client.get("/api/v1/studies").status_code == 200
    for thread in threads:
        thread.join(30)
    assert told == [(503, "Busy")] * 50


SLOW = json.dumps({"sql": "select sum(range) as x from range(1000000000000)"})


def test_a_question_is_stopped(held: warehouse.Warehouse, tmp_path: Path) -> None:
    with running(held, audit=tmp_path / "audit", seconds=0.1) as client:
        answer = client.post("/api/v1/sql", SLOW, **{"Content-Type": "application/json"})
        assert answer.status_code == 408
        assert client.get("/health").status_code == 200


@pytest.mark.long("test_a_question_is_stopped")
def test_a_question_that_takes_too_long_is_stopped(
    held: warehouse.Warehouse, tmp_path: Path
) -> None:
    with running(held, audit=tmp_path / "audit", seconds=1) as client:
        answer = client.post("/api/v1/sql", SLOW, **{"Content-Type": "application/json"})
        assert answer.status_code == 408
        assert client.get("/api/v1/studies").status_code == 200


def test_an_error_nobody_expected_says_no_value(
    held: warehouse.Warehouse, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with running(held, audit=tmp_path / "audit") as client:
        assert client.get("/api/v1/studies").status_code == 200
        for part in (tmp_path / "w" / "instances").rglob("*.parquet"):
            part.chmod(0o600)
            part.write_bytes(b"x" * 100)
        answer = client.get("/api/v1/instances?PatientName=SecretName")
        assert answer.status_code == 500, answer.text
        assert answer.json()["message"]
    assert "Secret" not in answer.text + capfd.readouterr().err + (tmp_path / "audit").read_text()


def test_the_command_serves_until_it_is_stopped(held: warehouse.Warehouse, tmp_path: Path) -> None:
    """Once as a process: over TLS, with a certificate of its own."""
    pem = tmp_path / "pem"
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{pem}.key", "-out", str(pem)],
        check=True, capture_output=True,
    )  # fmt: skip
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-c",
        "from warehouse.cli import main; main()",
        "serve",
        "-w",
        str(held.root),
        "--port",
        str(port),
        "--certificate",
        str(pem),
        "--key",
        f"{pem}.key",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        client = Client(f"https://127.0.0.1:{port}")
        client.session.verify = str(pem)
        for _ in range(300):
            try:
                answer = client.get("/api/v1/studies")
                break
            except OSError:
                assert process.poll() is None
                threading.Event().wait(0.1)
        assert answer.json()["count"] == 1
        # The client keeps its connection, and says nothing more.
        stopped = time.monotonic()
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert time.monotonic() - stopped < 5
    assert process.returncode in {0, 143}
    assert f"https://127.0.0.1:{port}/" in said
    assert "Traceback" not in said
