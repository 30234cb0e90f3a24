"""Apply a profile to all data elements of a file, at any depth.

Elements without an action are kept if they are in the dictionary and their value fits the VR.
Private elements are removed unless they are listed as safe, overlays and curves with their groups.
Structured reports lose content items that describe the patient (``content_items``).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from warehouse.deidentify import content_items, values
from warehouse.deidentify import elements as el
from warehouse.deidentify.content_items import ContentItem
from warehouse.deidentify.facts import FACTS, Change, Facts, Masked
from warehouse.deidentify.identity import Identity
from warehouse.deidentify.profile import Action
from warehouse.errors import NotDeidentified

if TYPE_CHECKING:
    from warehouse.deidentify.facts import Entries, Pixels
    from warehouse.deidentify.key import Key
    from warehouse.deidentify.profile import Profile

_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_NOT_IN_DATA_SETS = frozenset({0x0000, 0x0002, 0x0004})
_ENCRYPTED = 0x04000500
_UNKNOWN = "not in the dictionary"
_ENCRYPTED_ATTRIBUTES = "encrypted attributes, such as the identity, cannot be checked"
_SCHEME, _CODE_MEANING = 0x00080102, 0x00080104
_SCHEMES = frozenset(
    b"BI C4 DCM DCMUID FMA I10 I9 I9C I9CDX ICD10 IBSI LN MDC NCIT NCIt NEU RADLEX RFC3066 RFC5646 "
    b"SCT SNM3 SRT 99SDM UBERON UCUM UMLS".split()
)
"""Coding schemes with published meanings; meanings of local codes are free text."""
_TEXT = frozenset(
    {"AE", "AS", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"}
)
_DIGITS = b"0123456789+-.eE \\\0"
_DOCUMENT_LENGTH = 0x00420015
_MARKS = {0x00120062, 0x00120063, 0x00120064, 0x00280303}
_DUMMY_CODE = (
    (0x00080100, "SH", b"REMOVED"), (0x00080102, "SH", b"99REMOVED"),
    (0x00080104, "LO", b"REMOVED"),
)  # fmt: skip


class Walk:
    """One pass over the elements of a file."""

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
        self.overlays: set[int] = set()
        self.planes: set[int] = set()

    def top(self, start: int, *, implicit: bool) -> Entries:
        """Return the de-identified elements of the file."""
        entries, _ = self._data_set(start, len(self.data), "", 0, implicit=implicit)
        return entries

    def _data_set(
        self, pos: int, limit: int, path: str, depth: int, *, implicit: bool,
        delimited: bool = False, structured: bool = False,
    ) -> tuple[Entries, int]:  # fmt: skip
        """Return the de-identified elements of a data set or item, and its end offset."""
        if depth > el.DEEPEST:
            raise NotDeidentified(f"its sequences are nested deeper than {el.DEEPEST} levels")
        data, known = self.data, self.profile.vrs
        entries: Entries = []
        blocks: dict[int, str] = {}
        scheme, content_item = b"", ContentItem(self.profile.options)
        while pos < limit:
            element = el.read_element(data, pos, limit, implicit=implicit)
            tag, vr, start, value, end = element
            if tag == el.ITEM_END:
                if not delimited:
                    raise NotDeidentified("a delimiter is outside of an item of undefined length")
                return entries, value
            group = tag >> 16
            if group & 1:
                pos = self._private(entries, blocks, path, element, limit, implicit=implicit)
                continue
            reason = self._removal_reason(path, tag)
            if reason:
                pos = self._end_offset(value, end, limit, vr, implicit=implicit)
                option = "beyond" if reason in {_UNKNOWN, _ENCRYPTED_ATTRIBUTES} else "basic"
                self._record(path, tag, vr, "X", option, reason)
                continue
            if tag in _PIXELS:
                pos = self._pixels(entries, tag, vr, start, value, end, limit, implicit=implicit)
                continue
            # Group lengths are retired and would be wrong now; ``marks`` writes its elements.
            if tag & 0xFFFF == 0 or (tag in _MARKS and not path):
                pos = self._end_offset(value, end, limit, vr, implicit=implicit)
                continue
            usual = known.get(tag, "")
            action = self._action(path, tag, structured=structured)
            if structured and tag in content_items.CONCEPT_AND_VALUE:
                texts = el.first_item(data, value, limit if end is None else end, implicit=implicit)
                action = content_item.action(tag, texts) or action
            elif structured and (action is None or action.code != "X"):
                action = content_item.value_action(tag) or action
            if usual == "SQ" or vr == "SQ" or end is None:
                pos = self._sequence(
                    entries, path, depth, tag, vr, value, end, limit, action, implicit=implicit,
                    structured=structured or tag in content_items.CONTENT_ROOTS,
                )  # fmt: skip
                continue
            pos = end
            if tag == _SCHEME:
                scheme = bytes(data[value:end]).strip(b" \0")
            if tag == _CODE_MEANING and action is None and scheme not in _SCHEMES and end > value:
                entries.append(
                    (tag, el.encoded_element(tag, "LO", values.REMOVED, implicit=implicit))
                )
                self._record(path, tag, vr or usual, "D", "beyond", "meaning of a local code")
                continue
            self._add_element(entries, path, element, usual, action, implicit=implicit)
        if delimited:
            raise NotDeidentified("an item is cut off")
        return entries, pos

    def _removal_reason(self, path: str, tag: int) -> str:
        """Return why an element is removed regardless of the profile; empty if it is not."""
        group = tag >> 16
        if (group >> 8) in {0x50, 0x60}:
            self._note_overlay(tag, path)
            return "overlays and curves are removed with their group"
        if group in _NOT_IN_DATA_SETS:
            return "belongs to a message, file meta information or a DICOMDIR"
        if path and tag in _PIXELS:
            return "pixel data in an item are not checked"
        if tag == _ENCRYPTED:
            return _ENCRYPTED_ATTRIBUTES
        is_in_dictionary = tag in _PIXELS or tag & 0xFFFF == 0 or self.profile.keywords.get(tag)
        return "" if is_in_dictionary else _UNKNOWN

    def _action(self, path: str, tag: int, *, structured: bool) -> Action | None:
        """Return the action for an element, None if it is kept."""
        if (path, tag) in self.forced:
            return Action("X", "beyond")
        if structured and tag in content_items.ACTIONS:
            return content_items.ACTIONS[tag]
        if tag == _DOCUMENT_LENGTH:  # the document is removed
            return Action("X", "basic")
        return self.profile.actions.get(tag)

    def _add_element(
        self, entries: Entries, path: str, element: el.Element, usual: str, action: Action | None,
        *, implicit: bool,
    ) -> None:  # fmt: skip
        """Add a de-identified element that is not a sequence."""
        tag, vr, start, value, end = element
        content = bytes(self.data[value:end])
        if not path and tag in FACTS:
            self.facts.note(tag, content)
        if action is None:
            if self._is_kept(path, tag, vr, usual, content):
                entries.append((tag, bytes(self.data[start:end])))
            return
        self.identity.add(
            tag, self.profile.keywords[tag], usual, content, self.facts.text("charset")
        )
        new_value = self._new_value(path, tag, vr, usual, content, action)
        if new_value is not None:
            entries.append(
                (
                    tag,
                    el.encoded_element(
                        tag, vr or _vr_to_write(usual), new_value, implicit=implicit
                    ),
                )
            )

    def _record(self, path: str, tag: int, vr: str, action: str, option: str, reason: str) -> None:
        self.changes.append(Change(path, tag, vr, action, option, reason))

    def _end_offset(
        self, value: int, end: int | None, limit: int, vr: str, *, implicit: bool
    ) -> int:
        """Return the end offset of an element, which may have an undefined length."""
        if end is not None:
            return end
        return el.skip_undefined(self.data, value, limit, implicit=implicit or vr == "UN")

    def _is_kept(self, path: str, tag: int, vr: str, usual: str, content: bytes) -> bool:
        """Return whether the value of an element without action fits its VR; if not, note why."""
        is_usual = vr in {"", "UN", usual} or vr in usual.split(" or ")
        if not is_usual and not (vr in _TEXT and usual in _TEXT):
            self._record(path, tag, vr, "X", "beyond", "its VR is not that of the dictionary")
            return False
        if usual in {"DS", "IS"}:
            if content.translate(None, _DIGITS):
                self._record(path, tag, vr or usual, "X", "beyond", "text where a number should be")
                return False
            self.kept.append((path, tag, usual, content))
        elif usual == "UI":
            if content.translate(None, b"0123456789.\\\0 "):
                self._record(path, tag, vr or usual, "X", "beyond", "text where a UID should be")
                return False
        elif len(content) > 2:
            self.kept.append((path, tag, _vr_to_write(usual), content))
        return True

    def _new_value(
        self, path: str, tag: int, vr: str, usual: str, content: bytes, action: Action
    ) -> bytes | None:
        """Return the new value of an element, None if it is removed; note the change."""
        code, vr_shown = action.code, vr or usual
        new: bytes | None
        reason = ""
        if code == "U" and usual == "UI":
            new = self._replaced_uids(content)
            if new == content.strip(b" \0"):
                return new
        elif tag in {0x00100010, 0x00100020} and code in "ZD" and not path:
            new, code, reason = self.key.patient(self.patient).encode(), "D", "pseudonym"
        elif code == "Z":
            new = b""
            if not content.strip(b" \0"):
                return b""
        elif code == "D":
            is_name = self.profile.keywords[tag].endswith(("ID", "IDs", "Identifier", "Label"))
            new = values.dummy(_vr_to_write(usual), content, is_name=is_name, key=self.key)
        elif code == "C":
            new, code, reason = self._cleaned(path, tag, usual, content, action)
            if new == content.strip(b" \0"):
                return new
            if not new and action.basic == "D" and new is not None:  # it must have a value
                new, code = (
                    values.dummy(_vr_to_write(usual), b"", is_name=False, key=self.key),
                    "D",
                )
        else:
            new, code = None, "X"
        self._record(path, tag, vr_shown, code, action.option, reason)
        return new

    def _cleaned(
        self, path: str, tag: int, usual: str, content: bytes, action: Action
    ) -> tuple[bytes | None, str, str]:
        """Return the cleaned value, None if it is removed, with the action code and the reason."""
        if usual in {"DA", "DT", "TM"}:
            shifted = values.shifted(usual, content, self.days)
            if shifted is None:
                return b"", "Z", "not a complete date, or a placeholder: cannot be shifted"
            return shifted, "C", "shifted by the days of the patient"
        if usual == "AS":
            age = values.capped_age(content)
            return (
                (b"", "Z", "not an age") if age is None else (age, "C", "ages over 89 are 90 years")
            )
        if usual in _TEXT and action.option != "dates-shifted":
            kept = values.clean_text(content, self.identity.words)
            self.kept.append((path, tag, usual, kept))  # later names may be such words
            return kept, "C" if kept else "Z", "unknown words are removed"
        return None, "X", "cannot be cleaned"

    def _replaced_uids(self, content: bytes) -> bytes:
        new_uids = []
        for uid in content.split(b"\\"):
            old = uid.strip(b" \0").decode("latin-1")
            new = self.key.uid(old) if old else ""
            if new != old:
                self.uids[old] = new
            new_uids.append(new)
        return "\\".join(new_uids).encode("latin-1")

    def _sequence(
        self, entries: Entries, path: str, depth: int, tag: int,
        vr: str, value: int, end: int | None, limit: int, action: Action | None, *, implicit: bool,
        structured: bool,
    ) -> int:  # fmt: skip
        """Add a sequence by its action; return its end offset."""
        usual = self.profile.vrs[tag]
        code = action.code if action else ""
        option = action.option if action else "beyond"
        if vr not in {"SQ", ""} or usual != "SQ":
            pos = self._end_offset(value, end, limit, vr, implicit=implicit)
            if vr == "UN" and usual == "SQ":  # in implicit VR, if it is a sequence: PS3.5 6.2.2
                with suppress(NotDeidentified):
                    self._collect_identities(path, depth, tag, value, end, limit, implicit=True)
            self._record(path, tag, vr, "X", "beyond", "a sequence with another VR")
            return pos
        if code in {"X", "Z", "D", "U"}:
            pos = self._end_offset(value, end, limit, vr, implicit=implicit)
            self._collect_identities(path, depth, tag, value, end, limit, implicit=implicit)
            item = b"" if code != "D" else el.item(self._dummy_item(tag, implicit=implicit))
            if code != "X":
                entries.append((tag, el.head(tag, "SQ", len(item), implicit=implicit) + item))
            if code != "Z" or end != value:
                self._record(path, tag, "SQ", code, option, "")
            return pos
        items, pos = self._items(
            path, depth, tag, value, end, limit, implicit=implicit, structured=structured
        )
        entries.append((tag, el.head(tag, "SQ", len(items), implicit=implicit) + items))
        return pos

    def _collect_identities(
        self, path: str, depth: int, tag: int, value: int, end: int | None, limit: int, *,
        implicit: bool,
    ) -> None:  # fmt: skip
        """Collect identifying values in the items of a removed sequence."""
        changes, kept, uids = len(self.changes), len(self.kept), dict(self.uids)
        try:
            self._items(path, depth, tag, value, end, limit, implicit=implicit, structured=False)
        finally:
            del self.changes[changes:], self.kept[kept:]
            self.uids = uids

    def _dummy_item(self, tag: int, *, implicit: bool) -> bytes:
        """Return the content of a dummy item: a code for code sequences, else nothing."""
        if not self.profile.keywords.get(tag, "").endswith("CodeSequence"):
            return b""
        elements = (el.encoded_element(*entry, implicit=implicit) for entry in _DUMMY_CODE)
        return b"".join(elements)

    def _items(
        self, path: str, depth: int, tag: int, value: int, end: int | None, limit: int, *,
        implicit: bool, structured: bool,
    ) -> tuple[bytes, int]:  # fmt: skip
        """Return the encoded de-identified items of a sequence, and its end offset."""
        name = self.profile.keywords.get(tag) or f"{tag:08X}"
        item_path = f"{path}.{name}" if path else name
        items: list[bytes] = []
        pos, stop = value, limit if end is None else end
        while pos < stop or end is None:
            kind, length = el.read_item(self.data, pos, stop)
            pos += 8
            if kind == el.SEQUENCE_END and end is None:
                break
            if kind != el.ITEM:
                raise NotDeidentified("a sequence contains something that is not an item")
            is_open = length == el.UNDEFINED
            if not is_open and pos + length > stop:
                raise NotDeidentified("an item extends beyond its sequence")
            entries, pos = self._data_set(
                pos, stop if is_open else pos + length, f"{item_path}[{len(items)}]", depth + 1,
                implicit=implicit, delimited=is_open, structured=structured,
            )  # fmt: skip
            items.append(el.item(_encoded(entries)))
        return b"".join(items), pos

    def _private(
        self, entries: Entries, blocks: dict[int, str], path: str, element: el.Element,
        limit: int, *, implicit: bool,
    ) -> int:  # fmt: skip
        """Keep a private element, with the creator of its block, if it is listed as safe."""
        tag, vr, start, value, end = element
        element_end = self._end_offset(value, end, limit, vr, implicit=implicit)
        number = tag & 0xFFFF
        safe = self.profile.safe_private
        if safe and 0x10 <= number <= 0xFF and end is not None:
            creator = bytes(self.data[value:end]).strip(b" \0").decode("latin-1")
            blocks[tag >> 16 << 16 | number] = creator
            return element_end
        block = tag >> 16 << 16 | number >> 8
        creator = blocks.get(block, "")
        usual, vm = safe.get((creator, tag >> 16, number & 0xFF), ("", ""))
        content = bytes(self.data[value:end]) if usual and end is not None else b""
        is_kept = (path, tag) not in self.forced and values.is_of(usual, vm, vr, content)
        if is_kept and end is not None:
            self.kept.append((path, tag, usual, content))
            if not any(tag == block for tag, _ in entries):
                owner = creator.encode("latin-1")
                entries.append((block, el.encoded_element(block, "LO", owner, implicit=implicit)))
            entries.append((tag, bytes(self.data[start:end])))
            return element_end
        self._record(path, tag, vr, "X", "basic", "private")
        return element_end

    def _note_overlay(self, tag: int, path: str) -> None:
        if tag >> 24 == 0x60 and not path:
            self.overlays.add(tag >> 16)
            if tag & 0xFFFF == 0x3000:
                self.planes.add(tag >> 16)

    def _pixels(
        self, entries: Entries, tag: int, vr: str, start: int,
        value: int, end: int | None, limit: int, *, implicit: bool,
    ) -> int:  # fmt: skip
        """Add pixel data as the function ``pixels`` returns them; return their end offset."""
        value_end = el.fragments_end(self.data, value, limit) if end is None else end
        content = memoryview(self.data)[value:value_end]
        # An overlay without its own data is stored in unused bits of the pixels.
        self.facts.has_embedded_overlay = bool(self.overlays - self.planes)
        masked = self.pixels(self.facts, content) if self.pixels else Masked([content], [], False)
        self.masked = masked
        vr_shown = vr or ("OW" if tag == 0x7FE00010 else "OF" if tag == 0x7FE00008 else "OD")
        for reason in masked.changes:
            self._record("", tag, vr_shown, "C", "pixels", reason)
        if end is None:
            entries.append((tag, [bytes(self.data[start:value]), *masked.pixels]))
        else:
            length = sum(len(piece) for piece in masked.pixels)
            entries.append(
                (tag, [el.head(tag, vr_shown, length, implicit=implicit), *masked.pixels])
            )
        return value_end


def _vr_to_write(vr: str) -> str:
    """Return the VR to write: the first where the dictionary has alternatives."""
    return vr.split(" or ", 1)[0]


def _encoded(entries: Entries) -> bytes:
    entries.sort(key=lambda entry: entry[0])
    return b"".join(content for _, content in entries if isinstance(content, bytes))
