"""The command ``listen``, up to a signal."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.command_line import run
from tests.dicom_files import write
from tests.documented_keys import unlike_the_page
from tests.listener.peers import received, send
from warehouse.cli import network
from warehouse.listener.state import read_states


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """Leave the log as it was."""
    log = logging.getLogger("warehouse.listener")
    before = log.handlers, log.level, log.propagate
    yield
    log.handlers, level, log.propagate = before
    log.setLevel(level)


def test_it_listens_until_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "1", uid="1.1", PatientName="Secret^Name")

    def wait() -> None:
        (state,) = read_states(str(tmp_path / "w"))
        assert send(state.port, file, aet="CT1") == [0]
        raise KeyboardInterrupt

    monkeypatch.setattr(
        network, "threading", SimpleNamespace(Event=lambda: SimpleNamespace(wait=wait))
    )
    monkeypatch.setattr("warehouse.listener.listener.TICK_SECONDS", 0.01)
    done = run(
        "listen", "-w", tmp_path / "w", "--port", 0, "--aet", "ARCHIVE", "--allow", "CT1", "--no-ingest",
        "--destination", "PACS=10.0.0.5:104", "--json",
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    spool = tmp_path / "w-received" / "ARCHIVE"
    assert unlike_the_page("listen", json.loads(done.stdout)) == []
    assert json.loads(done.stdout)["spool"] == str(spool)
    assert len(received(spool)) == 1
    assert "association of 'CT1' from 127.0.0.1 began" in done.stderr
    assert "Secret" not in done.stderr
    (state,) = read_states(tmp_path / "w")
    assert (state.is_running, state.received, state.waiting) == (False, 1, 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--aet", "A" * 17], "not an AE title"), (["--destination", "PACS"], "write AET=host:port"),
        (["--tls", "no.pem", "no.key", "none"], "TLS cannot be set up"), (["--mode", "some"], "unknown mode"),
        (["--spool", "w/inside"], "never ingests its own folder"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_said(tmp_path: Path, wrong: list[str], said: str) -> None:
    done = run("listen", "-w", "w", "--port", "0", *wrong, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
