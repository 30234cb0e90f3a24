"""Bytes → text: the examples of PS3.5 annexes H to K, and what its 6.1.2.5 says of delimiters."""

from __future__ import annotations

from pathlib import Path

import pytest

import warehouse
from tests.dicom_files import element, item, part10, sequence
from warehouse.dicom.charset import UNREADABLE, decode_text, encodings_of
from warehouse.elements.values import decode, person_name_text

EXAMPLES = {
    "H.3.1": ("\\ISO 2022 IR 87", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
              "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "H.3.2": ("ISO 2022 IR 13\\ISO 2022 IR 87", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
              "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    "I.2": ("\\ISO 2022 IR 149", b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            "Hong^Gildong=洪^吉洞=홍^길동"),
    "J.1": ("ISO_IR 192", b"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe6\x9d\xb1", "Wang^XiaoDong=王^小東"),
    "J.3": ("GB18030", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang^XiaoDong=王^小东"),
    "K.2": ("\\ISO 2022 IR 58", b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab", "Zhang^XiaoDong=张^小东"),
}  # fmt: skip


@pytest.mark.parametrize(("term", "raw", "text"), EXAMPLES.values(), ids=EXAMPLES)
def test_names_of_the_standard(term: str, raw: bytes, text: str) -> None:
    (value,) = decode("PN", raw, charsets=encodings_of(tuple(term.split("\\"))))
    assert person_name_text(value.text or "") == text
    assert value.warning is None


LATIN_AND_CYRILLIC = encodings_of(("ISO 2022 IR 100", "ISO 2022 IR 144"))


@pytest.mark.parametrize(
    ("vr", "raw", "texts"),
    [
        ("LO", b"\x1b-L\xbb\xee\\M\xfcller", ["Лю", "Müller"]),
        ("LO", b"\x1b-L\xbb\xee^M\xfcller", ["Лю^Mќller"]),
        ("UC", b"\x1b-L\xbb\xee\\M\xfcller", ["Лю", "Müller"]),
        ("LT", b"\x1b-L\xbb\xee\\M\xfcller", ["Лю\\Mќller"]),
        ("ST", b"\x1b-L\xbb\xee\r\nM\xfcller", ["Лю\r\nMüller"]),
        ("UT", b"\x1b-L\xbb\xee\tM\xfcller", ["Лю\tMüller"]),
        ("SH", b"\x1b-L\xbb\xee\x1b(B\xbb", ["ЛюЛ"]),  # G0 alone has changed
    ],
)
def test_a_delimiter_goes_back_to_the_first_character_set(
    vr: str, raw: bytes, texts: list[str]
) -> None:
    assert [value.text for value in decode(vr, raw, charsets=LATIN_AND_CYRILLIC)] == texts


def test_parts_of_a_name_go_back_to_the_first_character_set() -> None:
    for delimiter in "^=\\":
        raw = b"\x1b-L\xbb\xee" + delimiter.encode() + b"M\xfcller"
        found = decode("PN", raw, charsets=LATIN_AND_CYRILLIC)
        assert "\\".join(person_name_text(v.text or "") for v in found) == f"Лю{delimiter}Müller"


def test_half_a_character_is_no_delimiter() -> None:
    # 0x5C is the second byte of two of JIS X 0208, and the second of GBK.
    raw = b"A\x1b$B\x30\x5c\x3d\x3d\x1b(B\\B"
    charsets = encodings_of(("", "ISO 2022 IR 87"))
    wanted = ["A" + b"\x1b$B\x30\x5c\x3d\x3d\x1b(B".decode("iso2022_jp"), "B"]
    assert [value.text for value in decode("LO", raw, charsets=charsets)] == wanted
    assert decode("LO", b"\xd5\x5c", charsets=encodings_of(("GBK",)))[0].text == "誠"


@pytest.mark.parametrize(
    ("terms", "raw"),
    [
        (("ISO_IR 203",), b"\xa4 \xbd"),
        (("ISO 2022 IR 6", "ISO 2022 IR 203"), b"\x1b-b\xa4 \xbd"),
        (("ISO 2022 IR 203", "ISO 2022 IR 144"), b"\xa4 \xbd"),
    ],
)
def test_latin_9_has_the_euro(terms: tuple[str, ...], raw: bytes) -> None:
    assert decode_text(raw, encodings_of(terms)) == "€ œ"


def test_what_is_read_in_no_declared_character_set_says_so() -> None:
    (value,) = decode("LO", b"M\xfcller", charsets=encodings_of(("ISO_IR 999",)))
    assert value.text == f"M{UNREADABLE}ller"
    assert value.bytes == b"M\xfcller"
    assert value.warning == "not readable in the declared character set: bytes kept"
    assert decode("LO", b"Muller", charsets=encodings_of(("ISO_IR 999",)))[0].warning is None
    (value,) = decode("LO", b"\x1b$B;3ED\x1b(B", charsets=encodings_of(("ISO_IR 100",)))
    assert value.text == f"{UNREADABLE}$B;3ED"
    assert value.warning


@pytest.mark.parametrize("term", [b"ISO_IR 203", b" ISO_IR 203 ", b"ISO_IR 203\\ISO 2022 IR 87 "])
def test_items_inherit_what_pydicom_does_not_know(term: bytes, tmp_path: Path) -> None:
    file = tmp_path / "one.dcm"
    file.write_bytes(part10(
        element(0x00080005, "CS", term),
        element(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.7\0"),
        element(0x00080018, "UI", b"1.9.1\0"),
        sequence(0x00082218, item(element(0x00080104, "LO", b"5 \xa4 "))),
        element(0x00100010, "PN", b"\xbdil "),
        uid="",
    ))  # fmt: skip
    wh = warehouse.open(tmp_path / "wh", create=True)
    wh.ingest(file, workers=1)
    asked = "select keyword, text from elements where keyword in ('CodeMeaning', 'PatientName')"
    assert wh.sql(asked + " order by 1").fetchall() == [
        ("CodeMeaning", "5 €"), ("PatientName", '{"alphabetic":{"family_name":"œil"}}'),
    ]  # fmt: skip
