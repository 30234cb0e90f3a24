"""`serve --listen`: server and listener in one process, as docs/how-to/serve.md runs them."""

from __future__ import annotations

import configparser
import contextlib
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from pydicom import dcmread

import warehouse
from tests.command_line import COMMAND, run
from tests.dicom_files import write
from tests.server.running import Client, running
from warehouse.server import viewer
from warehouse.server.access import add_token

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")


def unit() -> configparser.ConfigParser:
    (text,) = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    made = configparser.ConfigParser(interpolation=None)
    made.optionxform = str  # type: ignore[assignment, method-assign]
    made.read_string(text)
    return made


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def service(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Client, int]]:
    """Run the command of the unit with folders of a test; yield it, a client, the DICOM port."""
    words = shlex.split(unit()["Service"]["ExecStart"])
    assert words[0].endswith("/bin/dicom-warehouse")
    places = {
        "/srv/archive": folder / "w", "/srv/received": folder / "got",
        "/var/log/dicom-warehouse/audit.jsonl": folder / "audit",
    }  # fmt: skip
    given = [str(places.get(word, word)) for word in words[1:]]
    assert given[given.index("--listen") + 1] == "11112"
    given[given.index("--listen") + 1] = "0"
    port = free_port()
    command = [sys.executable, "-c", COMMAND, *given, "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(r"listens on 127\.0\.0\.1:(\d+)", line):
                    break
            else:
                pytest.fail("it did not begin to listen")
            client = Client(f"http://127.0.0.1:{port}")
            for _ in range(300):
                with contextlib.suppress(requests.ConnectionError):
                    client.get("/health")
                    break
                assert process.poll() is None
                time.sleep(0.1)
            yield process, client, int(found[1])
        finally:
            process.kill()
            process.stderr.close()


def test_both_run_and_both_stop(tmp_path: Path) -> None:
    """A warehouse that was not there; what is sent is in the folder of what was received."""
    pytest.importorskip("pynetdicom")
    from tests.listener.peers import received, send

    file = write(tmp_path / "1", uid="1.1", PatientName="Secret^Name")
    with service(tmp_path) as (process, client, port):
        assert send(port, file, aet="CT1") == [0]
        (state,) = client.get("/api/v1/listeners").json()
        assert (state["aet"], state["port"], state["received"]) == ("ARCHIVE", port, 1)
        process.send_signal(signal.SIGTERM)
        code = process.wait(10)
    spool = are_stopped(code, port, client, tmp_path)
    (kept,) = received(spool)
    assert dcmread(kept).SOPInstanceUID == "1.1"


def are_stopped(code: int, port: int, client: Client, folder: Path) -> Path:
    """See that server and listener ended as the unit expects; return the listener's folder."""
    allowed = {0, *map(int, unit()["Service"]["SuccessExitStatus"].split())}
    assert code in allowed
    for number in (port, int(client.url.rpartition(":")[2])):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", number), timeout=5)
    (state,) = (folder / "w-received").glob("*/state.json")
    assert json.loads(state.read_text())["is_running"] is False
    return state.parent


@pytest.mark.long("test_both_run_and_both_stop")
def test_after_a_kill_the_next_start_takes_in_what_was_sent(tmp_path: Path) -> None:
    pytest.importorskip("pynetdicom")
    from tests.listener.peers import send

    file = write(tmp_path / "1", uid="1.1", PatientName="Secret^Name")
    with service(tmp_path) as (process, client, port):
        assert client.get("/api/v1/studies").json()["count"] == 0
        assert send(port, file, aet="CT1") == [0]
        (state,) = client.get("/api/v1/listeners").json()
        assert (state["aet"], state["port"], state["received"]) == ("ARCHIVE", port, 1)
        process.kill()
        process.wait(10)
    with service(tmp_path) as (process, client, port):
        deadline = time.monotonic() + 20
        while client.get("/api/v1/studies").json()["count"] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        code = process.wait(10)
    are_stopped(code, port, client, tmp_path)
    assert warehouse.open(tmp_path / "w").sql(
        "select SOPInstanceUID from instances"
    ).fetchall() == [("1.1",)]


def test_the_unit_says_what_it_needs() -> None:
    service = unit()["Service"]
    folders = service["ReadWritePaths"].split()
    for word in shlex.split(service["ExecStart"])[1:]:
        if word.startswith("/"):
            assert any(Path(word).is_relative_to(folder) for folder in folders), word
    # Running answers have ten seconds, and the process has to end by itself.
    assert int(service["TimeoutStopSec"]) > 10


@pytest.mark.parametrize(
    "outs",
    [
        ["rest"],
        pytest.param(["rest", "dicomweb", "viewer"], marks=pytest.mark.long("test_parts_are_left_out")),
    ],
)  # fmt: skip
def test_parts_are_left_out(held: warehouse.Warehouse, tmp_path: Path, outs: list[str]) -> None:
    paths = {
        "rest": "/api/v1/studies", "dicomweb": "/dicomweb/studies", "viewer": "/plain/",
    }  # fmt: skip
    for out in outs:
        with running(
            held, audit=tmp_path / "audit", without=frozenset({out}), viewer=viewer.PAGE
        ) as client:
            for part, path in paths.items():
                assert client.get(path).status_code == (404 if part == out else 200), (out, part)
            told = client.get("/openapi.json").json()["paths"]
            assert any(path.startswith("/api") for path in told) == (out != "rest")


def test_what_makes_no_sense_is_said(tmp_path: Path) -> None:
    pytest.importorskip("pynetdicom")
    add_token(tmp_path / "tokens", "a", "read")
    for wrong, said in (
        (["--aet", "A"], "--listen PORT"),
        (["--listen", "0", "--aet", "A" * 17], "not an AE title"),
        (["--listen", "0", "--destination", "PACS"], "write AET=host:port"),
        (["--without", "everything"], "everything"),
    ):
        done = run("serve", "-w", tmp_path / "w", *wrong)
        assert done.returncode == 2
        assert said in done.stderr
    assert not (tmp_path / "w").exists()
