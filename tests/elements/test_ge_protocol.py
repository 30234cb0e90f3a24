"""The GE protocol data block: gzip text of settings."""

from __future__ import annotations

import os
from pathlib import Path

import pydicom
import pytest

from tests.vendor_payloads import ge_protocol
from warehouse.elements.ge_protocol import read_ge_protocol
from warehouse.elements.payload import PayloadValue


def test_a_setting_is_a_value_with_or_without_the_word_set() -> None:
    block = ge_protocol(
        'set PSEQ "epi"\nTR "2000.0"\nNUMSLICES "36"\nHOS 0\nSEDESC "a \\"b\\""\nX ""\n'
    )
    assert read_ge_protocol(block) == [
        PayloadValue("PSEQ", text="epi"),
        PayloadValue("TR", text="2000.0", real=2000.0),
        PayloadValue("NUMSLICES", text="36", integer=36, real=36.0),
        PayloadValue("HOS", text="0", integer=0, real=0.0),
        PayloadValue("SEDESC", text='a \\"b\\"'),
        PayloadValue("X", text=""),
    ]


def test_cut_off_at_any_byte_it_is_a_warning() -> None:
    block = ge_protocol('TR "2000.0"\nTE "30"\n' * 5)
    for length in range(len(block)):
        assert read_ge_protocol(block[:length])[-1].warning, length


@pytest.mark.parametrize(
    ("block", "warning"),
    [
        (b"", "not a protocol data block: no gzip"),
        (b"\0\0\0\0\x1f\x8bxxxxxxxxxxxx", "protocol data block is damaged gzip"),
        (ge_protocol("<xml/>\n"), "1 lines are no settings"),
        (ge_protocol("\n".join(f'A{n} "1"' for n in range(20_001))), "more than 20000 settings"),
    ],
)
def test_damage_is_a_warning(block: bytes, warning: str) -> None:
    assert str(read_ge_protocol(block)[-1].warning).startswith(warning)


def test_a_bomb_is_not_unpacked() -> None:
    block = ge_protocol("\n" * 5_000_000)
    (value,) = read_ge_protocol(block)
    assert value.warning == f"text of over {64 * len(block)} bytes"


def test_the_block_of_a_scanner_is_read_whole() -> None:
    corpus = os.environ.get("DICOM_CORPUS")
    if not corpus:
        pytest.skip("DICOM_CORPUS is not set")
    file = min(Path(corpus, "ge_fmri").iterdir())
    values = read_ge_protocol(pydicom.dcmread(file, stop_before_pixels=True)[0x0025101B].value)
    assert len(values) == 110
    assert not [value for value in values if value.warning]
    assert {"PSEQ", "PLANE"} <= {value.name for value in values}
