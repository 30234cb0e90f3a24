"""Assemble a de-identified file, with the attributes that state the de-identification."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from warehouse.deidentify import elements as el
from warehouse.deidentify.facts import Result
from warehouse.deidentify.profile import PIXELS_CODE
from warehouse.errors import NotDeidentified

if TYPE_CHECKING:
    from warehouse.deidentify.facts import Chunk, Entries
    from warehouse.deidentify.profile import Profile
    from warehouse.deidentify.walk import Walk

IMPLICIT = "1.2.840.10008.1.2"
IMPLEMENTATION = "2.25.230612547108265130671023318209817640152"
_DICOMDIR = "1.2.840.10008.1.3.10"
_AUDIO = "1.2.840.10008.5.1.4.1.1.9.4."
"""Basic Voice and General Audio Waveform Storage. 45 CFR 164.514 (b) (2) (i) (P): voice prints."""
_NAMED = {
    "StudyInstanceUID": 0x0020000D, "SeriesInstanceUID": 0x0020000E, "SOPInstanceUID": 0x00080018,
    "Modality": 0x00080060, "SeriesNumber": 0x00200011, "SeriesDescription": 0x0008103E,
    "StudyDate": 0x00080020, "InstanceNumber": 0x00200013,
}  # fmt: skip


def finished(walk: Walk, entries: Entries, syntax: str) -> Result:
    """Return the file with some elements, and with attributes that state the de-identification.

    Raises
    ------
    NotDeidentified
        It is a DICOMDIR or a recording of sound, or has no valid SOP Instance UID.
    """
    implicit = syntax == IMPLICIT
    facts = walk.facts
    if facts.text("SOPClassUID") == _DICOMDIR:
        raise NotDeidentified("it is a DICOMDIR, which refers to other files")
    if facts.text("SOPClassUID").startswith(_AUDIO):
        raise NotDeidentified("it is a recording of sound: a voice identifies a person")
    old = facts.text("SOPInstanceUID")
    if not old:
        raise NotDeidentified("it has no SOP Instance UID")
    is_cleaned = walk.masked is not None and walk.masked.is_cleaned
    added = _deidentification_elements(walk.profile, implicit=implicit, is_cleaned=is_cleaned)
    patient = walk.key.patient(walk.patient)
    if 0x00100020 not in {tag for tag, _ in entries}:
        added[0x00100020] = el.encoded_element(
            0x00100020, "LO", patient.encode(), implicit=implicit
        )
    entries = [entry for entry in entries if entry[0] not in added] + list(added.items())
    entries.sort(key=lambda entry: entry[0])
    new = old if "uids" in walk.profile.options else walk.key.uid(old)
    chunks: list[Chunk] = [_file_meta(facts.text("SOPClassUID"), new, syntax)]
    pending: list[bytes] = []
    header_bytes = 0
    for _, content in entries:
        if isinstance(content, bytes):
            pending.append(content)
            continue
        chunks.append(b"".join(pending))
        header_bytes = header_bytes or sum(len(chunk) for chunk in chunks)
        pending = []
        chunks += content
    chunks.append(b"".join(pending))
    header_bytes = header_bytes or sum(len(chunk) for chunk in chunks)
    names = {"PatientID": patient} | _template_values(dict(entries), implicit=implicit)
    return Result(
        chunks, walk.changes, walk.uids, names, facts, walk.masked, walk.identity, header_bytes
    )


def _deidentification_elements(
    profile: Profile, *, implicit: bool, is_cleaned: bool
) -> dict[int, bytes | list[Chunk]]:
    def made(tag: int, vr: str, text: str) -> bytes:
        return el.encoded_element(tag, vr, text.encode(), implicit=implicit)

    codes = [*profile.codes, *([PIXELS_CODE] if is_cleaned else [])]
    items = b"".join(
        el.item(
            made(0x00080100, "SH", code) + made(0x00080102, "SH", "DCM")
            + made(0x00080104, "LO", meaning[:64])
        )
        for code, meaning in codes
    )  # fmt: skip
    method = "\\".join((f"PS3.15 2026c {profile.name}", *profile.options))
    marks: dict[int, bytes | list[Chunk]] = {
        0x00120062: made(0x00120062, "CS", "YES"),
        0x00120063: made(0x00120063, "LO", method),
        0x00120064: el.head(0x00120064, "SQ", len(items), implicit=implicit) + items,
        0x00280303: made(0x00280303, "CS", profile.dates),
    }
    if is_cleaned:
        marks[0x00280301] = made(0x00280301, "CS", "NO")
    return marks


def _template_values(
    entries: dict[int, bytes | list[Chunk]], *, implicit: bool
) -> dict[str, str]:  # fmt: skip
    values = {}
    for name, tag in _NAMED.items():
        content = entries.get(tag, b"")
        text = ""
        if isinstance(content, bytes) and content:
            # Its VR may have the longer header, as UN has.
            element = el.read_element(content, 0, len(content), implicit=implicit)
            text = content[element.value :].strip(b" \0").decode("latin-1")
        values[name] = text or "none"
    return values


def _file_meta(sop_class: str, uid: str, syntax: str) -> bytes:
    def made(tag: int, vr: str, value: bytes) -> bytes:
        return el.encoded_element(tag, vr, value, implicit=False)

    if re.search(r"[^0-9.]", sop_class + uid + syntax):
        raise NotDeidentified("its SOP Class, SOP Instance or Transfer Syntax UID is not a UID")
    meta = (
        made(0x00020001, "OB", b"\0\1")
        + made(0x00020002, "UI", sop_class.encode())
        + made(0x00020003, "UI", uid.encode())
        + made(0x00020010, "UI", syntax.encode())
        + made(0x00020012, "UI", IMPLEMENTATION.encode())
        + made(0x00020013, "SH", b"DICOMWAREHOUSE")
    )
    return bytes(128) + b"DICM" + made(0x00020000, "UL", len(meta).to_bytes(4, "little")) + meta
