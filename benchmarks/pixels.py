"""How fast a series becomes an array, beside what people do without a warehouse.

    python benchmarks/pixels.py [--slices 300] [--repeat 5] [--folder DIR]

Makes four series of 512 x 512 CT slices from a file of pydicom's package (uncompressed 16 and 12
bits, RLE, JPEG 2000), ingests them, reads each with every method once to warm the cache and to see
that all give the same voxels, then times the methods in turn and prints a Markdown table: median,
fastest and slowest of the repeats, and how many times the pydicom loop.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array  # noqa: F401 - imports its decoders before the clock
from pydicom.uid import JPEG2000Lossless, RLELossless

sys.path.insert(0, str(Path(__file__).parents[1]))
import warehouse

SIDE = 512
SERIES = {"int16": "1.2.3.1", "uint12": "1.2.3.2", "rle": "1.2.3.3", "j2k": "1.2.3.4"}
Method = Callable[[], np.ndarray]


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
    """Return every way to read a series, by name."""
    uid = SERIES[kind]
    found: dict[str, Method] = {
        "warehouse": lambda: np.asarray(wh.volume(uid)),
        "warehouse, one worker": lambda: wh.volume(uid).read(workers=1),
        "pydicom loop": lambda: np.stack([pydicom.dcmread(path).pixel_array for path in paths]),
    }
    if kind in {"int16", "uint12"}:
        found["os.preadv of the same bytes"] = preadv(wh, uid)
    try:
        import SimpleITK

        def with_itk() -> np.ndarray:
            reader = SimpleITK.ImageSeriesReader()
            reader.SetFileNames(paths)
            return SimpleITK.GetArrayFromImage(reader.Execute())

        found["SimpleITK ImageSeriesReader"] = with_itk
    except ImportError:
        print("SimpleITK is not installed: left out", file=sys.stderr)
    try:
        import dicom_numpy

        def with_dicom_numpy() -> np.ndarray:
            loaded = [pydicom.dcmread(path) for path in paths]
            voxels, _ = dicom_numpy.combine_slices(loaded, rescale=False)
            return voxels.transpose(2, 1, 0)

        found["dicom-numpy combine_slices"] = with_dicom_numpy
    except ImportError:
        print("dicom-numpy is not installed: left out", file=sys.stderr)
    return found


def preadv(wh: warehouse.Warehouse, uid: str) -> Method:
    """Return the least that can be done: open each file, read its pixels into one array."""
    volume = wh.volume(uid)
    places = [(image.path, image.pixel_offset) for image in volume.images]
    order = volume.frames["path"].to_list()
    places.sort(key=lambda place: order.index(place[0]))

    def run() -> np.ndarray:
        out = np.empty(volume.shape, volume.dtype)
        raw = out.reshape(len(places), -1).view(np.uint8)
        for number, (path, offset) in enumerate(places):
            descriptor = os.open(path, os.O_RDONLY)
            os.preadv(descriptor, [raw[number].data], offset)
            os.close(descriptor)
        return out

    return run


def seconds(run: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def same_voxels(kind: str, by_name: dict[str, Method]) -> None:
    """See that every method gives the voxels of the pydicom loop; this warms the cache too."""
    wanted = by_name["pydicom loop"]()
    for name, run in by_name.items():
        # SimpleITK applies the rescale of the header, as always.
        intercept = -1024 if name.startswith("SimpleITK") else 0
        assert np.array_equal(run().astype(np.int32), wanted.astype(np.int32) + intercept), name
    print(f"{kind}: {len(by_name)} methods give the same {wanted.shape} voxels", file=sys.stderr)


def table(kind: str, times: dict[str, list[float]], size: int) -> list[str]:
    """Return the rows of one series."""
    loop = statistics.median(times["pydicom loop"])
    rows = []
    for name, taken in sorted(times.items(), key=lambda item: statistics.median(item[1])):
        middle = statistics.median(taken)
        spread = f"{min(taken) * 1e3:,.0f}–{max(taken) * 1e3:,.0f}"
        rows.append(
            f"| {kind} | {name} | {middle * 1e3:,.0f} | {spread} | {size / middle / 1e6:,.0f} | "
            f"{loop / middle:.1f} |"
        )
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--compressed-slices", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--folder")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        paths = {
            kind: make_series(
                folder, kind, given.compressed_slices if kind in {"rle", "j2k"} else given.slices
            )
            for kind in SERIES
        }
        wh = warehouse.open(folder / "w")
        wh.ingest(*[folder / kind for kind in SERIES])
        print("| series | method | median ms | fastest–slowest | MB/s | times the loop |")
        print("| --- | --- | ---: | ---: | ---: | ---: |")
        facts = {}
        for kind, files in paths.items():
            by_name = methods(wh, kind, files)
            same_voxels(kind, by_name)
            times: dict[str, list[float]] = {name: [] for name in by_name}
            for _ in range(given.repeat):
                for method, run in by_name.items():  # in turn, so that noise hits all alike
                    times[method].append(seconds(run))
            print("\n".join(table(kind, times, wh.volume(SERIES[kind]).nbytes)), flush=True)
            facts[kind] = {method: min(taken) for method, taken in times.items()}
        one = [seconds(lambda: wh.volume(SERIES["int16"])[given.slices // 2]) for _ in range(50)]
        held = wh.volume(SERIES["int16"])
        again = [seconds(lambda: held[given.slices // 2]) for _ in range(50)]
        print(f"\nOne slice with the look-up in the catalog: {statistics.median(one) * 1e3:.1f} ms")
        print(f"One slice of a volume that is held: {statistics.median(again) * 1e3:.2f} ms")
        print(json.dumps({"fastest_seconds": facts}), file=sys.stderr)


if __name__ == "__main__":
    main()
