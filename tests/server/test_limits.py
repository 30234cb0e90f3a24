"""Nothing takes more than it may: time of questions, clients that stand still, bodies, numbers at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

import warehouse
from tests.dicom_files import image, write
from tests.server.running import Client, running
from warehouse.server import limits, lists, search
from warehouse.server.access import add_token

JSON = {"Content-Type": "application/json"}
# On one thread, whatever the machine has.
SLOW = "select sum(range) as x from range(1000000000000)"
PATIENCE = 0.8
STOW = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=here'}


@pytest.fixture
def served(held: warehouse.Warehouse, tmp_path: Path) -> Iterator[Client]:
    """A server with little patience, which takes objects of at most 100 kB."""
    secret = add_token(tmp_path / "tokens", "a", "write")
    with running(
        held, audit=tmp_path / "audit", seconds=PATIENCE, requests=2, body_bytes=100_000, tokens=tmp_path / "tokens",
        received=tmp_path / "got",
    ) as client:  # fmt: skip
        client.session.headers["Authorization"] = f"Bearer {secret}"
        client.secret = secret  # type: ignore[attr-defined]
        yield client


def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lists and searches ask a question before that would take an hour."""
    page, made = lists.page, search.conditions

    def slow_page(catalog: object, *given: object, **named: object) -> object:
        catalog.session().sql(SLOW).fetchall()  # type: ignore[attr-defined]
        return page(catalog, *given, **named)  # type: ignore[arg-type]

    def slow_conditions(*given: object) -> object:
        found = made(*given)  # type: ignore[arg-type]
        found.where.append(f"({SLOW}) > 0")
        return found

    monkeypatch.setattr(lists, "page", slow_page)
    monkeypatch.setattr(search, "conditions", slow_conditions)


def in_time(client: Client, path: str) -> None:
    """Ask until the answer is there; on a busy machine the first one may take too long itself."""
    for _ in range(20):
        if (status := client.get(path).status_code) == 200:
            return
        assert status == 408
    pytest.fail("never in time")


def test_a_list_has_an_end(served: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    in_time(served, "/api/v1/series")
    slowly(monkeypatch)
    ends(lambda: served.get("/api/v1/series"))
    monkeypatch.undo()
    in_time(served, "/api/v1/series")


def ends(ask: Callable[[], requests.Response]) -> None:
    began = time.monotonic()
    answer = ask()
    assert answer.status_code == 408, answer.text
    assert answer.json()["error"] == "TookTooLong"
    assert time.monotonic() - began < 5


@pytest.mark.long("test_a_list_has_an_end")
def test_every_question_has_an_end(served: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL, a list and a search; in each case the thread can be used again."""
    in_time(served, "/api/v1/series")
    slowly(monkeypatch)
    for ask in (
        lambda: served.post("/api/v1/sql", json.dumps({"sql": SLOW}), **JSON),
        lambda: served.get("/api/v1/series"),
        lambda: served.get("/dicomweb/studies"),
    ):
        ends(ask)
    monkeypatch.undo()
    for path in ("/api/v1/series", "/dicomweb/studies"):
        in_time(served, path)


@pytest.mark.parametrize(
    "sql",
    [
        "select len(repeat('x', 3000000000))",
        pytest.param(
            "select len(range(1000000000))",
            marks=pytest.mark.long("test_sql_takes_no_more_memory_than_it_may"),
        ),
    ],
)
def test_sql_takes_no_more_memory_than_it_may(
    held: warehouse.Warehouse, tmp_path: Path, sql: str
) -> None:
    """DuckDB's own limit does not count the bytes of a value: the first took 12 GB of the server."""
    with running(held, audit=tmp_path / "audit", sql_memory_bytes=1 << 28) as client:
        answer = client.post("/api/v1/sql", json.dumps({"sql": sql}), **JSON)
        assert (answer.status_code, answer.json()["error"]) == (400, "QueryFailed"), answer.text
        assert "memory" in answer.json()["message"]
        counted = json.dumps({"sql": "select count(*) from series"})
        assert client.post("/api/v1/sql", counted, **JSON).json()["rows"] == [[1]]


def test_an_answer_is_refused_rather_than_cut_off(
    held: warehouse.Warehouse, tmp_path: Path
) -> None:
    with running(held, audit=tmp_path / "audit", answer_rows=3, answer_bytes=2000) as client:
        for sql, status in (
            ("from range(3)", 200), ("from range(4)", 400), ("select repeat('x', 1000)", 200), ("select repeat('x', 3000)", 400),
        ):  # fmt: skip
            for accept in ("application/json", "application/vnd.apache.arrow.stream"):
                answer = client.post(
                    "/api/v1/sql",
                    json.dumps({"sql": f"select * from ({sql})"}),
                    Accept=accept,
                    **JSON,
                )
                assert answer.status_code == status, (sql, answer.text)


def test_questions_after_the_time_is_over_are_not_asked(held: warehouse.Warehouse) -> None:
    sessions = limits.BoundedSessions(held.catalog.sessions)

    def ask_late() -> None:
        with limits.within(0.01):
            sessions.of_thread().execute("select 1")
            time.sleep(0.02)
            sessions.of_thread()

    with pytest.raises(limits.TookTooLong):
        ask_late()
    with limits.within(0.01), limits.unbounded():
        time.sleep(0.02)
        assert sessions.begin().execute("select 1").fetchall() == [(1,)]
    assert sessions.of_thread().execute("select 1").fetchall() == [(1,)]


def connected(client: Client) -> socket.socket:
    host, _, port = client.url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def ended(connection: socket.socket) -> bytes:
    """Return what comes until the other side ends the connection."""
    seen = b""
    try:
        while piece := connection.recv(65536):
            seen += piece
    except ConnectionResetError:
        pass
    return seen


@pytest.fixture
def large(tmp_path: Path) -> warehouse.Warehouse:
    """A warehouse of one instance of 32 MiB, more than the system keeps for a peer."""
    pixels = os.urandom(1 << 25)
    write(
        tmp_path / "large" / "a.dcm",
        image("1.1", Rows=4096, Columns=4096, NumberOfFrames=2, PixelData=pixels),
    )
    made = warehouse.open(tmp_path / "large-w", create=True)
    made.ingest(tmp_path / "large", workers=1)
    return made


def test_a_client_that_does_not_read_is_let_go(large: warehouse.Warehouse, tmp_path: Path) -> None:
    path = "/dicomweb/studies/1.2.1/series/1.2.1.1/instances/1.1"
    asked = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/dicom\r\n\r\n".encode()
    with running(large, audit=tmp_path / "audit", seconds=PATIENCE, requests=1) as client:
        with connected(client) as connection:
            connection.sendall(asked)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            # It stands still: its place is free again after a while.
            assert client.get("/dicomweb/nothing").status_code == 503
            deadline = time.monotonic() + 10
            while client.get("/dicomweb/nothing").status_code == 503:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            # What the system has taken still comes.
            assert len(ended(connection)) < 1 << 25
        with connected(client) as connection:
            connection.sendall(asked)
            seen = len(connection.recv(1 << 16))
            # Slow, but not still, for longer than it may stand still.
            for _ in range(10):
                time.sleep(PATIENCE / 5)
                seen += len(connection.recv(1 << 16))
            while piece := connection.recv(1 << 20):
                seen += len(piece)
                if seen > 1 << 25:
                    break
            assert seen > 1 << 25
        assert "Traceback" not in (tmp_path / "audit").read_text()


@pytest.mark.parametrize(("sent", "status"), [
    (b"", None), (b"GET /health HT", None),
    (b"POST /api/v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n", 408),
    (b"POST /dicomweb/studies HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
     + f"Content-Type: {STOW['Content-Type']}\r\n".encode(), 408),
], ids=["nothing", "half a line", "no body", "no objects"])  # fmt: skip
def test_a_client_that_does_not_go_on_is_let_go(
    served: Client, tmp_path: Path, sent: bytes, status: int | None
) -> None:
    with connected(served) as connection:
        if status:
            sent += f"Authorization: Bearer {served.secret}\r\nContent-Type: application/json\r\n\r\n".encode()  # type: ignore[attr-defined]
            sent += b"5\r\n\r\n--h\r\n" if b"chunked" in sent else b"{"
        connection.sendall(sent)
        answer = ended(connection)
    assert answer == b"" if status is None else answer.startswith(f"HTTP/1.1 {status}".encode())
    assert not [path for path in (tmp_path / "got").rglob("*") if path.is_file()]


def test_a_header_without_end_is_refused(served: Client) -> None:
    """RFC 6585 5; nobody has shown a token yet. The system holds some megabytes of what is sent."""
    host = urlsplit(served.url)
    for begin in (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"GET /?a="):
        with socket.create_connection((host.hostname, host.port), timeout=20) as connection:
            sent, told = 0, b""
            with contextlib.suppress(ConnectionError):
                connection.sendall(begin)
                while sent < 1 << 26:
                    connection.sendall(b"x" * 65536)
                    sent += 65536
            with contextlib.suppress(ConnectionError):
                told = connection.recv(100)
            assert sent < 1 << 25
            assert told.startswith(b"HTTP/1.1 431") or not told
    long = {f"X-{number}": "y" * 8000 for number in range(8)}
    assert served.get("/health", **long).status_code == 200


def test_one_more_than_are_answered_at_a_time_is_told_to_come_back(
    held: warehouse.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, page, found = threading.Barrier(3), lists.page, list[int]()

    def waits(*given: Any, **named: Any) -> Any:
        asked.wait(20)
        asked.wait(20)
        return page(*given, **named)

    monkeypatch.setattr(lists, "page", waits)
    with running(held, audit=tmp_path / "audit", requests=2) as client:

        def ask() -> None:
            found.append(Client(client.url).get("/api/v1/studies").status_code)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        asked.wait(20)
        answer = client.get("/api/v1/studies")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        asked.wait(20)
        for thread in threads:
            thread.join(20)
        assert found == [200, 200]


@pytest.mark.long("test_one_more_than_are_answered_at_a_time_is_told_to_come_back")
def test_so_many_are_answered_at_a_time(served: Client) -> None:
    """Two that take all their time: the third one is told to come back, and may do so afterwards."""
    in_time(served, "/api/v1/studies")
    found: list[int] = []

    def ask() -> None:
        mine = Client(served.url)
        mine.session.headers.update(served.session.headers)
        found.append(mine.post("/api/v1/sql", json.dumps({"sql": SLOW}), **JSON).status_code)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    answer = served.get("/api/v1/studies")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    for thread in threads:
        thread.join(20)
    assert found == [408, 408]
    in_time(served, "/api/v1/studies")


def test_no_body_is_longer_than_it_may_be(served: Client, tmp_path: Path) -> None:
    """Stated or not: nothing of it is kept."""
    head = b"\r\n--here\r\nContent-Type: application/dicom\r\n\r\n"
    body = head + bytes(200_000) + b"\r\n--here--\r\n"
    for sent in (body, iter([body[at : at + 10_000] for at in range(0, len(body), 10_000)])):
        answer = served.post("/dicomweb/studies", sent, **STOW)
        assert answer.status_code == 413, answer.text
    assert not [path for path in (tmp_path / "got").rglob("*") if path.is_file()]
