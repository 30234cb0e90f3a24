"""CSA headers: equal to what nibabel reads, and whole or a warning whatever is broken (D36)."""

from __future__ import annotations

import gzip
import os
import random
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import pytest
from nibabel.nicom import csareader

from tests.conftest import PACKAGED
from tests.vendor_payloads import CSA, csa
from warehouse.elements.csa import CsaReader, protocol_text
from warehouse.elements.payload import PayloadValue

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = [
    ("EchoTime", "DS", ["12.50000000"]),
    ("B_value", "IS", ["1000"]),
    ("DiffusionGradientDirection", "FD", ["0.1", "-0.2", "0.97467943"]),
    ("ImageComment", "LT", []),
    ("ICE_Dims", "LO", ["X_1_1_1"]),
]


def real_headers() -> dict[str, bytes]:
    """Return every CSA header in nibabel's package and in the Siemens folders of $DICOM_CORPUS."""
    folder = PACKAGED["nibabel"]
    found = {path.name: path.read_bytes() for path in folder.glob("csa*.bin")}
    found |= {p.name: gzip.decompress(p.read_bytes()) for p in folder.glob("csa*.bin.gz")}
    files = sorted(folder.glob("*.dcm*"))
    if corpus := os.environ.get("DICOM_CORPUS"):
        files += sorted(Path(corpus).glob("siemens_*/*"))
    for path in files:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for element in private_elements(pydicom.dcmread(file, stop_before_pixels=True)):
                if element.tag.element & 0xFF in {0x10, 0x20}:
                    found[f"{path.name} {element.tag}"] = element.value
    return found


def private_elements(dataset: pydicom.Dataset) -> Iterator[pydicom.DataElement]:
    for element in dataset.group_dataset(0x29):
        if element.tag.is_private and element.private_creator == CSA:
            yield element


HEADERS = real_headers()


@pytest.mark.parametrize("name", HEADERS)
def test_every_value_is_that_of_nibabel(name: str) -> None:
    raw = HEADERS[name]
    ours = CsaReader().read(raw)
    try:
        theirs = csareader.read(raw)
    except csareader.CSAReadError:
        assert ours[-1].warning
        return
    assert not [value for value in ours if value.warning]
    assert list(dict.fromkeys(value.name for value in ours)) == list(theirs["tags"])
    assert len({value.name for value in ours}) == theirs["n_tags"]
    for element, tag in theirs["tags"].items():
        values = [v for v in ours if v.name == element]
        assert {v.vr for v in values} == {tag["vr"]}
        if element in {"MrPhoenixProtocol", "MrProtocol"}:
            assert [v.text for v in values] == [None]
            if element == "MrPhoenixProtocol":
                assert protocol_text(raw) == tag["items"][0].rstrip(" ")
            continue
        found = [typed(v) for v in values if v.text is not None]
        wanted = [plain(item) for item in tag["items"]]
        assert found == wanted, element
        assert [v.position for v in values] == list(range(max(len(wanted), 1)))


def plain(item: object) -> object:
    """Return an item without padding; nibabel leaves one without NUL as bytes."""
    if isinstance(item, bytes):
        item = item.decode("latin-1")
    return item.rstrip(" ") if isinstance(item, str) else item


def typed(value: PayloadValue) -> object:
    if value.vr in {"FL", "FD", "DS"}:
        return value.real
    return value.integer if value.vr in {"SS", "US", "SL", "UL", "IS"} else value.text


def test_there_are_headers_to_compare() -> None:
    assert len(HEADERS) >= 5


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("spare_items", [0, 3])
def test_both_types_have_names_indices_and_typed_values(version: int, spare_items: int) -> None:
    assert CsaReader().read(csa(SMALL, version=version, spare_items=spare_items)) == [
        PayloadValue("EchoTime", 0, "DS", "12.50000000", None, 12.5),
        PayloadValue("B_value", 0, "IS", "1000", 1000, 1000.0),
        PayloadValue("DiffusionGradientDirection", 0, "FD", "0.1", None, 0.1),
        PayloadValue("DiffusionGradientDirection", 1, "FD", "-0.2", None, -0.2),
        PayloadValue("DiffusionGradientDirection", 2, "FD", "0.97467943", None, 0.97467943),
        PayloadValue("ImageComment", 0, "LT"),
        PayloadValue("ICE_Dims", 0, "LO", "X_1_1_1"),
    ]


def test_a_damaged_check_value_is_a_warning_beside_the_value() -> None:
    values = CsaReader().read(csa(SMALL[:1], check=78))
    warning = "check value is neither 77 nor 205"
    assert values == [PayloadValue("EchoTime", 0, "DS", "12.50000000", None, 12.5, warning)]


def test_what_is_no_number_keeps_its_text() -> None:
    (value,) = CsaReader().read(csa([("B_value", "IS", ["many"])]))
    assert value == PayloadValue("B_value", 0, "IS", "many", None, None, "not a number")


@pytest.mark.parametrize("version", [1, 2])
def test_cut_off_at_any_byte_it_keeps_what_stands_before(version: int) -> None:
    raw = csa(SMALL, version=version, spare_items=1)
    whole = CsaReader().read(raw)
    for length in range(len(raw)):
        values = CsaReader().read(raw[:length])
        assert values[-1].warning, length
        sound = [value for value in values if value.warning is None]
        assert sound == whole[: len(sound)]


def test_any_bytes_are_read_in_bounds() -> None:
    chance = random.Random(1)
    raw = csa(SMALL)
    for _ in range(2000):
        damaged = bytearray(raw)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(raw))] = chance.choice([0, 1, 127, 255])
        reader = CsaReader()
        reader.read(raw)
        # What was read before must not show in what is read now.
        assert reader.read(bytes(damaged)) == CsaReader().read(bytes(damaged))


@pytest.mark.parametrize(
    ("count", "why"), [(0, "0 elements"), (1 << 31, "2147483648 elements"), (5, "ends in element")]
)
def test_lying_counts_are_warnings(count: int, why: str) -> None:
    raw = bytearray(csa(SMALL[:2]))
    struct.pack_into("<I", raw, 8, count)
    assert why in str(CsaReader().read(bytes(raw))[-1].warning)


def test_a_header_like_one_before_is_read_by_what_differs() -> None:
    reader = CsaReader()
    for echo in ("12.50000000", "13.50000000", "9.5"):
        elements = [("EchoTime", "DS", [echo]), *SMALL[1:]]
        assert reader.read(csa(elements)) == CsaReader().read(csa(elements))
    assert len(reader._known) == 2


def test_of_two_elements_of_one_name_the_last_counts() -> None:
    raw = csa([("A", "IS", ["1"]), ("B", "IS", ["2"]), ("A", "IS", ["3"])])
    reader = CsaReader()
    for _ in range(2):
        assert [(v.name, v.integer) for v in reader.read(raw)] == [("A", 3), ("B", 2)]


def test_an_element_without_a_name_is_damage() -> None:
    values = CsaReader().read(csa([("A", "IS", ["1"]), ("", "IS", ["2"])]))
    assert [(v.name, v.warning) for v in values] == [
        ("A", None), ("", "CSA element 1 of 2 has no name"),
    ]  # fmt: skip
