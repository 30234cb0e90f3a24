"""Debian's Chromium, driven over a pipe (Chrome DevTools Protocol): pages, what they log, what they ask for."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.programs import needed

FLAGS = (
    "--headless", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--remote-debugging-pipe",
    "--window-size=1200,900",
)  # fmt: skip
GRAPHICS = (
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
)  # fmt: skip
"""WebGL without a graphics card."""


class Browser:
    """One page. What it logs and asks for is collected while it is waited for."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.logged: list[str] = []
        """Errors and warnings of the console, and exceptions."""
        self.asked: list[str] = []
        """Addresses."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **given: Any) -> dict[str, Any]:
        """Call a method and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": given}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._reader, 1 << 20)
            assert piece, "Chromium has ended"
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        told: dict[str, Any] = json.loads(text)
        given = told.get("params", {})
        match told.get("method"):
            case "Network.requestWillBeSent":
                self.asked.append(given["request"]["url"])
            case "Runtime.exceptionThrown":
                self.logged.append(json.dumps(given["exceptionDetails"])[:2000])
            case "Runtime.consoleAPICalled" if given["type"] in {"error", "assert"}:
                self.logged.append(json.dumps(given["args"])[:2000])
            case "Log.entryAdded" if given["entry"]["level"] == "error":
                self.logged.append(json.dumps(given["entry"])[:2000])
        return told

    def open(self, url: str) -> None:
        """Go to an address."""
        self.send("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Return what an expression is, awaited."""
        told = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait(self, script: str, seconds: float = 60) -> Any:
        """Return what an expression is as soon as that is true."""
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(AssertionError):
                if found := self.run(script):
                    return found
            assert time.monotonic() < end, f"never true: {script}; logged: {self.logged}"
            time.sleep(0.2)

    def click(self, x: float, y: float, count: int = 1) -> None:
        """Click as a hand does."""
        for number in range(1, count + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.send(
                    "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=number
                )  # fmt: skip

    def screenshot(self, path: Path | None = None) -> np.ndarray:
        """Return the page as (rows, columns, 3)."""
        content = base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        if path is not None:
            path.write_bytes(content)
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@contextlib.contextmanager
def chromium(folder: Path, *more: str) -> Iterator[Browser]:
    """Start Chromium with a profile in a folder; it reaches 127.0.0.1 only."""
    program = needed("chromium")
    to_browser, writer = os.pipe()
    reader, from_browser = os.pipe()
    # It reads descriptor 3 and writes 4.
    joined = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
    command = [
        "bash",
        "-c",
        joined,
        program,
        *FLAGS,
        *more,
        f"--user-data-dir={folder / 'profile'}",
    ]
    with subprocess.Popen(
        [*command, "about:blank"], pass_fds=(to_browser, from_browser), stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, env=os.environ | {"HOME": str(folder)},
    ) as process:  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        try:
            browser = Browser(reader, writer)
            yield browser
            with contextlib.suppress(AssertionError, OSError):
                browser._session = None
                browser.send("Browser.close")
        finally:
            os.close(writer)
            os.close(reader)
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
