"""Studies of another archive come by C-MOVE and by C-GET, and are ingested."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE, evt

import warehouse
from tests.command_line import run
from tests.dicom_files import write
from tests.documented_keys import unlike_the_page
from tests.listener.peers import data_set, received
from warehouse.cli import network
from warehouse.errors import PeerFailed, UsageError
from warehouse.listener.fetching import fetch
from warehouse.listener.listener import Listener
from warehouse.listener.settings import ListenerSettings, Peer

OURS = ListenerSettings(port=0, aet="OURS")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Listener, list[Path]]]:
    """Another archive: one of ours, with two studies. It looks our address up as it is asked."""
    folder = tmp_path_factory.mktemp("archive")
    files = [
        write(folder / "in" / f"{n}", uid=f"1.{n}", StudyInstanceUID=f"1.{n // 2}", SeriesInstanceUID=f"1.5.{n}")
        for n in range(4)
    ]  # fmt: skip
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", workers=1)
    destinations: dict[str, Peer] = {}
    settings = ListenerSettings(port=0, aet="PACS", ingest=False, destinations=destinations)
    with Listener(wh, settings) as listener:
        yield listener, files


@pytest.fixture
def pacs(archive: tuple[Listener, list[Path]], monkeypatch: pytest.MonkeyPatch) -> Peer:
    """The archive as a peer; it knows where ours listens as soon as it does."""
    listener, _ = archive
    bind = Listener._bind

    def known(self: Listener) -> object:
        bound = bind(self)
        listener.settings.destinations["OURS"] = Peer("OURS", "127.0.0.1", bound.server_address[1])
        return bound

    monkeypatch.setattr(Listener, "_bind", known)
    return Peer("PACS", "127.0.0.1", listener.port)


@pytest.mark.parametrize("by_get", [False, True], ids=["move", "get"])
def test_a_study_comes_and_is_ingested(
    wh: warehouse.Warehouse, pacs: Peer, archive: tuple[Listener, list[Path]], by_get: bool
) -> None:
    done = fetch(wh, pacs, ["1.0"], settings=OURS, by_get=by_get)
    assert (done.completed, done.failed, done.received, done.is_whole) == (2, 0, 2, True)
    assert done.report is not None
    assert done.report.created == 2
    assert wh.sql("select SOPInstanceUID from instances order by all").fetchall() == [
        ("1.0",),
        ("1.1",),
    ]
    kept = received(wh.root.parent / "w-received" / "OURS")
    assert sorted(map(data_set, kept)) == sorted(map(data_set, archive[1][:2]))
    again = fetch(wh, pacs, ["1.0", "1.1"], ["1.5.3"], settings=OURS, by_get=by_get)
    assert (again.completed, again.received) == (1, 1)


def test_the_command_says_what_came(wh: warehouse.Warehouse, pacs: Peer, tmp_path: Path) -> None:
    done = run(
        "fetch", pacs, "--study", "1.1", "--aet", "OURS", "--port", 0, "-w", wh.root, "--json"
    )
    assert done.returncode == 0, done.stderr
    assert unlike_the_page("fetch", json.loads(done.stdout)) == []
    assert json.loads(done.stdout) == {
        "completed": 2,
        "failed": 0,
        "warned": 0,
        "received": 2,
        "created": 2,
    }
    missing = run("fetch", pacs, "--study", "1.9", "--aet", "OURS", "--port", 0, "-w", wh.root)
    assert missing.returncode == 0
    assert missing.stdout.startswith("0 sent, 0 failed, 0 warned, 0 received")


def test_a_listener_that_runs_receives(wh: warehouse.Warehouse, pacs: Peer, tmp_path: Path) -> None:
    with Listener(wh, replace(OURS, ingest=False)) as running:
        done = fetch(wh, pacs, ["1.0"], settings=replace(OURS, aet="ASKS"), to="OURS")
        assert (done.completed, done.received, done.report, done.is_whole) == (2, None, None, True)
        assert running.state().received == 2


def test_what_a_peer_says_is_told(
    wh: warehouse.Warehouse, pacs: Peer, archive: tuple[Listener, list[Path]], tmp_path: Path
) -> None:
    with pytest.raises(PeerFailed, match="does not know our AE title UNKNOWN.*0xA801"):
        fetch(wh, pacs, ["1.0"], settings=replace(OURS, aet="UNKNOWN"))
    for uid in ("1.*", "\N{ARABIC-INDIC DIGIT ONE}.2"):
        with pytest.raises(UsageError, match="is not a UID"):
            fetch(wh, pacs, [uid], settings=OURS)
    refusing = replace(OURS, aet="CLOSED", allow=("FRIEND",))
    with (
        Listener(wh, refusing) as closed,
        pytest.raises(PeerFailed, match="refuses the association"),
    ):
        fetch(wh, Peer("CLOSED", "127.0.0.1", closed.port), ["1.0"], settings=OURS)


@pytest.mark.parametrize("status", [0xFE00, 0xA702])
def test_a_retrieval_that_the_peer_ends_is_not_whole(
    wh: warehouse.Warehouse, tmp_path: Path, status: int
) -> None:
    """A response of Cancel has the number of remaining sub-operations (PS3.4 C.4.3.1.3.1)."""
    file = dcmread(write(tmp_path / "1", uid="1.1", StudyInstanceUID="1.5"))

    def get(_: evt.Event) -> Iterator[object]:
        yield 3
        yield 0xFF00, file
        yield status, None

    entity = AE("PACS")
    entity.add_supported_context("1.2.840.10008.5.1.4.1.2.2.3")
    entity.add_supported_context(file.SOPClassUID, scu_role=True, scp_role=True)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_GET, get)])
    try:
        peer = Peer("PACS", "127.0.0.1", server.server_address[1])
        done = fetch(wh, peer, ["1.5"], settings=OURS, by_get=True)
        said = run("fetch", peer, "--study", "1.5", "--get", "--aet", "OURS", "-w", wh.root)
    finally:
        server.shutdown()
    assert (done.completed, done.failed, done.received, done.is_whole) == (1, 2, 1, False)
    assert done.report is not None
    assert done.report.created == 1
    assert said.returncode == 1
    assert f"(status 0x{status:04X})" in said.stdout


@pytest.mark.parametrize("by_get", [False, True], ids=["move", "get"])
def test_a_folder_that_cannot_receive_is_named(
    wh: warehouse.Warehouse, tmp_path: Path, by_get: bool
) -> None:
    (tmp_path / "file").touch()
    asked = Peer("PACS", "127.0.0.1", 1), ["1.0"]
    for folder, why in ((wh.root / "in", "is in the warehouse"), (tmp_path / "file", "cannot")):
        with pytest.raises(UsageError, match=why):
            fetch(wh, *asked, settings=OURS, by_get=by_get, spool=folder)


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # pynetdicom leaves it open
def test_a_peer_that_does_not_answer_is_named(wh: warehouse.Warehouse) -> None:
    with pytest.raises(PeerFailed, match="PACS@127.0.0.1:1 does not answer"):
        fetch(wh, Peer("PACS", "127.0.0.1", 1), ["1.0"], settings=OURS)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "find_spec", lambda _: None)
    done = run("listen")
    assert done.returncode == 2
    assert "pip install 'dicom-warehouse[dimse]'" in done.stderr
