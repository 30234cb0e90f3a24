"""The viewers in Debian's Chromium, and what the server gives out of their folders."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image

import warehouse
from tests.command_line import run
from tests.dicom_files import image, write
from tests.documented_keys import unlike_the_page
from tests.server.browser import chromium
from tests.server.running import Client, running
from warehouse.errors import TargetExists, UsageError
from warehouse.server import ohif, viewer
from warehouse.server.access import add_token


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """A series of 4 slices with a bright square, and values that one window shows as they are."""
    folder = tmp_path_factory.mktemp("phantom")
    for number in range(4):
        pixels = np.full((64, 64), 40, np.uint8)
        pixels[16:48, 16:48] = 200
        write(folder / "in" / f"{number}.dcm", image(
            f"1.4.{number}", Rows=64, Columns=64, PixelData=pixels.tobytes(), InstanceNumber=number + 1,
            PatientName="Phantom^Square", PatientID="P 1/ä", StudyDate="20260102", SeriesDescription="axial <b>",
            ImagePositionPatient=[0, 0, 2 * number], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[1, 1],
            SliceThickness=2, FrameOfReferenceUID="1.4.9", WindowCenter=128, WindowWidth=256, RescaleSlope=1, RescaleIntercept=0,
        ))  # fmt: skip
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)
    return made


@pytest.mark.acceptance("V2")
@pytest.mark.acceptance("V4")
def test_the_built_in_page_shows_a_series(phantom: warehouse.Warehouse, tmp_path: Path) -> None:
    secret = add_token(tmp_path / "tokens", "a", "read")
    with (
        running(
            phantom, tokens=tmp_path / "tokens", audit=tmp_path / "audit", viewer=viewer.PAGE
        ) as client,
        chromium(tmp_path) as browser,
    ):
        keys = [quote(key, safe="") for key in ("P 1/ä", "1.2.1", "1.2.1.1")]
        browser.open(f"{client.url}/?token={secret}#/{'/'.join(keys[:2])}")
        browser.wait("document.querySelector('[data-series=\"1.2.1.1\"] img')?.naturalWidth > 0")
        assert "axial <b>" in browser.run("document.body.innerText")
        assert browser.run("document.querySelectorAll('.none').length") == 0
        browser.run(f"location.hash = '#/{'/'.join(keys)}'")
        browser.wait(
            "document.images.length === 2 && [...document.images].every(one => one.naturalWidth > 0)"
        )
        shown = browser.run("document.documentElement.outerHTML")
        for text in ("Phantom^Square", "PhotometricInterpretation", "frame 3 of 4"):
            assert text in shown
        assert secret not in shown
        assert secret not in browser.run("location.href")
        # The picture of the frame, as the browser has it: nearly the values themselves.
        grey = browser.run(
            "(() => { const drawn = document.createElement('canvas').getContext('2d');"
            "const one = [...document.images].find(each => each.naturalWidth === 64);"
            "drawn.drawImage(one, 0, 0);"
            "return [32, 2].map(at => drawn.getImageData(at, at, 1, 1).data[0]); })()"
        )
        assert np.abs(np.subtract(grey, [200, 40])).max() <= 1
        assert {urlsplit(one).hostname for one in browser.asked if one[:4] == "http"} == {
            "127.0.0.1"
        }
        assert browser.logged == []


def test_the_picture_has_the_grey_that_the_header_asks_for(
    phantom: warehouse.Warehouse, tmp_path: Path
) -> None:
    with running(phantom, audit=tmp_path / "audit") as client:
        content = client.get("/api/v1/series/1.2.1.1/picture.png?slice=0").content
        made = np.asarray(Image.open(io.BytesIO(content)))
        # PS3.3 C.11.2.1.2.1 with center 128 and width 256: nearly the value itself.
        assert abs(int(made[32, 32]) - 200) <= 1
        assert abs(int(made[2, 2]) - 40) <= 1


def test_no_file_outside_of_the_folder_is_given(client: Client) -> None:
    for path in (
        "/plain/..%2faccess.py",
        "/plain/%2e%2e/access.py",
        "/..%2f..%2fapi.py",
        "/plain/%2Fetc%2Fpasswd",
        "/x.js",
        "/plain/y.js",
        "/assets/z.css",
        f"/{'x' * 300}",
        f"/plain/{'x' * 300}.js",
        f"/{'x/' * 3000}y.js",
    ):
        answer = client.get(path)
        assert answer.status_code == 404, path
    page = client.get("/plain/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert client.get("/app-config.js").text.startswith("window.config = (")


def tarball(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("__", "/").replace("UP", ".."))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def pin(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    monkeypatch.setattr(ohif, "INTEGRITY", f"sha512-{digest}")


@pytest.mark.acceptance("V1")
def test_only_the_viewer_that_is_pinned_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tarball(tmp_path / "a.tgz", **{
        "package/dist/index.html": b"<p>OHIF</p>", "package/dist/a.js": b"1", "package/dist/a.js.map": b"2",
        "package/dist/ort/big.wasm": b"3", "package/dist/UP/UP/evil": b"4", "package/other": b"5", "UP/evil": b"6",
    })  # fmt: skip
    with pytest.raises(UsageError, match="npm pack"):
        ohif.install(made, tmp_path / "viewer")
    pin(monkeypatch, made)
    ohif.install(made, tmp_path / "viewer")
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "a.js",
        "a.tgz",
        "index.html",
        "viewer",
    ]
    with pytest.raises(TargetExists):
        ohif.install(made, tmp_path / "viewer")
    again = ("viewer", "install", "--from", made, "--to", tmp_path / "viewer", "--force", "--json")
    assert unlike_the_page("viewer install", json.loads(run(*again).stdout)) == []
    empty = tarball(tmp_path / "b.tgz", other=b"")
    pin(monkeypatch, empty)
    with pytest.raises(UsageError, match=r"index\.html"):
        ohif.install(empty, tmp_path / "c")
    assert not list(tmp_path.glob(".*.part"))
    assert (
        run(
            "viewer", "install", "--from", str(tmp_path / "none"), "--to", str(tmp_path / "d")
        ).returncode
        == 1
    )


def test_where_it_is_installed_it_is_at_the_root(
    phantom: warehouse.Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tarball(
        tmp_path / "a.tgz", **{"package/dist/index.html": b"<p>OHIF</p>", "package/dist/a.js": b"1"}
    )
    pin(monkeypatch, made)
    ohif.install(made, tmp_path / "viewer")
    with running(phantom, viewer=tmp_path / "viewer", audit=tmp_path / "audit") as client:
        for path in ("/", "/viewer?StudyInstanceUIDs=1.2.1"):
            assert client.get(path).text == "<p>OHIF</p>"
        assert client.get("/a.js").text == "1"
        assert client.get("/b.js").status_code == 404
        assert "'unsafe-eval'" in client.get("/").headers["Content-Security-Policy"]
        assert client.get("/").headers["Cross-Origin-Opener-Policy"] == "same-origin"
