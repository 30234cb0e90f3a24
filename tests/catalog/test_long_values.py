"""``wh.blob``: the bytes of a binary value by its digest, wherever they lie."""

from __future__ import annotations

import hashlib
import os
import zipfile
from typing import TYPE_CHECKING

import pytest

import warehouse
from tests.asking import answer_of
from tests.dicom_files import element, item, part10, sequence
from tests.test_limits import deflated
from warehouse.errors import ValueNotFound
from warehouse.settings import Limits

if TYPE_CHECKING:
    from pathlib import Path

FEW = Limits(value_bytes=1 << 20)
SHORT, LONG, INSIDE = os.urandom(300), os.urandom((1 << 20) + 2), os.urandom(400)
BODY = (
    element(0x00420011, "OB", LONG)
    + sequence(0x00480105, item(element(0x00282000, "OB", INSIDE)))
    + element(0x00660016, "OB", SHORT)
)


def digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


def read(wh: warehouse.Warehouse, value: bytes) -> bytes:
    with wh.blob(digest(value)) as file:
        return file.read()


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("form", ["plain", "deflated", "zip"])
def test_a_value_is_had_whether_it_was_kept_or_not(form: str, keeps: bool, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(deflated(BODY) if form == "deflated" else part10(BODY))
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.write(source, "file")
        source = tmp_path / "all.zip"
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(source, workers=1, limits=FEW, keep_blobs=keeps)
    assert answer_of(wh, "select count(*) from blobs") == [(2 if keeps else 0,)]
    for value in (SHORT, INSIDE, LONG):
        assert read(wh, value) == value


def test_a_value_whose_file_is_gone_or_changed_is_never_given(tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(part10(BODY))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(source, workers=1, limits=FEW)
    changed = bytearray(source.read_bytes())
    changed[changed.index(LONG)] ^= 1
    source.write_bytes(changed)
    with pytest.raises(ValueNotFound, match="no file has these bytes any more"):
        wh.blob(digest(LONG))
    source.unlink()
    with pytest.raises(ValueNotFound, match="mount its source"):
        wh.blob(digest(LONG))
    # What is kept does not need the file.
    assert read(wh, SHORT) == SHORT
    with pytest.raises(ValueNotFound, match="no element of this version"):
        wh.blob("0" * 64)


def test_one_of_two_files_is_enough(tmp_path: Path) -> None:
    for name, uid in (("a", "1.1"), ("b", "1.2")):
        (tmp_path / name).write_bytes(part10(BODY, uid=uid))
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "a", tmp_path / "b", workers=1, limits=FEW)
    (tmp_path / "a").unlink()
    assert read(wh, LONG) == LONG
