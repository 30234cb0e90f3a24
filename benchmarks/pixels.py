"""A series into an array: the warehouse against what people write today.

    python benchmarks/pixels.py             # 300 slices, 9 rounds; writes docs/benchmarks-pixels.md
    python benchmarks/pixels.py --quick     # 40 slices, 2 rounds; prints only

Makes four series of 512 x 512 CT slices, ingests them, and reads each with every method once: all
must give the same voxels, and the files are in the page cache from then on. Then the methods take
turns, A B C A B C, and ratios are taken round by round. README.md beside this file says why.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import importlib.util
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from extraction import machine
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array  # noqa: F401 - imports its decoders before the clock
from pydicom.uid import JPEG2000Lossless, RLELossless

import warehouse

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks-pixels.md"
SIDE = 512
SLICES, COMPRESSED_SLICES, ROUNDS, LOOKS = 300, 100, 9, 100
SERIES = {"int16": "1.2.3.1", "uint12": "1.2.3.2", "rle": "1.2.3.3", "j2k": "1.2.3.4"}
TITLES = {
    "int16": "Uncompressed, int16",
    "uint12": "Uncompressed, 12 of 16 bits",
    "rle": "RLE",
    "j2k": "JPEG 2000, lossless",
}
OURS, LOOP, PREADV = "**dicom-warehouse**", "pydicom loop", "os.preadv of the same bytes"
HELD, SINGLE = "dicom-warehouse, opened volume", "dicom-warehouse, one worker"
Method = Callable[[], np.ndarray]


@dataclass(frozen=True, slots=True)
class Must:
    """A target for a ratio or a time."""

    title: str
    limit: float
    unit: str
    measured: float
    lowest: float
    highest: float
    is_time: bool = False

    def row(self) -> str:
        is_met = self.measured < self.limit if self.is_time else self.measured >= self.limit
        sign, digits = ("<", 1) if self.is_time else (">=", 2)
        numbers = [f"{n:.{digits}f}" for n in (self.measured, self.lowest, self.highest)]
        return (
            f"| {self.title} | {sign} {self.limit:g}{self.unit} | "
            f"{numbers[0]} ({numbers[1]}-{numbers[2]}) | {'met' if is_met else '**missed**'} |"
        )


def make_series(folder: Path, kind: str, count: int) -> list[str]:
    """Write one series of slices with noise; return its files in the order of the slices."""
    source = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    shown = np.kron(source.pixel_array, np.ones((4, 4), np.int16))
    noise = np.random.default_rng(1)
    paths = []
    (folder / kind).mkdir(parents=True)
    for number in range(count):
        pixels = (shown + noise.integers(-8, 8, shown.shape) + number).astype(np.int16)
        made = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        made.SeriesInstanceUID = SERIES[kind]
        made.SOPInstanceUID = f"{SERIES[kind]}.{number}"
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        made.Rows = made.Columns = SIDE
        made.PixelSpacing, made.InstanceNumber = [0.7, 0.7], number + 1
        made.ImagePositionPatient = [-170, -170, 1.25 * number]
        made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        if kind == "uint12":
            pixels = np.clip(pixels, 0, 4095).astype(np.uint16)
            made.BitsStored, made.HighBit, made.PixelRepresentation = 12, 11, 0
        made.PixelData = pixels.tobytes()
        if kind in {"rle", "j2k"}:
            syntax = RLELossless if kind == "rle" else JPEG2000Lossless
            made.compress(syntax, pixels, generate_instance_uid=False)
        paths.append(str(folder / kind / f"{number:04}.dcm"))
        made.save_as(paths[-1])
    return paths


def methods(wh: warehouse.Warehouse, kind: str, paths: list[str]) -> dict[str, Method]:
    """Return every way to read a series, by name; what is not installed is left out."""
    uid = SERIES[kind]
    held = wh.volume(uid)
    found: dict[str, Method] = {
        OURS: lambda: np.asarray(wh.volume(uid)),
        HELD: held.read,
        LOOP: lambda: np.stack([pydicom.dcmread(path).pixel_array for path in paths]),
    }
    if kind in {"rle", "j2k"}:
        # What `dicom-warehouse[pixels]` brings; GDCM, if it is there, would be taken instead.
        found[LOOP] = lambda: loop_with(paths, "pylibjpeg")
        found[SINGLE] = lambda: wh.volume(uid).read(workers=1)
        del found[HELD]  # it keeps decoded frames
        if kind == "j2k" and importlib.util.find_spec("gdcm"):
            found["pydicom loop, GDCM on all cores"] = lambda: loop_with(paths, "gdcm")
    if kind in {"int16", "uint12"}:
        found[PREADV] = preadv(wh, uid)
    try:
        import SimpleITK
    except ImportError:
        pass
    else:

        def with_itk() -> np.ndarray:
            reader = SimpleITK.ImageSeriesReader()
            reader.SetFileNames(paths)
            return SimpleITK.GetArrayFromImage(reader.Execute())

        found["SimpleITK ImageSeriesReader"] = with_itk
    try:
        import dicom_numpy
    except ImportError:
        pass
    else:

        def with_dicom_numpy() -> np.ndarray:
            loaded = [pydicom.dcmread(path) for path in paths]
            voxels, _ = dicom_numpy.combine_slices(loaded, rescale=False)
            return voxels.transpose(2, 1, 0)

        found["dicom-numpy combine_slices"] = with_dicom_numpy
    return found


def loop_with(paths: list[str], plugin: str) -> np.ndarray:
    """Run the pydicom loop with one of its decoders."""
    frames = []
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.pixel_array_options(decoding_plugin=plugin)
        frames.append(dataset.pixel_array)
    return np.stack(frames)


def preadv(wh: warehouse.Warehouse, uid: str) -> Method:
    """Return the least that can be done: open each file, read its pixels into a new array."""
    volume = wh.volume(uid)
    order = {path: number for number, path in enumerate(volume.frames["file_path"])}
    places = [(image.path, image.pixel_offset) for image in volume.images]
    places.sort(key=lambda place: order[place[0]])

    def run() -> np.ndarray:
        out = np.empty(volume.shape, volume.dtype)
        for (path, offset), frame in zip(places, out, strict=True):
            descriptor = os.open(path, os.O_RDONLY)
            os.preadv(descriptor, [frame], offset)
            os.close(descriptor)
        return out

    return run


def same_voxels(kind: str, by_name: dict[str, Method]) -> None:
    """See that every method gives the voxels of the pydicom loop; this warms the cache too."""
    wanted = by_name[LOOP]()
    for name, run in by_name.items():
        # SimpleITK applies the rescale of the header, as always.
        intercept = -1024 if name.startswith("SimpleITK") else 0
        if not np.array_equal(run().astype(np.int32), wanted.astype(np.int32) + intercept):
            raise SystemExit(f"{kind}: {name} gives other voxels than the pydicom loop")


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def rounds_of(by_name: dict[str, Method], rounds: int) -> dict[str, list[float]]:
    """Time the methods in turn, so that noise hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in by_name}
    for _ in range(rounds):
        for name, run in by_name.items():
            times[name].append(seconds(run))
    return times


def table(times: dict[str, list[float]], size: int) -> list[str]:
    """Return the rows of one series, fastest first."""
    lines = [
        "| method | ms | MB/s | pydicom loop ÷ it |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, taken in sorted(times.items(), key=lambda item: statistics.median(item[1])):
        middle = statistics.median(taken)
        ratio, low, high = ratios(times, LOOP, name)
        lines.append(
            f"| {name} | {middle * 1e3:,.0f} ({min(taken) * 1e3:,.0f}-{max(taken) * 1e3:,.0f}) | "
            f"{size / middle / 1e6:,.0f} | {ratio:.2f} ({low:.2f}-{high:.2f}) |"
        )
    return lines


def ratios(times: dict[str, list[float]], of: str, to: str) -> tuple[float, float, float]:
    """Return median, smallest and largest of the ratios of the rounds."""
    each = [a / b for a, b in zip(times[of], times[to], strict=True)]
    return statistics.median(each), min(each), max(each)


def looks(wh: warehouse.Warehouse, slices: int) -> list[list[float]]:
    """Time one slice: looked up and read; of an opened volume; by pydicom, given the file."""
    uid = SERIES["int16"]
    held = wh.volume(uid)
    paths = held.frames["file_path"].to_list()
    chosen = np.random.default_rng(2).integers(0, slices, LOOKS).tolist()
    return [
        [seconds(lambda k=k: wh.volume(uid)[k]) * 1e3 for k in chosen],
        [seconds(lambda k=k: held[k]) * 1e3 for k in chosen],
        [seconds(lambda k=k: pydicom.dcmread(paths[k]).pixel_array) * 1e3 for k in chosen],
    ]


def page(folder: Path, slices: int, compressed: int, rounds: int) -> list[str]:
    """Measure everything and lay it out."""
    counts = {kind: compressed if kind in {"rle", "j2k"} else slices for kind in SERIES}
    paths = {kind: make_series(folder, kind, count) for kind, count in counts.items()}
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(*[folder / kind for kind in SERIES])
    tables, times = [], {}
    for kind, files in paths.items():
        by_name = methods(wh, kind, files)
        same_voxels(kind, by_name)
        times[kind] = rounds_of(by_name, rounds)
        size = wh.volume(SERIES[kind]).nbytes
        tables += ["", f"### {TITLES[kind]}: {counts[kind]} slices, {size / 1e6:,.0f} MB", ""]
        tables += table(times[kind], size)
    opened, held, theirs = looks(wh, slices)
    musts = [
        Must("uncompressed: pydicom loop ÷ ours", 5, "", *ratios(times["int16"], LOOP, OURS)),
        Must("uncompressed: os.preadv ÷ ours", 0.7, "", *ratios(times["int16"], PREADV, HELD)),
        Must("the same, including the lookup", 0.7, "", *ratios(times["int16"], PREADV, OURS)),
        Must("RLE: pydicom loop ÷ ours", 1.7, "", *ratios(times["rle"], LOOP, OURS)),
        Must("JPEG 2000: pydicom loop ÷ ours", 1.7, "", *ratios(times["j2k"], LOOP, OURS)),
        Must("one slice, looked up and read", 5, " ms", *spread(opened), is_time=True),
    ]
    return [
        "# Benchmarks: pixels",
        "",
        "<!-- Generated by benchmarks/pixels.py (make bench-pixels). Do not edit. -->",
        "",
        (
            f"Generated by `python benchmarks/pixels.py` on {dt.datetime.now(tz=dt.UTC).date()}; "
            f"benchmarks/README.md describes the method. Figures are medians of {rounds} rounds in "
            "one process, with minimum and maximum; ratios are computed per round."
        ),
        "",
        *(f"- {line}" for line in machine()),
        f"- {', '.join(versions())}",
        "",
        "## Targets",
        "",
        "| | target | measured | |",
        "| --- | --- | ---: | --- |",
        *(must.row() for must in musts),
        "",
        f"## A series of {SIDE} x {SIDE} slices",
        "",
        (
            "The run fails if a method gives different voxels. dicom-warehouse looks the series "
            "up in the catalog each time, except in the row with an opened volume; the other "
            "methods are given the files in order. `os.preadv` is given all offsets, reads no "
            "headers, and fills a new array with one thread. The pydicom loop "
            "decodes with pylibjpeg, as `dicom-warehouse[pixels]` installs it."
        ),
        *tables,
        "",
        "## One slice",
        "",
        "| | ms, median | ms, 95th percentile |",
        "| --- | ---: | ---: |",
        *(
            f"| {title} | {statistics.median(taken):.2f} | {np.percentile(taken, 95):.2f} |"
            for title, taken in {
                "`wh.volume(uid)[k]`: looked up in the catalog and read": opened,
                "`volume[k]` of an opened volume": held,
                "pydicom, given the file": theirs,
            }.items()
        ),
    ]


def spread(taken: list[float]) -> tuple[float, float, float]:
    return statistics.median(taken), min(taken), max(taken)


def versions() -> list[str]:
    """Return the versions of what reads pixels here."""
    names = ["SimpleITK", "dicom-numpy", "pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "loky"]
    found = []
    for name in names:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return found


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description="Time how a series becomes an array.")
    parser.add_argument("--slices", type=int)
    parser.add_argument("--compressed-slices", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--folder", help="where the files are made for the time of the run")
    parser.add_argument("--quick", action="store_true", help="small; print, write no page")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    asked = (given.slices, given.compressed_slices, given.rounds)
    usual = (40, 40, 2) if given.quick else (SLICES, COMPRESSED_SLICES, ROUNDS)
    size = [own or default for own, default in zip(asked, usual, strict=True)]
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        text = "\n".join(page(Path(folder), *size))
    print(text)
    if not given.quick:
        PAGE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
