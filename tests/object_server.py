"""An S3 server on loopback, and a line to it that is slow and fails. No cloud is ever asked."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from warehouse.settings import S3Access

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "not-a-secret-of-anybody"


SERVER = """
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

class Handler(MotoRequestHandler):
    def log_request(self, *_): ...

server = make_server("127.0.0.1", 0, create_backend_app("s3"), threaded=True, request_handler=Handler)
print(server.port, flush=True)
server.serve_forever()
"""
"""What ``moto_server`` does, for S3 alone and without a log.

To find the service that is meant it would look, for each request, through the folders of all.
"""


class MotoServer:
    """moto's server, a process of its own."""

    def __init__(self) -> None:
        quiet = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], env={**os.environ, **quiet},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class Line:
    """Passes requests on to a server: late, and not the first ``failures`` for each object.

    With ``own_tags`` the tag of an object is not the MD5 of its bytes, as where they are encrypted.
    """

    def __init__(
        self, port: int, *, delay: float = 0.0, failures: int = 0, own_tags: bool = False
    ) -> None:
        self.port, self.delay, self.failures = port, delay, failures
        self.own_tags = own_tags
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.most_at_once = 0
        self._tried: Counter[str] = Counter()
        self._at_once = 0
        self._lock = threading.Lock()
        self._wait = threading.Event()
        line = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # What is sent after the headers would wait 40 ms for the client to say that it has them.
            disable_nagle_algorithm = True

            def log_message(self, *_: Any) -> None: ...

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, headers, data = line.answer(
                    self.command, self.path, dict(self.headers), body
                )
                self.send_response(status)
                for name, value in headers:
                    if name.lower() not in {"connection", "transfer-encoding", "date", "server"}:
                        self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = handle_one

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # A client that is killed is no news.
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        # It looks so often, in seconds, whether it is to end.
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def access(self) -> S3Access:
        return S3Access(
            endpoint=f"http://127.0.0.1:{self.server.server_port}", access_key_id="nobody",
            secret_access_key=SECRET,
        )  # fmt: skip

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        with self._lock:
            self.requests.append((method, path, headers))
            self._tried[f"{method} {path}"] += 1
            fails = self._tried[f"{method} {path}"] <= self.failures
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self._wait.wait(self.delay)
            if fails:
                return 503, [("content-length", "0")], b""
            if self.own_tags:
                headers = {name: _other_tags(value) for name, value in headers.items()}
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            data, told = answer.read(), answer.getheaders()
            connection.close()
            if self.own_tags:
                told = [(name, _other_tags(value)) for name, value in told]
                if b"<ListBucketResult" in data[:500]:
                    data = _other_tags(data.decode()).encode()
            return answer.status, told, data
        finally:
            with self._lock:
                self._at_once -= 1

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _other_tags(text: str) -> str:
    """Turn what is written like a tag round; done twice, it is as before."""
    return re.sub(r'(?<=["\';])[0-9a-f]{32}(?=["\'&])', lambda tag: tag[0][::-1], text)


def put(access: S3Access, bucket: str, files: dict[str, bytes]) -> None:
    """Make a bucket if it is not there, and objects in it."""
    import obstore

    from warehouse.dicom.objects import bucket_store

    signed = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    connection = http.client.HTTPConnection(access.endpoint.removeprefix("http://"))
    connection.request(
        "PUT", f"/{bucket}", headers={"Authorization": signed, "content-length": "0"}
    )
    connection.getresponse().read()
    connection.close()
    for key, data in files.items():
        obstore.put(bucket_store(bucket, access), key, data)


def bytes_under(folder: Path) -> bytes:
    """Return everything that is in the files of a folder."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
