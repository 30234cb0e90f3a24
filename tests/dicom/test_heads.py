import os
import struct

import pytest

from tests.dicom.made_datasets import EXPLICIT, element, item, sequence
from warehouse.dicom import items, walk
from warehouse.dicom.heads import FIRST_BYTES, Heads
from warehouse.dicom.scan import SourceFile
from warehouse.elements import extract as extract_module
from warehouse.elements import fast
from warehouse.elements.extract import extract

META = b"\0" * 128 + b"DICM" + element(0x00020010, "UI", EXPLICIT, implicit=False)


def pixels(length):
    return struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OW", 0, length)


@pytest.fixture
def rooms(monkeypatch):
    """Memory made by the fast reader during a test, to ask how much was read into it."""
    made = []
    monkeypatch.setattr(extract_module, "_buffers_of_threads", made)
    return made


def source(path):
    return SourceFile(str(path), os.path.getsize(path), 0)


def test_pixel_data_are_never_read(tmp_path, rooms):
    path = tmp_path / "huge.dcm"
    with path.open("wb") as file:
        head = META + element(0x00100020, "LO", b"ID", implicit=False) + pixels(3 << 30)
        file.write(head)
        file.truncate(len(head) + (3 << 30))  # sparse: three gigabytes of nothing
    portions = list(extract([source(path)] * 3, 0, 1000))
    outcomes = [outcome for portion in portions for outcome in portion.outcomes]
    assert [outcome.reader for outcome in outcomes] == ["fast"] * 3
    assert {outcome.pixels.length for outcome in outcomes} == {3 << 30}
    assert rooms[0].heads.bytes_read <= 3 * FIRST_BYTES


def test_bytes_behind_long_values_are_reached_without_reading_around(tmp_path, rooms):
    blob = element(0x00420011, "OB", b"\1\2" * 300_000, implicit=False)
    path = tmp_path / "blob.dcm"
    path.write_bytes(META + blob + element(0x00420012, "LO", b"text/html ", implicit=False))
    (portion,) = extract([source(path)] * 2, 0, 1000)
    assert portion.blobs["length"].to_pylist() == [600_000]
    assert {outcome.reader for outcome in portion.outcomes} == {"fast"}


def test_files_that_find_no_room_come_again(tmp_path, rooms, monkeypatch):
    small = Heads(capacity=300_000)
    monkeypatch.setattr(fast, "Heads", lambda: small)
    body = b"".join(element(0x00100020 + i, "LO", b"x" * 4000, implicit=False) for i in range(12))
    path = tmp_path / "one.dcm"
    path.write_bytes(META + body)
    portions = list(extract([source(path)] * 50, 0, 10_000))
    outcomes = [outcome for portion in portions for outcome in portion.outcomes]
    assert [outcome.instance_id for outcome in outcomes] == list(range(50))
    assert {outcome.reader for outcome in outcomes} == {"fast"}
    assert sum(portion.rows.num_rows for portion in portions) == 50 * 13


def test_long_values_in_many_files_are_held_a_part_at_a_time(tmp_path, rooms, monkeypatch):
    monkeypatch.setattr(fast, "MAX_EXTERNAL_BYTES", 300_000)
    sources = []
    for number in range(9):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(
            META + element(0x00420011, "OB", bytes([number]) * 100_000, implicit=False)
        )
        sources.append(source(path))
    portions = list(extract(sources, 0, 10_000))
    assert len(portions) == 3
    assert sum(portion.blobs.num_rows for portion in portions) == 9


def test_many_items(tmp_path, rooms):
    code = element(0x00080100, "SH", b"1234", implicit=False)
    path = tmp_path / "items.dcm"
    path.write_bytes(
        META
        + sequence(
            0x00409096, "SQ", [item(code, undefined=True)] * 50_000, implicit=False, undefined=True
        )
    )
    (portion,) = extract([source(path)], 0, 1000)
    assert portion.outcomes[0].reader == "fast"
    assert portion.rows.num_rows == 50_000 + 2


def test_items_and_elements_are_bounded_apart(tmp_path, monkeypatch):
    """As many items as elements: neither is beyond its bound, together they would be."""
    for module in (walk, items):
        monkeypatch.setattr(module, "MAX_FOUND", 60_000)
    code = element(0x00080100, "SH", b"1234", implicit=False)
    body = [item(code, undefined=True)] * 50_000
    path = tmp_path / "items.dcm"
    path.write_bytes(META + sequence(0x00409096, "SQ", body, implicit=False, undefined=True))
    (portion,) = extract([source(path)], 0, 1000)
    assert portion.outcomes[0].reader == "fast"
    assert portion.rows.num_rows == 50_000 + 2
