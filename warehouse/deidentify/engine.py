"""One DICOM file → the same file without what identifies a person, and a row for every change.

In: the bytes of a file, a profile, a key, the patient. Out: ``Result``, the bytes of another file.
The function is pure: the same input gives the same output, whoever asks and whenever. Elements are
taken one by one at any depth; what the profile does not name is kept if the dictionary knows it.
What is kept is then searched for the names and numbers that were taken out; where one is found, its
element goes too.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from warehouse.deidentify import elements as el
from warehouse.deidentify import values
from warehouse.deidentify.identity import Identity
from warehouse.deidentify.profile import PIXELS_CODE, Action, Profile
from warehouse.errors import NotDeidentified

if TYPE_CHECKING:
    from collections.abc import Callable

    from warehouse.deidentify.key import Key

    Chunk = bytes | memoryview
    Pixels = Callable[["Facts", "Chunk"], "Masked"]

IMPLICIT, DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"
EXPLICIT = "1.2.840.10008.1.2.1"
_UNREADABLE = {
    "1.2.840.10008.1.2.2": "it is big endian",
    "1.2.840.113619.5.2": "its transfer syntax is one of GE with two byte orders",
}
_DICOMDIR = b"1.2.840.10008.1.3.10"
IMPLEMENTATION = "2.25.230612547108265130671023318209817640152"
MAX_INFLATED = 1 << 30
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_CODE_MEANING, _SCHEME = 0x00080104, 0x00080102
_SCHEMES = frozenset(
    b"BI C4 DCM DCMUID FMA I10 I9 I9C I9CDX ICD10 IBSI LN MDC NCIT NCIt NEU RADLEX RFC3066 RFC5646 "
    b"SCT SNM3 SRT 99SDM UBERON UCUM UMLS".split()
)
"""Schemes whose meanings are published; those of local ones are what somebody typed."""
_FACTS = {
    0x00080005: "charset", 0x00080008: "ImageType", 0x00080016: "SOPClassUID",
    0x00080018: "SOPInstanceUID", 0x00080060: "Modality", 0x00080064: "ConversionType",
    0x00080070: "Manufacturer", 0x00081090: "ManufacturerModelName", 0x00280002: "SamplesPerPixel",
    0x00280004: "PhotometricInterpretation", 0x00280006: "PlanarConfiguration",
    0x00280008: "NumberOfFrames", 0x00280010: "Rows", 0x00280011: "Columns",
    0x00280100: "BitsAllocated", 0x00280101: "BitsStored", 0x00280102: "HighBit",
    0x00280301: "BurnedInAnnotation",
}  # fmt: skip
_NUMBERS = {"SamplesPerPixel", "PlanarConfiguration", "Rows", "Columns"} | {
    "BitsAllocated", "BitsStored", "HighBit",
}  # fmt: skip
_NAMED = {
    "StudyInstanceUID": 0x0020000D, "SeriesInstanceUID": 0x0020000E, "SOPInstanceUID": 0x00080018,
    "Modality": 0x00080060, "SeriesNumber": 0x00200011, "SeriesDescription": 0x0008103E,
    "StudyDate": 0x00080020, "InstanceNumber": 0x00200013,
}  # fmt: skip
_TEXT = frozenset(
    {"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"}
)
_DIGITS = b"0123456789+-.eE \\\0"
_MARKS = {0x00120062, 0x00120063, 0x00120064, 0x00280303}
_STRUCTURED = {0x0040A730, 0x00400555, 0x0040B020}
# What a content item must have, whatever the action is elsewhere.
_IN_CONTENT = {0x0040A160: Action("D", "structured"), 0x0040A123: Action("D", "structured")}
_DUMMY_CODE = (
    (0x00080100, "SH", b"REMOVED "), (0x00080102, "SH", b"99REMOVED "), (0x00080104, "LO", b"REMOVED "),
)  # fmt: skip


class Change(NamedTuple):
    """What became of an element; never what it held."""

    path: str
    tag: int
    vr: str
    action: str
    option: str
    reason: str


@dataclass(slots=True)
class Facts:
    """What the top level of a header says of its pixels, as it stands in the source."""

    values: dict[str, str | int] = field(default_factory=dict)
    transfer_syntax: str = ""
    has_embedded_overlay: bool = False
    """An overlay lies in the bits of the pixels that are not theirs."""

    def text(self, name: str) -> str:
        """Return a value as text, empty if it is missing."""
        return str(self.values.get(name, ""))

    def number(self, name: str, default: int = 0) -> int:
        """Return a value as a number."""
        found = self.values.get(name, default)
        return found if isinstance(found, int) else default


class Masked(NamedTuple):
    """Pixel data as they are to be written, and what was done to them."""

    pixels: list[Chunk]
    """Pieces of the value, delimiters included if it is encapsulated."""
    changes: list[str]
    """Reason of each change; empty if the pixels are those of the source."""
    is_cleaned: bool
    """Text in the pixels was looked for and blacked out."""
    rectangles: tuple[tuple[int, int, int, int], ...] = ()
    """To be blacked out in the compressed frames: column, row, width, height."""


@dataclass(slots=True)
class Result:
    """A de-identified file."""

    chunks: list[Chunk]
    changes: list[Change]
    uids: dict[str, str]
    """New UID by old one."""
    names: dict[str, str]
    """What a template of file names may name, of the new file."""
    facts: Facts
    masked: Masked | None
    identity: Identity
    header_bytes: int
    """Bytes before the pixel data."""


def deidentify(
    data: bytes, profile: Profile, key: Key, patient: str, pixels: Pixels | None = None
) -> Result:
    """Return a file without what identifies a person.

    Parameters
    ----------
    data
        A whole DICOM file; may be mapped from disk.
    profile
        What becomes of each attribute.
    key
        Makes the new identities.
    patient
        Who it is, in the words of ``instances.patient_key``: decides pseudonym and shift of dates.
    pixels
        What becomes of the pixel data; by default they are copied as they are.

    Raises
    ------
    NotDeidentified
        It cannot be done with certainty; says why.
    """
    syntax, start = _meta(data)
    if syntax in _UNREADABLE:
        raise NotDeidentified(f"{_UNREADABLE[syntax]}, which is not de-identified")
    if syntax == DEFLATED:
        inflater = zlib.decompressobj(-15)
        try:
            data, start, syntax = (
                inflater.decompress(bytes(data[start:]), MAX_INFLATED),
                0,
                EXPLICIT,
            )
        except zlib.error:
            raise NotDeidentified("its deflated data set cannot be inflated") from None
        if inflater.unconsumed_tail:
            raise NotDeidentified(f"it inflates to more than {MAX_INFLATED} bytes")
    forced: frozenset[tuple[str, int]] = frozenset()
    for _ in range(4):
        walk = _Walk(data, profile, key, patient, pixels, forced)
        walk.facts.transfer_syntax = syntax
        entries = walk.top(start, implicit=syntax == IMPLICIT)
        found = walk.identity.found_in(walk.kept)
        if not found:
            return walk.finished(entries, syntax)
        forced |= found
    raise NotDeidentified("a value of the identity stands where it cannot be removed")


def _meta(data: bytes) -> tuple[str, int]:
    """Return transfer syntax and where the data set begins."""
    if bytes(data[128:132]) != b"DICM":
        if bytes(data[:2]) != b"\x08\0" or len(data) < 8:
            raise NotDeidentified("it has no preamble and no file meta information")
        return EXPLICIT if bytes(data[4:6]) in el.VRS else IMPLICIT, 0
    pos, syntax, limit = 132, "", len(data)
    while pos + 8 <= limit and data[pos] == 2 and data[pos + 1] == 0:
        element = el.read_element(data, pos, limit, implicit=False)
        if element.end is None:
            raise NotDeidentified("its file meta information is damaged")
        if element.tag == 0x00020010:
            syntax = bytes(data[element.value : element.end]).strip(b" \0").decode("latin-1")
        pos = element.end
    if not syntax:
        raise NotDeidentified("it names no transfer syntax")
    return syntax, pos


class _Walk:
    """One pass over a file."""

    def __init__(
        self, data: bytes, profile: Profile, key: Key, patient: str, pixels: Pixels | None,
        forced: frozenset[tuple[str, int]],
    ) -> None:  # fmt: skip
        self.data, self.profile, self.key, self.patient = data, profile, key, patient
        self.days = key.days(patient)
        self.pixels, self.forced = pixels, forced
        self.changes: list[Change] = []
        self.uids: dict[str, str] = {}
        self.kept: list[tuple[str, int, str, bytes]] = []
        self.identity = Identity(patient)
        self.facts = Facts()
        self.masked: Masked | None = None
        self.has_overlay_plane = False

    def top(self, start: int, *, implicit: bool) -> list[tuple[int, bytes | list[Chunk]]]:
        entries, _ = self._level(start, len(self.data), "", 0, implicit=implicit)
        return entries

    def _level(
        self, pos: int, limit: int, path: str, depth: int, *, implicit: bool,
        delimited: bool = False, structured: bool = False,
    ) -> tuple[list[tuple[int, bytes | list[Chunk]]], int]:  # fmt: skip
        """Return the elements of a data set or item as they are to be, and where it ends."""
        if depth > el.DEEPEST:
            raise NotDeidentified(f"its sequences are deeper than {el.DEEPEST} levels")
        data, known, actions = self.data, self.profile.vrs, self.profile.actions
        entries: list[tuple[int, bytes | list[Chunk]]] = []
        blocks: dict[int, str] = {}
        scheme = b""
        while pos < limit:
            tag, vr, start, value, end = el.read_element(data, pos, limit, implicit=implicit)
            if tag == el.ITEM_END:
                if not delimited:
                    raise NotDeidentified("a delimiter stands where no item ends")
                return entries, value
            group = tag >> 16
            if group & 1:
                pos = self._private(
                    entries,
                    blocks,
                    path,
                    depth,
                    tag,
                    vr,
                    start,
                    value,
                    end,
                    limit,
                    implicit=implicit,
                )
                continue
            if (group >> 8) in {0x50, 0x60}:
                self._overlay(tag, path)
                pos = self._end(value, end, limit, vr, implicit=implicit)
                self._note(path, tag, vr, "X", "basic", "overlays and curves go with their group")
                continue
            if tag & 0xFFFF == 0:  # lengths of groups are retired, and would be wrong now
                pos = self._end(value, end, limit, vr, implicit=implicit)
                continue
            if tag in _PIXELS and not path:
                pos = self._pixels(entries, tag, vr, start, value, end, limit, implicit=implicit)
                continue
            if tag in _MARKS and not path:  # written anew
                pos = self._end(value, end, limit, vr, implicit=implicit)
                continue
            usual = known.get(tag, "")
            action = actions.get(tag)
            if structured and tag in _IN_CONTENT:
                action = _IN_CONTENT[tag]
            if (path, tag) in self.forced:
                action = Action("X", "beyond")
            is_sequence = usual == "SQ" or vr == "SQ"
            if not usual or not self.profile.keywords[tag]:
                pos = self._end(value, end, limit, vr, implicit=implicit)
                self._note(path, tag, vr, "X", "beyond", "no dictionary knows it")
                continue
            if is_sequence or end is None:
                pos = self._sequence(
                    entries, path, depth, tag, vr, value, end, limit, action, implicit=implicit,
                    structured=structured or tag in _STRUCTURED,
                )  # fmt: skip
                continue
            content = bytes(data[value:end])
            pos = end
            if not path and tag in _FACTS:
                self._fact(tag, content)
            if tag == _SCHEME:
                scheme = content.strip(b" \0")
            elif tag == _CODE_MEANING and scheme not in _SCHEMES and content and action is None:
                entries.append(
                    (tag, self._made(tag, vr or usual, values.REMOVED, implicit=implicit))
                )
                self._note(path, tag, vr or usual, "D", "beyond", "meaning of a local code")
                continue
            if action is None:
                if self._keep(path, tag, vr, usual, content):
                    entries.append((tag, bytes(data[start:end])))
                continue
            self.identity.add(tag, self.profile.keywords[tag], usual, content)
            made = self._changed(path, tag, vr, usual, content, action)
            if made is not None:
                entries.append((tag, self._made(tag, vr or _one(usual), made, implicit=implicit)))
        if delimited:
            raise NotDeidentified("an item is cut off")
        return entries, pos

    def _note(self, path: str, tag: int, vr: str, action: str, option: str, reason: str) -> None:
        self.changes.append(Change(path, tag, vr, action, option, reason))

    def _made(self, tag: int, vr: str, value: bytes, *, implicit: bool) -> bytes:
        padded = values.even(value, vr)
        return el.head(tag, vr, len(padded), implicit=implicit) + padded

    def _end(self, value: int, end: int | None, limit: int, vr: str, *, implicit: bool) -> int:
        if end is not None:
            return end
        return el.skip_undefined(self.data, value, limit, implicit=implicit or vr == "UN")

    def _keep(self, path: str, tag: int, vr: str, usual: str, content: bytes) -> bool:
        """Return whether an element that the profile lets pass is what it says it is."""
        if vr and vr != usual and vr != "UN" and vr not in usual.split(" or "):
            if not (vr in _TEXT and usual in _TEXT):
                self._note(path, tag, vr, "X", "beyond", "its VR is not that of the dictionary")
                return False
        if usual in {"DS", "IS"}:
            if content.translate(None, _DIGITS):
                self._note(path, tag, vr or usual, "X", "beyond", "text where a number should be")
                return False
        elif usual == "UI":
            if content.translate(None, b"0123456789.\\\0 "):
                self._note(path, tag, vr or usual, "X", "beyond", "text where a UID should be")
                return False
        elif len(content) > 2:
            self.kept.append((path, tag, usual, content))
        return True

    def _changed(
        self, path: str, tag: int, vr: str, usual: str, content: bytes, action: Action
    ) -> bytes | None:
        """Return the new value of an element, None where it goes; note what happened."""
        code, shown = action.code, vr or usual
        made: bytes | None
        reason = ""
        if code == "U" and usual == "UI":
            made = self._uids(content)
            if made == content.strip(b" \0"):
                return made
        elif tag in {0x00100010, 0x00100020} and code in "ZD" and not path:
            made, code, reason = self.key.patient(self.patient).encode(), "D", "pseudonym"
        elif code == "Z":
            made = b""
            if not content.strip(b" \0"):
                return b""
        elif code == "D":
            is_name = self.profile.keywords[tag].endswith(("ID", "IDs", "Identifier", "Label"))
            made = values.dummy(_one(usual), content, is_name=is_name, key=self.key)
        elif code == "C":
            made, code, reason = self._cleaned(path, tag, usual, content, action)
            if made == content.strip(b" \0"):
                return made
            if not made and action.basic == "D" and made is not None:  # it must have a value
                made, code = values.dummy(_one(usual), b"", is_name=False, key=self.key), "D"
        else:
            made, code = None, "X"
        self._note(path, tag, shown, code, action.option, reason)
        return made

    def _cleaned(
        self, path: str, tag: int, usual: str, content: bytes, action: Action
    ) -> tuple[bytes | None, str, str]:
        if usual in {"DA", "DT", "TM"}:
            moved = values.shifted(usual, content, self.days)
            if moved is None:
                return b"", "Z", "no whole date: cannot be shifted"
            return moved, "C", "shifted by the days of the patient"
        if usual == "AS":
            age = values.capped_age(content)
            return (b"", "Z", "no age") if age is None else (age, "C", "ages over 89 are 90 years")
        if usual in _TEXT and action.option != "dates-shifted":
            kept = values.clean_text(content, self.identity.words)
            self.kept.append((path, tag, usual, kept))  # names may follow that are such words
            return kept, "C" if kept else "Z", "words that are not known are removed"
        return None, "X", "cannot be cleaned"

    def _uids(self, content: bytes) -> bytes:
        made = []
        for one in content.split(b"\\"):
            old = one.strip(b" \0").decode("latin-1")
            new = self.key.uid(old) if old else ""
            if new != old:
                self.uids[old] = new
            made.append(new)
        return "\\".join(made).encode("latin-1")

    def _sequence(
        self, entries: list[tuple[int, bytes | list[Chunk]]], path: str, depth: int, tag: int,
        vr: str, value: int, end: int | None, limit: int, action: Action | None, *, implicit: bool,
        structured: bool,
    ) -> int:  # fmt: skip
        usual = self.profile.vrs[tag]
        code = action.code if action else ""
        option = action.option if action else "beyond"
        if vr not in {"SQ", ""} or usual != "SQ":
            pos = self._end(value, end, limit, vr, implicit=implicit)
            self._note(path, tag, vr, "X", "beyond", "a sequence that is not declared as one")
            return pos
        if code in {"X", "Z", "D", "U"}:
            pos = self._end(value, end, limit, vr, implicit=implicit)
            if tag >> 16 == 0x0010:
                self._identities(path, depth, tag, value, end, limit, implicit=implicit)
            made = b"" if code != "D" else el.item(self._dummy_item(tag, implicit=implicit))
            if code != "X":
                entries.append((tag, el.head(tag, "SQ", len(made), implicit=implicit) + made))
            if code != "Z" or end != value:
                self._note(path, tag, "SQ", code, option, "")
            return pos
        items, pos = self._items(
            path, depth, tag, value, end, limit, implicit=implicit, structured=structured
        )
        entries.append((tag, el.head(tag, "SQ", len(items), implicit=implicit) + items))
        return pos

    def _identities(
        self, path: str, depth: int, tag: int, value: int, end: int | None, limit: int, *,
        implicit: bool,
    ) -> None:  # fmt: skip
        """Gather what the items of a removed sequence say of the patient."""
        changes, kept, uids = len(self.changes), len(self.kept), dict(self.uids)
        self._items(path, depth, tag, value, end, limit, implicit=implicit, structured=False)
        del self.changes[changes:], self.kept[kept:]
        self.uids = uids

    def _dummy_item(self, tag: int, *, implicit: bool) -> bytes:
        if not self.profile.keywords.get(tag, "").endswith("CodeSequence"):
            return b""
        made = (self._made(*entry, implicit=implicit) for entry in _DUMMY_CODE)
        return b"".join(made)

    def _items(
        self, path: str, depth: int, tag: int, value: int, end: int | None, limit: int, *,
        implicit: bool, structured: bool,
    ) -> tuple[bytes, int]:  # fmt: skip
        name = self.profile.keywords.get(tag) or f"{tag:08X}"
        inside = f"{path}.{name}" if path else name
        made: list[bytes] = []
        pos, stop = value, limit if end is None else end
        while pos < stop or end is None:
            kind, length = el.read_item(self.data, pos, stop)
            pos += 8
            if kind == el.SEQUENCE_END and end is None:
                break
            if kind != el.ITEM:
                raise NotDeidentified("a sequence holds what is no item")
            is_open = length == el.UNDEFINED
            if not is_open and pos + length > stop:
                raise NotDeidentified("an item reaches beyond its sequence")
            level, pos = self._level(
                pos, stop if is_open else pos + length, f"{inside}[{len(made)}]", depth + 1,
                implicit=implicit, delimited=is_open, structured=structured,
            )  # fmt: skip
            made.append(el.item(_joined(level)))
        return b"".join(made), pos

    def _private(
        self, entries: list[tuple[int, bytes | list[Chunk]]], blocks: dict[int, str], path: str,
        depth: int, tag: int, vr: str, start: int, value: int, end: int | None, limit: int, *,
        implicit: bool,
    ) -> int:  # fmt: skip
        """Keep a private element if it is known to be safe, and then the name of its block too."""
        after = self._end(value, end, limit, vr, implicit=implicit)
        number = tag & 0xFFFF
        safe = self.profile.safe_private
        if safe and 0x10 <= number <= 0xFF and end is not None:
            creator = bytes(self.data[value:end]).strip(b" \0").decode("latin-1")
            blocks[tag >> 16 << 16 | number] = creator
            return after
        block = tag >> 16 << 16 | number >> 8
        creator = blocks.get(block, "")
        is_kept = (creator, tag >> 16, number & 0xFF) in safe and (path, tag) not in self.forced
        if is_kept and end is not None and vr != "SQ":
            content = bytes(self.data[value:end])
            self.kept.append((path, tag, "LO", content))
            if not any(tag == block for tag, _ in entries):
                owner = creator.encode("latin-1")
                entries.append((block, self._made(block, "LO", owner, implicit=implicit)))
            entries.append((tag, bytes(self.data[start:end])))
            return after
        self._note(path, tag, vr, "X", "basic", "private")
        return after

    def _overlay(self, tag: int, path: str) -> None:
        if tag >> 24 == 0x60 and not path:
            if tag & 0xFFFF == 0x3000:
                self.has_overlay_plane = True
            else:
                self.facts.has_embedded_overlay = True

    def _fact(self, tag: int, content: bytes) -> None:
        name = _FACTS[tag]
        if name in _NUMBERS and len(content) == 2:
            self.facts.values[name] = int.from_bytes(content, "little")
            return
        text = content.strip(b" \0").decode("latin-1")
        self.facts.values[name] = int(text) if name == "NumberOfFrames" and text.isdigit() else text

    def _pixels(
        self, entries: list[tuple[int, bytes | list[Chunk]]], tag: int, vr: str, start: int,
        value: int, end: int | None, limit: int, *, implicit: bool,
    ) -> int:  # fmt: skip
        after = el.fragments_end(self.data, value, limit) if end is None else end
        content = memoryview(self.data)[value:after]
        if self.has_overlay_plane:
            self.facts.has_embedded_overlay = False
        masked = self.pixels(self.facts, content) if self.pixels else Masked([content], [], False)
        self.masked = masked
        shown = vr or ("OW" if tag == 0x7FE00010 else "OF" if tag == 0x7FE00008 else "OD")
        for reason in masked.changes:
            self._note("", tag, shown, "C", "pixels", reason)
        if end is None:
            entries.append((tag, [bytes(self.data[start:value]), *masked.pixels]))
        else:
            length = sum(len(piece) for piece in masked.pixels)
            entries.append((tag, [el.head(tag, shown, length, implicit=implicit), *masked.pixels]))
        return after

    def finished(self, entries: list[tuple[int, bytes | list[Chunk]]], syntax: str) -> Result:
        """Add what says that the file is de-identified, and put it together."""
        implicit = syntax == IMPLICIT
        facts = self.facts
        if facts.text("SOPClassUID").encode() == _DICOMDIR:
            raise NotDeidentified("it is a DICOMDIR, which names other files")
        old = facts.text("SOPInstanceUID")
        if not old:
            raise NotDeidentified("it has no SOP Instance UID")
        is_cleaned = self.masked is not None and self.masked.is_cleaned
        made = self._marks(implicit=implicit, is_cleaned=is_cleaned)
        present = {tag for tag, _ in entries}
        if 0x00100020 not in present:
            name = self.key.patient(self.patient).encode()
            made[0x00100020] = self._made(0x00100020, "LO", name, implicit=implicit)
        entries = [entry for entry in entries if entry[0] not in made] + list(made.items())
        entries.sort(key=lambda entry: entry[0])
        retained = "uids" in self.profile.options
        new = old if retained else self.key.uid(old)
        chunks: list[Chunk] = [_preamble(facts.text("SOPClassUID"), new, syntax)]
        small: list[bytes] = []
        header_bytes = 0
        for _, content in entries:
            if isinstance(content, bytes):
                small.append(content)
                continue
            chunks.append(b"".join(small))
            header_bytes = header_bytes or sum(len(chunk) for chunk in chunks)
            small = []
            chunks += content
        chunks.append(b"".join(small))
        header_bytes = header_bytes or sum(len(chunk) for chunk in chunks)
        names = self._names(dict(entries), implicit=implicit)
        return Result(
            chunks, self.changes, self.uids, names, facts, self.masked, self.identity, header_bytes
        )

    def _marks(self, *, implicit: bool, is_cleaned: bool) -> dict[int, bytes | list[Chunk]]:
        def made(tag: int, vr: str, text: str) -> bytes:
            return self._made(tag, vr, text.encode(), implicit=implicit)

        codes = [*self.profile.codes, *([PIXELS_CODE] if is_cleaned else [])]
        items = b"".join(
            el.item(
                made(0x00080100, "SH", code) + made(0x00080102, "SH", "DCM")
                + made(0x00080104, "LO", meaning[:64])
            )
            for code, meaning in codes
        )  # fmt: skip
        method = "\\".join((f"PS3.15 2026c {self.profile.name}", *self.profile.options))
        marks: dict[int, bytes | list[Chunk]] = {
            0x00120062: made(0x00120062, "CS", "YES"),
            0x00120063: made(0x00120063, "LO", method),
            0x00120064: el.head(0x00120064, "SQ", len(items), implicit=implicit) + items,
            0x00280303: made(0x00280303, "CS", self.profile.dates),
        }
        if is_cleaned:
            marks[0x00280301] = made(0x00280301, "CS", "NO")
        return marks

    def _names(self, entries: dict[int, bytes | list[Chunk]], *, implicit: bool) -> dict[str, str]:
        found = {"PatientID": self.key.patient(self.patient)}
        for name, tag in _NAMED.items():
            content = entries.get(tag, b"")
            text = ""
            if isinstance(content, bytes) and len(content) > 8:
                text = content[8:].strip(b" \0").decode("latin-1")
            found[name] = text or "none"
        return found


def _one(vr: str) -> str:
    """Return a VR to write where the dictionary leaves the choice."""
    return vr.split(" or ", 1)[0]


def _joined(entries: list[tuple[int, bytes | list[Chunk]]]) -> bytes:
    entries.sort(key=lambda entry: entry[0])
    return b"".join(content for _, content in entries if isinstance(content, bytes))


def _preamble(sop_class: str, uid: str, syntax: str) -> bytes:
    def made(tag: int, vr: str, value: bytes) -> bytes:
        padded = values.even(value, vr)
        return el.head(tag, vr, len(padded), implicit=False) + padded

    if re.search(r"[^0-9.]", sop_class + syntax):
        raise NotDeidentified("its SOP Class or transfer syntax is no UID")
    meta = (
        made(0x00020001, "OB", b"\0\1")
        + made(0x00020002, "UI", sop_class.encode())
        + made(0x00020003, "UI", uid.encode())
        + made(0x00020010, "UI", syntax.encode())
        + made(0x00020012, "UI", IMPLEMENTATION.encode())
        + made(0x00020013, "SH", b"DICOMWAREHOUSE")
    )
    return bytes(128) + b"DICM" + made(0x00020000, "UL", len(meta).to_bytes(4, "little")) + meta
