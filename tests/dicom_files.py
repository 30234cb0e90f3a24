"""Builds DICOM files from keyword arguments, so that a test shows only what is special about its file.

``write`` goes through pydicom and makes files as they should be; ``element`` and ``part10`` set
down bytes, for files as they should not be.
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
LONG_VRS = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
UNDEFINED = 0xFFFFFFFF

SYNTAXES = {
    "implicit": ImplicitVRLittleEndian,
    "explicit": ExplicitVRLittleEndian,
    "big": ExplicitVRBigEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
}


def dataset(**attributes: Any) -> Dataset:
    """Return a data set with exactly these attributes; lists of data sets become sequences."""
    made = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in attributes.items():
            setattr(made, keyword, value)
    return made


def image(uid: str = "1.1", **attributes: Any) -> Dataset:
    """Return a small CT image; ``None`` takes an attribute away."""
    usual: dict[str, Any] = {
        "SOPClassUID": CT,
        "SOPInstanceUID": uid,
        "PatientID": "P1",
        "PatientName": "Doe^Jane",
        "StudyInstanceUID": "1.2.1",
        "SeriesInstanceUID": "1.2.1.1",
        "Modality": "CT",
        "InstanceNumber": 1,
        "Rows": 2,
        "Columns": 2,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PixelData": b"\1\2\3\4",
    }
    merged = {key: value for key, value in {**usual, **attributes}.items() if value is not None}
    made = dataset(**merged)
    if "PixelData" in made:
        made["PixelData"].VR = "OB"
    return made


def write(
    path: Path, content: Dataset | None = None, syntax: str = "explicit", **attributes: Any
) -> Path:
    """Write a data set, or an ``image`` with these attributes, as a DICOM file."""
    content = image(**attributes) if content is None else content
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = SYNTAXES[syntax]
    if "SOPClassUID" in content:
        meta.MediaStorageSOPClassUID = content.SOPClassUID
    if "SOPInstanceUID" in content:
        meta.MediaStorageSOPInstanceUID = content.SOPInstanceUID
    content.file_meta = meta
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content.save_as(path, enforce_file_format=False, **_encoding(syntax))
    if path.read_bytes()[128:132] != b"DICM":
        path.write_bytes(bytes(128) + b"DICM" + path.read_bytes())
    return path


def _encoding(syntax: str) -> dict[str, bool]:
    return {"implicit_vr": syntax == "implicit", "little_endian": syntax != "big"}


def element(
    tag: int, vr: str, value: bytes, *, length: int | None = None, implicit: bool = False
) -> bytes:
    """Return the bytes of one data element, little endian; ``length`` may lie."""
    length = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return head + struct.pack("<L", length) + value
    if vr in LONG_VRS:
        return head + vr.encode() + bytes(2) + struct.pack("<L", length) + value
    return head + vr.encode() + struct.pack("<H", length) + value


def item(content: bytes, *, length: int | None = None) -> bytes:
    """Return one item of a sequence; of undefined length if ``length`` says so."""
    length = len(content) if length is None else length
    end = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) if length == UNDEFINED else b""
    return struct.pack("<HHL", 0xFFFE, 0xE000, length) + content + end


def sequence(tag: int, *items: bytes, undefined: bool = False) -> bytes:
    """Return a sequence of these items, explicit VR."""
    if undefined:
        end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
        return element(tag, "SQ", b"".join(items) + end, length=UNDEFINED)
    return element(tag, "SQ", b"".join(items))


def part10(*elements: bytes, uid: str = "1.1", syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Return a file: preamble, prefix, meta, SOP Instance UID if ``uid``, then what is given."""
    meta = element(0x00020010, "UI", _padded(syntax))
    own = element(0x00080018, "UI", _padded(uid)) if uid else b""
    return bytes(128) + b"DICM" + meta + own + b"".join(elements)


def _padded(uid: str) -> bytes:
    return uid.encode() + b"\0" * (len(uid) % 2)
