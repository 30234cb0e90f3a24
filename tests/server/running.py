"""A server in a thread of this process, on a port of its own, and a small client."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from email.parser import BytesParser

import pytest
import requests

import warehouse
from warehouse.server import viewer
from warehouse.server.serve import make_server
from warehouse.server.settings import ServerSettings


class Client:
    """Asks a running server; `get("/dicomweb/studies", accept="…")`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, path: str, accept: str | None = None, **headers: str) -> requests.Response:
        given = {"Accept": accept, **headers} if accept else headers
        return self.session.get(f"{self.url}{path}", headers=given, timeout=60)

    def post(self, path: str, data: object, **headers: str) -> requests.Response:
        return self.session.post(f"{self.url}{path}", data=data, headers=headers, timeout=120)


@contextlib.contextmanager
def running(made: warehouse.Warehouse, **settings: object) -> Iterator[Client]:
    """Serve a warehouse until the end of the block."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        # Whoever runs the tests may have OHIF: then other addresses have a page.
        patch.setattr(viewer, "installed", lambda: None)
        server = make_server(made, ServerSettings(port=port, **settings))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Client(f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join(20)


def parts(answer: requests.Response) -> list[tuple[str, bytes]]:
    """Return type and content of each part of a multipart answer, as Python's mail parser reads it."""
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    whole = BytesParser().parsebytes(head + answer.content)
    assert whole.is_multipart()
    assert not whole.defects
    boundary = answer.headers["Content-Type"].partition("boundary=")[2].encode()
    found = []
    # The mail parser changes line ends of binary parts: these are cut at the boundary.
    for piece in answer.content.split(b"--" + boundary)[1:-1]:
        header, _, content = piece.partition(b"\r\n\r\n")
        found.append((header.decode().strip().partition(":")[2].strip(), content[:-2]))
    return found
