"""Files built against readers: each small, each with what it attacks in its name.

``makers(folder)`` writes them all; ``beside_good`` reads them with damaged real files and good ones
in one run. Run as a process of its own by the tests, under limits of the kernel.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import struct
import sys
import time
import zlib
from itertools import count
from pathlib import Path

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from tests import dicom_files
from tests.dicom_files import UNDEFINED, element, item, sequence
from tests.mutations import mutants
from tests.vendor_payloads import ascconv, ge_protocol

_numbers = count(1)


def uid() -> str:
    return f"1.2.{next(_numbers):05}."


def part10(body: bytes, syntax: str = ExplicitVRLittleEndian) -> bytes:
    return dicom_files.part10(body, uid=uid() + "1", syntax=syntax)


def deflated(*elements: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    body = element(0x00080018, "UI", uid().encode() + b"1") + b"".join(elements)
    head = dicom_files.part10(uid="", syntax=DeflatedExplicitVRLittleEndian)
    return head + packer.compress(body) + packer.flush()


def private(group: int, creator: str, number: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    name = creator.encode() + b" " * (len(creator) % 2)
    value += b"\0" * (len(value) % 2)
    return element(group << 16 | 0x10, "LO", name) + element(
        group << 16 | 0x1000 | number, "OB", value
    )


def csa(count: int, *, vm: int = 1, items: int = 6, length: int = 4, data: bytes = b"") -> bytes:
    """Return a CSA2 header whose numbers say what they like."""
    name = b"EchoLinePosition".ljust(64, b"\0")
    field = name + struct.pack("<i4siii", vm, b"IS\0\0", 6, items, 77)
    return (
        b"SV10\4\3\2\1"
        + struct.pack("<II", count, 77)
        + field
        + struct.pack("<4i", *[length] * 4)
        + data
    )


def nested(depth: int) -> bytes:
    begin = struct.pack("<HH2sHL", 8, 0x1140, b"SQ", 0, UNDEFINED)
    begin += struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)
    end = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return begin * depth + end * depth


def image(rows: int, columns: int, pixels: bytes, *, frames: int = 1, syntax: str = "") -> bytes:
    """Return a file with pixel data, encapsulated if it has a syntax."""
    body = b"".join(
        [
            element(0x0020000D, "UI", b"1.9\0"),
            element(0x0020000E, "UI", uid().encode() + b"9"),
            element(0x00280002, "US", b"\1\0"),
            element(0x00280004, "CS", b"MONOCHROME2 "),
            element(0x00280008, "IS", str(frames).encode().ljust(10)),
            element(0x00280010, "US", struct.pack("<H", rows)),
            element(0x00280011, "US", struct.pack("<H", columns)),
            element(0x00280100, "US", b"\x08\0"),
            element(0x00280101, "US", b"\x08\0"),
            element(0x00280102, "US", b"\x07\0"),
            element(0x00280103, "US", b"\0\0"),
        ]
    )
    if not syntax:
        return part10(body + element(0x7FE00010, "OB", pixels))
    return part10(body + pixels, syntax=syntax)


def encapsulated(*frames: bytes, table: bytes = b"") -> bytes:
    items = b"".join(item(frame) for frame in (table, *frames))
    end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OB", 0, UNDEFINED) + items + end


RLE = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x07" * 2
RLE_LIE = struct.pack("<16L", 15, *[4_000_000_000] * 15) + b"\x81\x07"


def offset_tables(*, offsets: list[int], lengths: list[int]) -> bytes:
    return element(0x7FE00001, "OV", struct.pack(f"<{len(offsets)}Q", *offsets)) + element(
        0x7FE00002, "OV", struct.pack(f"<{len(lengths)}Q", *lengths)
    )


def makers(folder: Path, scale: float = 1) -> int:
    """Write all files; return how many. ``scale`` makes those larger that are small to be quick."""

    def scaled(size: int) -> int:
        return int(size * scale)

    def at_most(size: int) -> int:
        return int(size * min(scale, 1))

    folder.mkdir(parents=True)
    tile = item(element(0x00181318, "US", b"\1\0" * 30_000))
    siemens, ge = "SIEMENS CSA HEADER", "GEMS_SERS_01"
    huge, below = 1 << 62, -(1 << 31)
    files = {
        # Few bytes, many rows.
        "rows, deflated": deflated(sequence(0x0040A730, *[tile] * scaled(40))),
        "items, deflated": deflated(sequence(0x00081140, *[item(b"")] * scaled(200_000))),
        "items": part10(sequence(0x00081140, *[item(b"")] * scaled(200_000))),
        "nested 60": part10(nested(60)),
        "nested 10000": part10(nested(10_000)),
        "nested in items": part10(sequence(0x0040A730, *[item(nested(40))] * 200)),
        "pixels, deflated": deflated(element(0x7FE00010, "OB", bytes(scaled(40 << 20)))),
        # A million numbers in one value.
        "numbers": part10(element(0x00660016, "OF", bytes(4 * at_most(1 << 20)))),
        "numbers of an unknown element": part10(private(0x19, "X", 1, bytes(4 * at_most(1 << 20)))),
        "numbers as text": part10(element(0x00080119, "UC", b"1\\" * at_most(1_000_000))),
        "digits": part10(element(0x00180050, "DS", b"9" * 65_532 + b"x ")),
        "exponents": part10(element(0x00180050, "DS", b"1e" * 32_766)),
        "character sets": part10(
            element(0x00080005, "CS", b"ISO 2022 IR 87\\" * 4000)
            + element(0x00080081, "ST", b"\x1b$BA\x1b(B" * 9000)
        ),
        "creators": part10(
            b"".join(element(0x00190010 + n, "LO", b"C ") for n in range(240))
            + b"".join(element(0x00191001 + (n << 8), "LO", b"v ") for n in range(16, 240))
        ),
        # Payloads of vendors: counts and lengths that lie, lines for a regular expression.
        "csa of many": part10(private(0x29, siemens, 0x10, csa(0x7FFFFFFF))),
        "csa of less than none": part10(private(0x29, siemens, 0x10, csa(0xFFFFFFFF, vm=-1))),
        "csa of many items": part10(private(0x29, siemens, 0x10, csa(1, items=0x7FFFFFFF))),
        "csa of negative items": part10(private(0x29, siemens, 0x10, csa(1, items=below))),
        "csa of long items": part10(private(0x29, siemens, 0x10, csa(1, length=0x7FFFFFFF))),
        "csa of negative lengths": part10(private(0x29, siemens, 0x10, csa(1, length=-4))),
        "csa of nothing": part10(private(0x29, siemens, 0x10, csa(1000, items=0) * 1000)),
        "ascconv of one name": part10(
            private(0x29, siemens, 0x20, ascconv("a" + "[0]" * 300_000 + " = 1"))
        ),
        "ascconv of dots": part10(private(0x29, siemens, 0x20, ascconv("a." * 400_000 + "= 1"))),
        "ascconv of lines": part10(private(0x29, siemens, 0x20, ascconv(*["a[0].b = 0x1"] * 90_000))),
        "ascconv without end": part10(
            private(0x29, siemens, 0x20, b"### ASCCONV BEGIN " * 50_000 + b"###\n")
        ),
        "ge of lines": part10(private(0x25, ge, 0x1B, ge_protocol("\n" * (8 << 20)))),
        "ge of quotes": part10(private(0x25, ge, 0x1B, ge_protocol('set a "' + '" ' * 400_000 + "c"))),
        "ge of blanks": part10(private(0x25, ge, 0x1B, ge_protocol("set" + " \t" * 400_000 + "\n"))),
        "ge that lies": part10(
            private(0x25, ge, 0x1B, struct.pack("<i", -1) + gzip.compress(b'set a "1"\n' * 9)[:-9])
        ),
        # Pixels: offsets outside, sizes beyond, segments that are not there.
        "offsets outside": image(
            16, 16, offset_tables(offsets=[huge, huge], lengths=[huge, 1])
            + encapsulated(RLE, RLE), frames=2, syntax=RLELossless,
        ),
        "offsets overlap": image(
            16, 16, offset_tables(offsets=[0] * 1000, lengths=[1 << 40] * 1000)
            + encapsulated(RLE, RLE), frames=1000, syntax=RLELossless,
        ),
        "offsets of few": image(
            16, 16, encapsulated(RLE, table=struct.pack("<4L", *[0xFFFFFFFF] * 4)),
            frames=4, syntax=RLELossless,
        ),
        "segments outside": image(16, 16, encapsulated(RLE_LIE), syntax=RLELossless),
        "image of four gigabytes": image(65535, 65535, encapsulated(RLE), syntax=RLELossless),
        "frames without end": image(16, 16, bytes(256), frames=2_147_483_647),
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with open(folder / "four gigabytes of nothing", "wb") as file:
        file.truncate(4 << 30)
    length = min(scaled(1 << 28), (4 << 30) - 2)
    with open(folder / "a hole behind a header", "wb") as file:
        file.write(part10(element(0x00420011, "OB", b"", length=length)))
        file.truncate(file.tell() + length)
    return len(files) + 2


def beside_good(folder: Path, damaged: int, good: int, scale: float) -> None:
    """Read damaged, hostile and good files in one run, and print what became of them as JSON.

    ``HOSTILE_FILES`` may name a folder of more hostile files.
    """
    import warehouse
    from warehouse import workers

    sources = folder / "in"
    made = makers(sources / "made", scale)
    (sources / "damaged").mkdir()
    for number, content in enumerate(mutants(damaged, 7)):
        (sources / "damaged" / f"{number:05}").write_bytes(content)
    (sources / "good").mkdir()
    for number in range(good):
        (sources / "good" / f"{number:05}").write_bytes(
            dicom_files.part10(uid=f"1.2.826.0.1.{number}")
        )
    more = os.environ.get("HOSTILE_FILES")
    wh = warehouse.open(folder / "w", create=True)
    started = time.monotonic()
    report = wh.ingest(sources, *([more] if more else []), workers=2)
    seconds = round(time.monotonic() - started, 1)
    found = wh.sql("select file_path, status, reason from files order by file_path").fetchall()
    inside = f"{sources}/"
    rows = [(p.removeprefix(inside), s, r) for p, s, r in found]
    others = {p: r or s for p, s, r in rows if p.startswith("/")}
    # Only of processes that have ended the kernel tells the peak.
    workers._end_server()
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({
        "files": report.files, "made": made + len(others), "seconds": seconds,
        "good": sum(p.startswith("good") and s == "ingested" and r is None for p, s, r in rows),
        "damaged, read": sum(p.startswith("damaged") and s != "rejected" for p, s, _ in rows),
        "damaged, rejected": sum(p.startswith("damaged") and s == "rejected" for p, s, _ in rows),
        "without reason": [p for p, s, r in rows if s == "rejected" and not r],
        "unexpected": [r for _, _, r in rows if r and ("in stage" in r or "killed" in r)],
        "hostile": {p: r or s for p, s, r in rows if p.startswith("made")} | others,
        "cpu_s": round(sum(u.ru_utime + u.ru_stime for u in usage), 1),
        "peak_mib": [u.ru_maxrss >> 10 for u in usage],
    }))  # fmt: skip


if __name__ == "__main__":
    beside_good(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    sys.stdout.flush()
    os._exit(0)
