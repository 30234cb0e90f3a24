"""What one file may cost: beyond it is a reject with the number, in bounded time and memory."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import struct
import zlib
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

import warehouse
from tests.asking import answer_of
from tests.command_line import run
from tests.dicom_files import UNDEFINED, element, item, part10, sequence, write
from tests.measured import costs, limit_memory
from tests.test_isolation import private
from tests.vendor_payloads import ascconv, ge_protocol
from warehouse.dicom.scan import discover
from warehouse.elements import vendor
from warehouse.elements.ascconv import read_ascconv
from warehouse.elements.extract import extract
from warehouse.elements.ge_protocol import read_ge_protocol
from warehouse.ingest import ingest
from warehouse.settings import IngestSettings, Limits, Mode
from warehouse.workers import WorkerPool

if TYPE_CHECKING:
    from warehouse.elements.extract import Portion

FEW = Limits(rows=400, elements=100, items=50, header_bytes=1 << 14, value_bytes=3 << 20)
SETTINGS = IngestSettings(mode=Mode.FULL, workers=1, limits=FEW)


def deflated(*elements: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    body = element(0x00080018, "UI", b"1.2") + b"".join(elements)
    return (
        part10(uid="", syntax=DeflatedExplicitVRLittleEndian)
        + packer.compress(body)
        + packer.flush()
    )


def private_elements(count: int, vr: str, value: bytes) -> bytes:
    return element(0x00190010, "LO", b"X ") + b"".join(
        element(0x00191001 + n, vr, value) for n in range(count)
    )


NUMBERS = private_elements(5, "US", b"\1\0" * 90)
STRINGS = private_elements(5, "IS", b"1\\" * 90)
IN_ITEMS = sequence(0x0040A730, *[item(element(0x00181318, "US", b"\1\0" * 90))] * 5)
EMPTY_ITEMS = sequence(0x00081140, *[item(b"")] * 60)
ENDLESS_ITEMS = sequence(0x00081140, *[item(b"", length=UNDEFINED)] * 60, undefined=True)
FULL_ITEM = sequence(0x00081140, item(private_elements(110, "US", b"")))
ELEMENTS = private_elements(110, "US", b"")

BEYOND = {
    "binary numbers": (NUMBERS, "400 values"),
    "text": (STRINGS, "400 values"),
    "values in items": (IN_ITEMS, "400 values"),
    "items": (EMPTY_ITEMS, "50 items"),
    "items of undefined length": (ENDLESS_ITEMS, "50 items"),
    "elements": (ELEMENTS, "100 elements"),
    "bytes of short values": (private_elements(17, "OB", bytes(1024)), "16384 bytes of header"),
    "elements of one item": (FULL_ITEM, "100 elements"),
}


def read(path: Path, reader: str, limits: Limits = FEW) -> list[Portion]:
    return list(extract(list(discover([path])), 1, 10**6, reader=reader, limits=limits))  # type: ignore[arg-type]


@pytest.mark.parametrize("reader", ["fast", "pydicom"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "deflated"])
@pytest.mark.parametrize("name", BEYOND)
def test_a_file_beyond_a_limit_is_a_reject_with_the_number(
    name: str, packed: bool, reader: str, tmp_path: Path
) -> None:
    body, reason = BEYOND[name]
    path = tmp_path / "file"
    path.write_bytes(deflated(body) if packed else part10(body))
    (portion,) = read(path, reader)
    assert portion.outcomes[0].reason == f"more than {reason}: refused, see Limits of the settings"
    assert portion.rows.num_rows == 0
    # Every limit is one that can be moved.
    (portion,) = read(path, reader, Limits())
    assert portion.outcomes[0].reason is None


@pytest.mark.parametrize("reader", ["fast", "pydicom"])
def test_a_file_at_a_limit_is_read(reader: str, tmp_path: Path) -> None:
    # Three elements and 397 values of a fourth are 400 rows.
    body = element(0x00190010, "LO", b"X ") + element(0x00191001, "US", b"\1\0" * 397)
    path = tmp_path / "file"
    path.write_bytes(part10(body))
    (portion,) = read(path, reader)
    assert portion.outcomes[0].reason is None
    assert portion.rows.num_rows == FEW.rows
    path.write_bytes(part10(body + element(0x00191002, "US", b"")))
    assert read(path, reader)[0].outcomes[0].instance_id is None


@pytest.mark.parametrize("reader", ["fast", "pydicom"])
def test_text_of_one_value_is_one_row(reader: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(part10(element(0x0040A160, "UT", b"a\\" * 1000)))
    (portion,) = read(path, reader)
    assert portion.outcomes[0].reason is None
    assert portion.rows.num_rows == 3


@pytest.mark.parametrize("reader", ["fast", "pydicom"])
def test_values_of_long_texts_are_counted(reader: str, tmp_path: Path) -> None:
    """Texts of half a MiB, which are not read with the beginning of the file."""
    path = tmp_path / "file"
    path.write_bytes(part10(private_elements(3, "UC", b"a\\" * ((1 << 18) - 1))))
    (portion,) = read(path, reader, Limits(rows=1000))
    assert portion.outcomes[0].reason == (
        "more than 1000 values: refused, see Limits of the settings"
    )
    path.write_bytes(part10(private_elements(3, "UC", b"aa" * (1 << 18))))
    (portion,) = read(path, reader, Limits(rows=1000))
    assert (portion.outcomes[0].reason, portion.rows.num_rows) == (None, 6)


@pytest.mark.parametrize("reader", ["fast", "pydicom"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "deflated"])
def test_values_too_long_to_be_kept_have_length_and_digest(
    packed: bool, reader: str, tmp_path: Path
) -> None:
    document, second = os.urandom(2 << 20), os.urandom((1 << 20) + 2)
    body = element(0x00420011, "OB", document) + element(0x00660016, "OF", second)
    body += element(0x7FE00010, "OB", b"pixels")
    path = tmp_path / "file"
    path.write_bytes(deflated(body) if packed else part10(body))
    (portion,) = read(path, reader)
    rows = {row["tag"]: row for row in portion.rows.to_pylist()}
    for tag, value in (("00420011", document), ("00660016", second)):
        assert rows[tag]["sha256"] == hashlib.sha256(value).hexdigest()
        assert (rows[tag]["length"], rows[tag]["bytes"]) == (len(value), None)
        assert rows[tag]["warning"] == f"{len(value)} bytes: not kept"
    assert rows["7FE00010"]["length"] == len(b"pixels")
    assert portion.blobs.num_rows == 0
    # Either of them alone is kept.
    (portion,) = read(path, reader, replace(FEW, value_bytes=4 << 20))
    assert {row["warning"] for row in portion.rows.to_pylist()} == {None}
    assert portion.blobs["bytes"].to_pylist().count(document) == 1


def test_other_files_go_in_and_the_ledger_says_why(tmp_path: Path) -> None:
    for number, (body, _) in enumerate(BEYOND.values()):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"bad {number}").write_bytes(part10(body))
        write(tmp_path / "in" / f"good {number}", uid=f"1.{number}")
    report = ingest(tmp_path / "w", [tmp_path / "in"], SETTINGS)
    assert (report.created, report.rejected) == (len(BEYOND), len(BEYOND))
    # A limit is no accident: such a file is not tried again.
    assert ingest(tmp_path / "w", [tmp_path / "in"], SETTINGS).existing == len(BEYOND)


def test_a_file_beyond_a_limit_is_read_once_more_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(part10(NUMBERS))
    assert ingest(tmp_path / "w", [path], SETTINGS).rejected == 1
    less = replace(SETTINGS, limits=replace(FEW, rows=399))
    for settings in (SETTINGS, less):
        assert ingest(tmp_path / "w", [path], settings).batches == []
    more = replace(SETTINGS, limits=Limits.parse(["rows=460", "items=60"]))
    assert ingest(tmp_path / "w", [path], more).replaced == 1


def test_limits_are_given_by_option_and_by_variable(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(part10(NUMBERS))
    command = ("ingest", path, "-w", tmp_path / "w", "--workers", "1", "--json")
    few = json.loads(run(*command, "--limit", "rows=10").stdout)
    assert few["rejects"][0]["reason"].startswith("more than 10 values")
    some = json.loads(run(*command, DICOM_WAREHOUSE_LIMITS="rows=400, items=7").stdout)
    assert some["rejects"][0]["reason"].startswith("more than 400 values")
    assert json.loads(run(*command, DICOM_WAREHOUSE_LIMITS="rows=500").stdout)["replaced"] == 1
    for wrong, said in (("row=5", "no limit 'row'"), ("rows=-1", "a whole number above 0")):
        refused = run(*command, "--limit", wrong)
        assert refused.returncode == 2
        assert said in refused.stderr


@pytest.mark.parametrize("name", asdict(Limits()))
def test_a_limit_without_meaning_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        Limits(**{name: 0})


# -- payloads of vendors ---------------------------------------------------------------------------


def test_lines_that_say_nothing_are_counted_too() -> None:
    # Not so often the same that it would be cut for what it unpacks to.
    noise = "\n".join(str(n * n) for n in range(200_000))
    for values in (
        read_ge_protocol(ge_protocol(noise)),
        read_ascconv(ascconv(*["a"] * 200_000)),
    ):
        assert [value.warning for value in values] == [
            "more than 100000 lines: the rest is not read"
        ]


def test_a_block_that_unpacks_to_too_much_is_cut() -> None:
    packed = gzip.compress(b"\n" * (64 << 20))
    block = struct.pack("<I", len(packed)) + packed + bytes((8 << 20) - len(packed) - 4)
    (value,) = read_ge_protocol(block)
    assert value.warning == f"text of over {16 << 20} bytes"


def test_the_payloads_of_an_instance_are_bounded_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vendor, "MAX_INSTANCE_VALUES", 50)
    blocks = [ge_protocol("".join(f'k{n} "{block}"\n' for n in range(20))) for block in range(4)]
    creators = b"".join(element(0x00250010 + n, "LO", b"GEMS_SERS_01") for n in range(4))
    payloads = b"".join(
        element(0x0025101B + (n << 8), "OB", block + b"\0" * (len(block) % 2))
        for n, block in enumerate(blocks)
    )
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "all").write_bytes(part10(creators + payloads))
    # Another instance has one of those that are not read there.
    (tmp_path / "in" / "one").write_bytes(private(0x25, "GEMS_SERS_01", 0x1B, blocks[3]))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", mode="full", workers=1)
    rows = answer_of(
        wh,
        "select file_path, count(*) filter (warning is null), count(*) filter (warning is not null)"
        " from vendor_elements join files using (instance_id) group by file_path order by file_path",
    )
    assert [row[1:] for row in rows] == [(40, 2), (20, 0)]


# -- by the kernel's count -------------------------------------------------------------------------


def cost(folder: Path, *paths: Path) -> dict[str, tuple[int, float]]:
    """Return bytes over an idle process, and seconds of processor, for files read one by one.

    The peak is that of a process of their own: of several files, the largest so far.
    """
    write(folder / "good", uid="1.1")
    # Forked of a process that has imported everything already.
    with WorkerPool(1, partial(limit_memory, 6 << 30)) as pool:
        rows = pool.submit(costs, folder, *paths).result()
    return {name: (size, seconds) for name, size, seconds in rows}


def bombs(folder: Path) -> None:
    """Write small files that claim much; the largest has a hole where its value is."""
    folder.mkdir(parents=True)
    values = item(element(0x00181318, "US", b"\1\0" * 32_000))
    (folder / "rows").write_bytes(deflated(sequence(0x0040A730, *[values] * 200)))
    (folder / "items").write_bytes(deflated(sequence(0x00081140, *[item(b"")] * 1_000_000)))
    lines = ge_protocol("\n" * (60 << 20))
    (folder / "lines").write_bytes(
        private(0x25, "GEMS_SERS_01", 0x1B, lines + bytes((1 << 20) - len(lines)))
    )
    with open(folder / "value", "wb") as file:
        file.write(part10(element(0x00420011, "OB", b"", length=300 << 20)))
        file.truncate(file.tell() + (300 << 20))


def test_bombs_take_bounded_time_and_memory(tmp_path: Path) -> None:
    bombs(tmp_path / "bad")
    for name, (size, seconds) in cost(tmp_path, *sorted((tmp_path / "bad").iterdir())).items():
        assert size < 1 << 30, name
        assert seconds < 20, name
    ledger = (
        warehouse.open(tmp_path / "w", create=True)
        .sql("select file_path, status, reason from files")
        .fetchall()
    )
    made = {Path(path).name: (status, why) for path, status, why in ledger}
    refused = "refused, see Limits of the settings"
    assert made["rows"][1] == f"more than 3000000 values: {refused}"
    assert made["items"][1] == f"more than 500000 items to be read by pydicom: {refused}"
    assert {made[name][1] for name in ("lines", "value", "good")} == {None}


def long_bombs(folder: Path) -> None:
    """Write files at the limits and far beyond."""
    folder.mkdir(parents=True)
    values = item(element(0x00181318, "US", b"\1\0" * 32_000))
    (folder / "rows below").write_bytes(deflated(sequence(0x0040A730, *[values] * 93)))
    (folder / "51 million rows").write_bytes(deflated(sequence(0x0040A730, *[values] * 1600)))
    one = item(element(0x00081150, "UI", b""))
    (folder / "items below").write_bytes(part10(sequence(0x00081140, *[one] * 990_000)))
    # All limits at once, as a slide with long positions.
    tile = item(element(0x00081150, "UI", b"") + element(0x00081155, "UI", b"1.2 "))
    numbers = item(element(0x00181318, "US", b"\1\0" * 28_000))
    (folder / "all limits").write_bytes(
        part10(
            sequence(0x00081140, *[tile] * 780_000)
            + sequence(0x0040A730, *[numbers] * 50)
            + element(0x00420011, "OB", os.urandom(30 << 20))
        )
    )
    (folder / "items below, deflated").write_bytes(deflated(sequence(0x00081140, *[one] * 490_000)))
    (folder / "elements below").write_bytes(deflated(many_elements(990_000)))
    (folder / "value below").write_bytes(part10(element(0x00420011, "OB", os.urandom(31 << 20))))
    for name, length in (("value of 500 MiB", 500 << 20), ("value of 2 GiB", (2 << 30) - 2)):
        with open(folder / name, "wb") as file:
            file.write(part10(element(0x00420011, "OB", b"", length=length)))
            file.truncate(file.tell() + length)


def many_elements(count: int) -> bytes:
    """Return private elements without a value, of as many groups as it takes."""
    per_group = 0xEF00
    made = []
    for n in range(count):
        group, number = divmod(n, per_group)
        made.append(struct.pack("<HH2sH", 0x0019 + 2 * group, 0x1000 + number, b"US", 0))
    return b"".join(made)


@pytest.mark.soak
def test_files_at_the_limits_take_bounded_time_and_memory(tmp_path: Path) -> None:
    long_bombs(tmp_path / "bad")
    costs: dict[str, Any] = {}
    for path in sorted((tmp_path / "bad").iterdir()):
        costs |= cost(tmp_path, path)
    reasons = dict(
        warehouse.open(tmp_path / "w").sql("select file_path, reason from files").fetchall()
    )
    for path, reason in reasons.items():
        assert reason is None or not path.endswith(("below", "limits", "deflated")), path
    for name, (size, seconds) in costs.items():
        print(  # noqa: T201 - what docs/reliability.md says
            f"{name}: {size / (1 << 20):.0f} MiB over the idle process, {seconds:.1f} s"
        )
    assert {
        name for name, (size, seconds) in costs.items() if size >= 1 << 30 or seconds >= 20
    } == set()
