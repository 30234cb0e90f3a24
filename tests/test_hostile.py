"""Files built against readers, beside good ones: every good file is in, every bad one has a reason.

Time and memory are those that the kernel counts, of a process of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

import warehouse
from tests.asking import answer_of, cohort_of
from tests.dicom_files import part10
from tests.hostile_files import image, makers
from tests.test_limits import cost
from warehouse.errors import PixelsUnreadable

CHECKOUT = Path(__file__).parents[1]
MEMORY = 1 << 30


def in_one_run(folder: Path, damaged: int, good: int, scale: float) -> dict[str, Any]:
    """Read all in one run of two workers; no process of it may allocate more than 3 GiB."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile_files", folder, *map(str, (damaged, good, scale))],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (3 << 30,) * 2),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["good"] == good
    assert found["damaged, read"] + found["damaged, rejected"] == damaged
    assert found["files"] == damaged + good + found["made"]
    assert found["without reason"] == []
    assert found["unexpected"] == []
    return found


def test_few_hostile_files_keep_no_good_one_out(tmp_path: Path) -> None:
    """The short form: in this process, without files that were damaged at random."""
    makers(tmp_path / "made", 0.01)
    for path in (tmp_path / "made").iterdir():
        # These are as long at each scale.
        if path.name.split()[0] in {"csa", "ascconv", "ge"} or path.name == "nested in items":
            path.unlink()
    for number in range(3):
        (tmp_path / "made" / f"good {number}").write_bytes(part10(uid=f"1.2.{number}"))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "made", workers=1)
    rows = answer_of(wh, "select file_path, status, reason from files")
    said = {Path(path).name: (status, reason) for path, status, reason in rows}
    assert len(said) == len(list((tmp_path / "made").iterdir()))
    assert all(said[f"good {number}"][0] == "ingested" for number in range(3))
    assert all(reason for status, reason in said.values() if status != "ingested")
    assert said["nested 10000"][1] == "sequences nested deeper than 64 levels"
    assert said["four gigabytes of nothing"][1].startswith("not DICOM")


@pytest.mark.long("test_few_hostile_files_keep_no_good_one_out")
def test_hostile_and_damaged_files_keep_no_good_one_out(tmp_path: Path) -> None:
    # Small ones: larger ones are read one by one below, within narrower bounds.
    found = in_one_run(tmp_path, damaged=100, good=100, scale=0.05)
    said = found["hostile"]
    assert said["made/items"] == "ingested"
    assert said["made/nested 10000"] == "sequences nested deeper than 64 levels"
    assert said["made/four gigabytes of nothing"].startswith("not DICOM")


@pytest.mark.soak
def test_ten_thousand_damaged_files_beside_a_thousand_good_ones(tmp_path: Path) -> None:
    found = in_one_run(tmp_path, damaged=10_000, good=1000, scale=8)
    print({name: found[name] for name in found if name != "hostile"})  # noqa: T201
    for name, why in found["hostile"].items():
        print(f"  {name}: {why}")  # noqa: T201


SMALL = {
    "nested", "digits", "exponents", "character", "creators", "csa", "ascconv", "ge", "offsets", "segments",
    "image", "frames",
}  # fmt: skip
"""First words of the names of files whose size no scale changes."""


@pytest.mark.parametrize(
    "scale",
    [0.25, pytest.param(1, marks=pytest.mark.slow), pytest.param(16, marks=pytest.mark.soak)],
)
def test_each_hostile_file_takes_bounded_time_and_memory(tmp_path: Path, scale: float) -> None:
    """A quarter takes no more than a quarter of the time, and half of the memory."""
    makers(tmp_path / "bad", scale)
    if scale <= 1:
        # What is small whatever the scale is read together, within the bound of one.
        for path in (tmp_path / "bad").iterdir():
            if path.name.split()[0] in SMALL:
                (tmp_path / "bad" / "small").mkdir(exist_ok=True)
                path.rename(tmp_path / "bad" / "small" / path.name)
    paths = sorted((tmp_path / "bad").iterdir())
    costs = cost(tmp_path, *paths)
    assert len(costs) == len(paths)
    for name, (size, seconds) in costs.items():
        if scale > 1:
            print(f"{name}: {size >> 20} MiB over the idle process, {seconds:.1f} s")  # noqa: T201
        assert size < (MEMORY if scale >= 1 else MEMORY / 2), name
        assert seconds < 20 * min(scale, 1), name


LOOK = """
import json, resource, sys
import warehouse
from warehouse.errors import WarehouseError
wh = warehouse.open(sys.argv[1])
series = [uid for (uid,) in wh.sql("select SeriesInstanceUID from series order by 1").fetchall()]
wh.stack(series[0])
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
before = peak()
usage = resource.getrusage(resource.RUSAGE_SELF)
said = {}
for uid in series:
    try:
        frames = wh.stack(uid)
        said[uid] = str(frames[len(frames) - 1].shape)
    except WarehouseError as error:
        said[uid] = type(error).__name__
    try:
        wh.volume(uid)[:]
    except WarehouseError:
        pass
assert len(wh.gallery()._repr_html_()) > 0
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"said": said, "bytes": (peak() - before) << 10,
                  "seconds": after.ru_utime - usage.ru_utime}))
"""


OF_PIXELS = {"offsets", "segments", "image", "frames", "pixels,"}
"""First words of the names of files whose pixel data lie."""


def test_pixels_that_lie_are_refused(tmp_path: Path) -> None:
    """The short form: in this process, an image that is too large and too many frames."""
    makers(tmp_path / "made", 0.01)
    lying = ("image of four gigabytes", "frames without end", "segments outside")
    kept = [tmp_path / "made" / name for name in lying]
    kept.append(tmp_path / "made" / "a good one")
    kept[-1].write_bytes(image(16, 16, bytes(256)))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(*kept, workers=1)
    rows = answer_of(wh, "select file_path, SeriesInstanceUID from instances")
    uids = {Path(path).name: uid for path, uid in rows}
    for name in lying:
        with pytest.raises(PixelsUnreadable):
            wh.stack(uids[name])[-1]
    assert wh.stack(uids["a good one"])[0].shape == (16, 16)


@pytest.mark.long("test_pixels_that_lie_are_refused")
def test_pixels_that_lie_are_refused_in_bounded_time_and_memory(tmp_path: Path) -> None:
    makers(tmp_path / "bad")
    for path in (tmp_path / "bad").iterdir():
        if path.name.split()[0] not in OF_PIXELS:
            path.unlink()
    good = tmp_path / "bad" / "a good one"
    good.write_bytes(image(16, 16, bytes(256)))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "bad", workers=1)
    name_of = dict(
        answer_of(wh, "select SeriesInstanceUID, file_path from instances where pixel_offset > 0")
    )
    done = subprocess.run(
        [sys.executable, "-c", LOOK, tmp_path / "w"], cwd=CHECKOUT, capture_output=True, text=True,
        check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (3 << 30,) * 2),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    said = {Path(name_of[uid]).name: why for uid, why in found["said"].items() if uid in name_of}
    assert said.pop("a good one") == "(16, 16)"
    # A table that lies is not believed: these frames stand one behind the other.
    assert said.pop("offsets outside") in {"(16, 16)", "PixelsUnreadable"}
    assert set(said.values()) == {"PixelsUnreadable"}, said
    assert found["bytes"] < MEMORY
    assert found["seconds"] < 20


def test_members_of_one_archive_are_read_and_exported(tmp_path: Path) -> None:
    contents = [part10(uid=f"1.2.{number:06}") for number in range(20)]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"{number}", content)
    wh = warehouse.open(tmp_path / "w", create=True)
    assert wh.ingest(tmp_path / "all.zip", workers=1).created == len(contents)
    run = cohort_of(wh, "everything", "select instance_key from instances")
    wh.export(run, tmp_path / "out.zip", "zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        written = {archive.read(name) for name in archive.namelist()}
    assert set(contents) <= written


@pytest.mark.long("test_members_of_one_archive_are_read_and_exported")
@pytest.mark.parametrize("count", [1000, pytest.param(50_000, marks=pytest.mark.soak)])
def test_members_of_one_archive_cost_no_more_than_files(tmp_path: Path, count: int) -> None:
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for number in range(count):
            content = part10(uid=f"1.2.{number:06}")
            (tmp_path / "in" / f"{number:06}").write_bytes(content)
            archive.writestr(f"{number:06}", content)
    found = {}
    for name in ("in", "all.zip"):
        folder = tmp_path / f"of {name}"
        ((memory, ingest),) = cost(folder, tmp_path / name).values()
        assert memory < MEMORY
        wh = warehouse.open(folder / "w")
        run = cohort_of(wh, "everything", "select instance_key from instances")
        began = time.process_time()
        wh.export(run, folder / "out.zip", "zip")
        found[name] = (ingest, time.process_time() - began)
    (files, copied), (members, extracted) = found.values()
    if count > 1000:
        print(f"{count} files: ingest {files:.1f} s, export {copied:.1f} s of processor")  # noqa: T201
        print(f"{count} members: ingest {members:.1f} s, export {extracted:.1f} s")  # noqa: T201
    # Half a second for what varies between two short processes.
    assert members < 1.5 * files + 0.5
    assert extracted < 1.5 * copied + 0.5


@pytest.mark.parametrize("count", [2000, pytest.param(200_000, marks=pytest.mark.soak)])
def test_empty_files_are_a_row_each(tmp_path: Path, count: int) -> None:
    for number in range(count):
        folder = tmp_path / "in" / f"{number // 1000}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}").touch()
    costs = cost(tmp_path, tmp_path / "in")
    wh = warehouse.open(tmp_path / "w")
    reasons = answer_of(wh, "select reason, count(*) from files where reason <> '' group by 1")
    assert reasons == [("empty file", count)]
    if count > 2000:
        print(f"{count} empty files: {costs['in']}")  # noqa: T201
    assert costs["in"][0] < MEMORY


def test_readers_during_ingests_see_whole_versions(tmp_path: Path) -> None:
    see_whole_versions(tmp_path, readers=2, count=5)


@pytest.mark.long("test_readers_during_ingests_see_whole_versions")
@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.soak)])
def test_ten_readers_during_three_ingests_see_whole_versions(tmp_path: Path, count: int) -> None:
    see_whole_versions(tmp_path, readers=10, count=count)


def see_whole_versions(tmp_path: Path, *, readers: int, count: int) -> None:
    """Each source is one transaction: whoever looks sees all of its files or none."""
    sources = []
    for source in range(3):
        sources.append(tmp_path / f"in{source}")
        sources[-1].mkdir()
        for number in range(count):
            (sources[-1] / f"{number}").write_bytes(part10(uid=f"1.{source}.{number}"))
    first = tmp_path / "first"
    first.write_bytes(part10(uid="1.9.1"))
    warehouse.open(tmp_path / "w", create=True).ingest(first, workers=1)
    seen: set[tuple[int, int, int]] = set()
    errors: list[BaseException] = []
    done = threading.Event()

    def look() -> None:
        try:
            # Not without a pause: ten that only look leave the writer no processor.
            while not done.wait(0.25):
                with warehouse.open(tmp_path / "w") as wh:
                    (row,) = answer_of(
                        wh,
                        "select (select count(*) from files), (select count(*) from instances),"
                        " (select count(distinct instance_id) from elements)",
                    )
                    seen.add(row)
        except BaseException as error:  # noqa: BLE001 - told to the test
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(readers)]
    for thread in threads:
        thread.start()
    try:
        for source in sources:
            warehouse.open(tmp_path / "w").ingest(source, workers=1)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert errors == []
    assert seen <= {(n * count + 1,) * 3 for n in range(4)}
    assert warehouse.open(tmp_path / "w").info()["version"] >= 4
