"""OHIF in Debian's Chromium against our server: pixels, overlay, hosts, console. Skipped where it is not installed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

import warehouse
from tests.dicom_files import image, write
from tests.server.browser import GRAPHICS, Browser, chromium
from tests.server.running import Client, running
from warehouse.server import viewer
from warehouse.server.access import add_token

pytestmark = pytest.mark.slow

COUNT, SIDE, LOW, HIGH = 4, 64, 40, 200
FOLDER = Path(os.environ["OHIF_VIEWER"]) if "OHIF_VIEWER" in os.environ else viewer.installed()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """Four slices with a bright square, and a segmentation of a part of it, made by highdicom."""
    pytest.importorskip("highdicom")
    from highdicom import seg
    from pydicom.sr.codedict import codes

    folder = tmp_path_factory.mktemp("ohif")
    pixels = np.full((SIDE, SIDE), LOW, np.uint8)
    pixels[16:48, 16:48] = HIGH
    sources = [
        image(
            f"1.4.{n}", Rows=SIDE, Columns=SIDE, PixelData=pixels.tobytes(), InstanceNumber=n + 1, PatientName="Phantom^Square",
            PatientID="P1", PatientBirthDate="", PatientSex="", StudyDate="20260102", StudyTime="101500", StudyID="1",
            AccessionNumber="", ReferringPhysicianName="", SeriesNumber=1, SeriesDescription="axial", StudyDescription="phantom",
            ImagePositionPatient=[0, 0, 2 * n], ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[1, 1], SliceThickness=2,
            FrameOfReferenceUID="1.4.9", PositionReferenceIndicator="", WindowCenter=128, WindowWidth=256, RescaleSlope=1,
            RescaleIntercept=0,
        )
        for n in range(COUNT)
    ]  # fmt: skip
    mask = np.zeros((COUNT, SIDE, SIDE), "u1")
    mask[:, 24:40, 24:40] = 1
    segment = seg.SegmentDescription(
        1, "inner", codes.SCT.Organ, codes.SCT.Liver, seg.SegmentAlgorithmTypeValues.MANUAL,
        tracking_uid="1.6.1", tracking_id="t1",
    )  # fmt: skip
    made = seg.Segmentation(
        sources, mask, seg.SegmentationTypeValues.BINARY, [segment], "1.66.0", 2, "1.66.1", 1, "M", "N", "1", "D",
        series_description="segments",
    )  # fmt: skip
    for n, source in enumerate(sources):
        write(folder / "in" / f"{n}.dcm", source)
    made.save_as(folder / "in" / "seg.dcm")
    held = warehouse.open(folder / "w", create=True)
    held.ingest(folder / "in", workers=1)
    return held


@pytest.fixture
def page(study: warehouse.Warehouse, tmp_path: Path) -> Iterator[tuple[Browser, Client, str]]:
    """A browser, a server that needs a token, and the token."""
    if FOLDER is None:
        pytest.skip("OHIF is not installed: make viewer, or $OHIF_VIEWER")
    secret = add_token(tmp_path / "tokens", "a", "read")
    with (
        running(
            study, viewer=FOLDER, tokens=tmp_path / "tokens", audit=tmp_path / "audit"
        ) as client,
        chromium(tmp_path, *GRAPHICS) as browser,
    ):
        yield browser, client, secret
        statuses = {
            json.loads(line)["status"] for line in (tmp_path / "audit").read_text().splitlines()
        }
        assert statuses <= {200, 304}
        hosts = {urlsplit(one).hostname for one in browser.asked if one.startswith("http")}
        assert hosts == {"127.0.0.1"}
        assert browser.logged == []


VIEWPORT = "cornerstone.getEnabledElements()[0]?.viewport"

# As a double click on the row of the segmentation does.
SHOW_SEGMENTS = """(() => {
    const found = services.displaySetService.getActiveDisplaySets().find(one => one.Modality === 'SEG');
    services.viewportGridService.setDisplaySetsForViewport({
        viewportId: services.viewportGridService.getActiveViewportId(),
        displaySetInstanceUIDs: [found.displaySetInstanceUID],
    });
})()"""


@pytest.mark.acceptance("V4")
def test_the_work_list_shows_the_study(page: tuple[Browser, Client, str]) -> None:
    browser, client, secret = page
    browser.open(f"{client.url}/?token={secret}")
    assert browser.wait("document.body.innerText.includes('Phantom')")
    assert secret not in browser.run("location.href")
    # What was given once is known to the pages that are opened from here.
    browser.open(f"{client.url}/viewer?StudyInstanceUIDs=1.2.1")
    browser.wait(f"{VIEWPORT}?.getCornerstoneImage?.()?.getPixelData?.()?.length > 0", 120)


@pytest.mark.acceptance("V2")
def test_a_study_opens_with_its_pixels_and_its_segments(
    page: tuple[Browser, Client, str], tmp_path: Path
) -> None:
    browser, client, secret = page
    browser.open(f"{client.url}/viewer?StudyInstanceUIDs=1.2.1&token={secret}")
    value = f"{VIEWPORT}?.getCornerstoneImage?.()?.getPixelData?.()"
    browser.wait(f"{value}?.length === {SIDE * SIDE}", 120)
    assert browser.run(f"{value}[32 * {SIDE} + 32]") == HIGH
    assert browser.run(f"{value}[2 * {SIDE} + 2]") == LOW
    # Where the canvas shows the middle of the image.
    point = browser.run(
        f"(() => {{ const v = {VIEWPORT}, r = v.canvas.getBoundingClientRect(),"
        "p = (i, j) => v.worldToCanvas(v.getImageData().imageData.indexToWorld([i, j, 0]));"
        "return [[32, 32], [20, 20], [4, 50]].map(([i, j]) => { const [x, y] = p(i, j); return [r.x + x, r.y + y]; }); })()"
    )
    middle, bright, dark = [(round(y), round(x)) for x, y in point]
    before = browser.screenshot(Path(os.environ.get("SCREENSHOTS", tmp_path)) / "ohif.png")
    # PS3.3 C.11.2.1.2.1 with center 128 and width 256: nearly the value itself, in grey.
    for place, wanted in ((middle, HIGH), (bright, HIGH), (dark, LOW)):
        assert np.abs(before[place].astype(int) - wanted).max() <= 2, before[place]
    browser.run(SHOW_SEGMENTS)
    browser.wait(
        "services.segmentationService.getSegmentations().length === 1"
        " && document.body.innerText.includes('Do you want to open this Segmentation')",
        60,
    )
    browser.wait(
        "new Promise(done => requestAnimationFrame(() => setTimeout(() => done(1), 1000)))"
    )
    after = browser.screenshot(Path(os.environ.get("SCREENSHOTS", tmp_path)) / "ohif-seg.png")
    red, green, blue = after[middle].astype(int)
    assert max(red, green, blue) - min(red, green, blue) > 30
    for place, wanted in ((bright, HIGH), (dark, LOW)):
        assert np.abs(after[place].astype(int) - wanted).max() <= 2, after[place]
