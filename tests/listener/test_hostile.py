"""Peers that mean no good: bounds for what they make a listener hold, and nobody else is kept out."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.dicom_files import write
from tests.listener.peers import associated, eventually, send
from tests.programs import needed
from warehouse.errors import UsageError
from warehouse.listener import server
from warehouse.listener.listener import Listener
from warehouse.listener.settings import ListenerSettings, Peer, Tls

Start = Callable[..., Listener]
ECHO, EXPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2.1"


@contextmanager
def connected(listener: Listener) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as connection:
        yield connection


def is_closed(connection: socket.socket) -> bool:
    """Read what still comes, until the other side has closed."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True


def echoes(listener: Listener) -> bool:
    with associated(listener.port, (ECHO, EXPLICIT)) as association:
        return association.is_established and association.send_c_echo().get("Status") == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(range(256)) * 40,
        struct.pack(">BBL", 1, 0, 0xFFFFFFFF) + bytes(10_000),
        struct.pack(">BBL", 4, 0, 0x7FFFFFFF) + bytes(10_000),
        struct.pack(">BBL", 1, 0, 68) + bytes(68),
        struct.pack(">BBL", 4, 0, 10) + struct.pack(">LBB", 6, 1, 3) + bytes(4),
    ],
    ids=["http", "bytes", "request of 4 GiB", "data of 2 GiB", "empty request", "data at once"],
)
def test_garbage_ends_its_own_connection_only(listening: Start, sent: bytes) -> None:
    listener = listening()
    with connected(listener) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert is_closed(connection)
    assert echoes(listener)


def test_a_peer_that_is_silent_is_not_waited_for(listening: Start) -> None:
    listener = listening(network_seconds=0.5)
    with connected(listener) as silent, connected(listener) as half:
        half.sendall(struct.pack(">BBL", 1, 0, 1000) + bytes(10))
        assert echoes(listener)
        assert is_closed(silent)
        assert is_closed(half)
    eventually(lambda: listener.state().associations == 0)


def test_a_peer_that_sends_a_byte_at_a_time_is_not_waited_for(listening: Start) -> None:
    listener = listening(network_seconds=0.5)
    with connected(listener) as slow:
        slow.sendall(struct.pack(">BBL", 1, 0, 1000))
        begun = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() < begun + 10:
                slow.sendall(b"\0")
                time.sleep(0.05)
    assert time.monotonic() - begun < 5


def test_connections_are_counted(listening: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SPARE_CONNECTIONS", 2)
    listener = listening(associations=1, network_seconds=5.0)
    with associated(listener.port, (ECHO, EXPLICIT)) as first:
        assert first.is_established
        with associated(listener.port, (ECHO, EXPLICIT)) as second:
            assert second.is_rejected
        eventually(lambda: listener.state().associations == 1)
        with connected(listener), connected(listener):
            eventually(lambda: listener.state().associations == 3)
            with connected(listener) as fourth:
                assert is_closed(fourth)
    eventually(lambda: listener.state().associations == 0)
    assert echoes(listener)


def test_who_only_connects_takes_no_place(listening: Start) -> None:
    listener = listening(associations=1, network_seconds=60.0)
    for sent in (b"", b"GET / HTTP/1.1\r\n\r\n"):
        for _ in range(server.SPARE_CONNECTIONS):
            # One beyond those that it has yet to look at is closed at once.
            with connected(listener) as connection, contextlib.suppress(ConnectionError):
                connection.sendall(sent)
        # Well before a silent peer would be given up.
        eventually(lambda: echoes(listener))
        eventually(lambda: listener.state().associations == 0)


def pdv(context: int, control: int, data: bytes) -> bytes:
    inside = struct.pack(">LBB", len(data) + 2, context, control) + data
    return struct.pack(">BBL", 4, 0, len(inside)) + inside


@pytest.mark.parametrize(
    "attack",
    [
        # Fragments of a command that does not end; of a query that does not end; a command that
        # is none; data of a message without command.
        [pdv(1, 1, bytes(60_000))] * 3,
        [
            pdv(1, 3, b"\0\0\0\1\2\0\0\0\x20\0\0\0\0\x08\2\0\0\0\1\0"),
            *[pdv(1, 0, bytes(100_000))] * 12,
        ],
        [pdv(1, 3, b"\xff" * 100)],
        [pdv(1, 2, b"\xff" * 100)],
    ],
    ids=["command", "query", "no command", "data only"],
)
def test_a_message_without_end_ends_the_association(listening: Start, attack: list[bytes]) -> None:
    listener = listening()
    with associated(listener.port, (ECHO, EXPLICIT)) as association:
        assert association.is_established
        for sent in attack:
            association.dul.socket.send(sent)
        eventually(lambda: association.is_aborted)
    assert echoes(listener)


def test_requests_are_not_piled_up(listening: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = listening()
    echo = (
        b"\0\0\2\0\x12\0\0\0" + b"1.2.840.10008.1.1\0"
        b"\0\0\0\1\2\0\0\0\x30\0" b"\0\0\x10\1\2\0\0\0\1\0" b"\0\0\0\x08\2\0\0\0\1\1"
    )  # fmt: skip
    with associated(listener.port, (ECHO, EXPLICIT)) as association:
        association.dul.socket.send(pdv(1, 3, echo) * 2000)
        eventually(lambda: association.is_aborted)
    assert echoes(listener)


def test_only_who_is_allowed_may_call(listening: Start, tmp_path: Path) -> None:
    listener = listening(allow=("CT1", "CT2"))
    with associated(listener.port, (ECHO, EXPLICIT), aet="OTHER") as association:
        assert association.is_rejected
    assert send(listener.port, write(tmp_path / "1"), aet="CT2") == [0]


@pytest.mark.acceptance("L3")
def test_a_private_class_is_refused_unless_it_is_named(listening: Start, tmp_path: Path) -> None:
    file = write(tmp_path / "1", SOPClassUID="1.2.3.4.5")
    with associated(listening().port, ("1.2.3.4.5", EXPLICIT)) as association:
        assert not association.is_established
    assert send(listening(aet="OTHER", sop_classes=("1.2.3.4.5",)).port, file) == [0]


def test_a_log_names_no_patient(
    listening: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    listener = listening()
    assert send(
        listener.port, write(tmp_path / "1", PatientName="Secret^Name", PatientID="PSECRET")
    ) == [0]
    said = [record.getMessage() for record in caplog.records if record.name == "warehouse.listener"]
    assert said[0].startswith("association of 'SENDER' from 127.0.0.1 began")
    assert "ecret" not in caplog.text.lower().replace("secretfolder", "")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"aet": "A" * 17}, "not an AE title"), ({"aet": " "}, "not an AE title"),
        ({"port": 70_000}, "not a port"), ({"associations": 0}, "more than 0"),
        ({"pdu_bytes": 0}, "more than 0"), ({"network_seconds": -1}, "more than 0"),
        ({"sop_classes": ("x",)}, "not a UID"), ({"allow": ("Ä",)}, "not an AE title"),
        ({"mode": "some"}, "unknown mode"),
    ],
)  # fmt: skip
def test_settings_are_checked(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ListenerSettings(**wrong)


@pytest.mark.parametrize("text", ["PACS", "PACS@host", "@host:1", "PACS@host:0", "PACS@:104"])
def test_a_peer_is_written_with_host_and_port(text: str) -> None:
    with pytest.raises(UsageError):
        Peer.parse(text)


# -- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority with a listener and a peer, and a stranger who signs for himself."""
    folder = tmp_path_factory.mktemp("tls")
    openssl = needed("openssl")

    def make(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "stranger"):
        make(
            "req",
            "-x509",
            *key,
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
            "-subj",
            f"/CN={name}",
        )
    for name in ("listener", "peer"):
        make(
            "req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem",
            "-subj", f"/CN={name}", "-CA", "ca.pem", "-CAkey", "ca.key",
        )  # fmt: skip
    return folder


@pytest.mark.acceptance("L4")
def test_tls_lets_in_who_has_a_certificate(listening: Start, certificates: Path) -> None:
    of = certificates.joinpath
    listener = listening(
        tls=Tls(of("listener.pem"), of("listener.key"), of("ca.pem")), network_seconds=3.0
    )
    address = ["-aec", "WAREHOUSE", "127.0.0.1", str(listener.port)]

    def echo(*options: str) -> int:
        return subprocess.run(
            [needed("echoscu"), *options, *address], capture_output=True, check=False, timeout=60
        ).returncode

    with connected(listener):  # says nothing: a handshake that does not come keeps nobody out
        known = ["+tls", str(of("peer.key")), str(of("peer.pem")), "+cf", str(of("ca.pem"))]
        assert echo(*known) == 0
        assert echo() != 0
        assert echo("+tla", "-ic") != 0
        assert echo("+tls", str(of("stranger.key")), str(of("stranger.pem")), "-ic") != 0
        ours = Tls(of("peer.pem"), of("peer.key"), of("ca.pem")).context(server=False)
        with associated(
            listener.port, (ECHO, EXPLICIT), tls_args=(ours, "127.0.0.1")
        ) as association:
            assert association.send_c_echo().Status == 0


def test_tls_files_are_checked(certificates: Path) -> None:
    with pytest.raises(UsageError, match="TLS cannot be set up"):
        Tls(certificates / "ca.pem", certificates / "none").context()
    with pytest.raises(UsageError, match="TLS cannot be set up"):
        Tls(certificates / "ca.pem", certificates / "peer.key").context()
