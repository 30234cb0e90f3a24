"""Hypothesis strategies for DICOM files, written byte by byte: no library repairs what is odd."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

EXPLICIT, IMPLICIT = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0"
LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
TEXTS = [
    "AE",
    "AS",
    "CS",
    "DA",
    "DS",
    "DT",
    "IS",
    "LO",
    "LT",
    "PN",
    "SH",
    "ST",
    "TM",
    "UC",
    "UI",
    "UR",
    "UT",
]
NUMBERS = {
    "US": "H",
    "SS": "h",
    "UL": "L",
    "SL": "l",
    "UV": "Q",
    "SV": "q",
    "FL": "f",
    "FD": "d",
    "AT": "HH",
}
PUBLIC = [
    0x00080000, 0x00080001, 0x00080008, 0x00080012, 0x00080013, 0x00080016, 0x00080018, 0x00080020,
    0x0008002A, 0x00080030, 0x00080060, 0x00080070, 0x00081030, 0x00100010, 0x00100020, 0x00101010,
    0x00180050, 0x00181152, 0x00189810, 0x00200013, 0x00200032, 0x00201041, 0x00280002, 0x00280010,
    0x00280104, 0x00280106, 0x00280107, 0x00280120, 0x00281050, 0x00281052, 0x00281101, 0x00281103,
    0x00281200, 0x00281201, 0x00283002, 0x00283006, 0x00321060, 0x00400244, 0x00400275, 0x00409216,
    0x00420011, 0x00540220, 0x50003000, 0x54001010, 0x60000010, 0x60003000, 0x60020102, 0x7FE00010,
    0x00185012, 0x00143050, 0x00070010, 0xFFFAFFFA, 0xFFFCFFFC,
]  # fmt: skip
UNRESOLVED = {
    0x00189810,
    0x00280104,
    0x00280106,
    0x00280107,
    0x00280120,
    0x00281101,
    0x00281103,
    0x00281200,
    0x00283002,
    0x00283006,
    0x00409216,
    0x54001010,
    0x60003000,
    0x7FE00010,
    0x00143050,
}
"""Tags whose VR depends on other elements; empty or odd ones are read by pydicom alone."""
SEQUENCES = [
    0x00081110,
    0x00081140,
    0x00283000,
    0x00400275,
    0x00409096,
    0x52009229,
    0x00041220,
    0x00880200,
]
CREATORS = [
    b"SIEMENS CSA HEADER",
    b"GEMS_IDEN_01",
    b"Philips MR Imaging DD 005",
    b"ACME 1.1 ",
    b"",
    b"A\\B ",
    b"\xc4\xd6 ",
]
CHARSETS = [b"", b"ISO_IR 100", b"ISO_IR 192", b"ISO_IR 13 ", b"ISO_IR 144", b"ISO 2022 IR 6\\ISO 2022 IR 87 ", b"\\ISO 2022 IR 149 ", b"GB18030 ", b"latin1", b"ISO-IR 100"]  # fmt: skip
WORDS = [
    b"", b" ", b"\0", b"A", b"MR", b"ORIGINAL\\PRIMARY", b"a\\ b \\", b"1", b"-12 ", b"+7", b"1.5", b".5", b"1e5",
    b"1E400", b"1.9.10.0", b"20240229", b"20230229", b"2024.01.31", b"101112", b"101112.5", b"246060", b"10:11:12",
    b"1011", b"045Y", b"12", b"20240101101112.25+0130", b"1.2.3.4\0", b"D\xf6e^J\xc3\xbc", b"\x1b$B;3ED\x1b(B^x",
    b"\xd0\x9f\xd1\x80", b"\xbb\xea", b"A^B=C^D=E", b"9" * 25, b"12.0", b" lead", b"tail  ", b"x" * 300, b"1\\2\\3\\", b"\\",
]  # fmt: skip

texts = st.one_of(st.sampled_from(WORDS), st.binary(max_size=12))
binaries = st.one_of(st.binary(max_size=20), st.integers(250, 300).map(lambda n: b"\7" * n))


def numbers(vr):
    size = struct.calcsize("<" + NUMBERS[vr])
    return st.one_of(
        st.integers(0, 4).flatmap(lambda n: st.binary(min_size=n * size, max_size=n * size)),
        st.binary(max_size=size + 1),
    )


def value_of(vr):
    if vr in NUMBERS:
        return numbers(vr)
    return texts if vr in TEXTS else binaries


def element(tag, vr, value, *, implicit, undefined=False):
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    length = 0xFFFFFFFF if undefined else len(value)
    if implicit:
        return head + struct.pack("<L", length) + value
    if vr in LONG:
        return head + vr.encode() + b"\0\0" + struct.pack("<L", length) + value
    return head + vr.encode() + struct.pack("<H", length) + value


def item(body, *, undefined):
    if undefined:
        return b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + body + b"\xfe\xff\x0d\xe0\0\0\0\0"
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(body)) + body


def sequence(tag, vr, items, *, implicit, undefined):
    body = b"".join(items) + (b"\xfe\xff\xdd\xe0\0\0\0\0" if undefined else b"")
    return element(tag, vr, body, implicit=implicit, undefined=undefined)


@st.composite
def data_sets(draw, implicit, depth=0, odd=True):
    """The bytes of a data set; if odd, with things in it that call for the reference reader."""
    found = {}
    public = PUBLIC if odd or depth else [tag for tag in PUBLIC if tag < 0x7FE00000]
    for tag in draw(st.lists(st.sampled_from(public), max_size=7, unique=True)):
        vr = draw(st.sampled_from([*TEXTS, *NUMBERS, "OB", "OW", "OF", "UN", "UN"]))
        if not odd and implicit and tag in UNRESOLVED:
            continue
        if not odd and not implicit and vr == "UN":
            vr = "UT"
        found[tag] = element(tag, vr, draw(value_of(vr)), implicit=implicit)
    if draw(st.booleans()):
        charset = draw(st.sampled_from(CHARSETS if odd else CHARSETS[:-2]))
        found[0x00080005] = element(0x00080005, "CS", charset, implicit=implicit)
    if draw(st.booleans()):
        value = draw(st.sampled_from([b"\0\0", b"\1\0", b"\1\0", b"", b"\2\0"][: 5 if odd else 3]))
        found[0x00280103] = element(0x00280103, "US", value, implicit=implicit)
    for group in draw(
        st.lists(st.sampled_from([0x0009, 0x0019, 0x0029, 0x2005]), max_size=2, unique=True)
    ):
        for block in draw(
            st.lists(st.sampled_from([0x10, 0x11, 0x7F, 0xFF]), max_size=2, unique=True)
        ):
            if draw(st.integers(0, 5)):
                tag = group << 16 | block
                found[tag] = element(
                    tag,
                    draw(st.sampled_from(["LO", "LO", "UN" if odd else "LO"])),
                    draw(st.sampled_from(CREATORS if odd else CREATORS[:4])),
                    implicit=implicit,
                )
            for low in draw(
                st.lists(
                    st.sampled_from([0x00, 0x04, 0x08, 0x10, 0x30, 0x5F]), max_size=3, unique=True
                )
            ):
                tag = group << 16 | block << 8 | low
                vr = draw(st.sampled_from(["LO", "DS", "US", "OB", "UN", "UN", "IS"]))
                if not odd and (implicit or vr == "UN") and low in {0x08, 0x10}:
                    continue  # private dictionaries have sequences there
                found[tag] = element(tag, vr, draw(value_of(vr)), implicit=implicit)
    if depth < 3:
        tags = draw(
            st.lists(
                st.sampled_from(
                    [*SEQUENCES, 0x00091001, 0x2005100E] if odd or not implicit else SEQUENCES
                ),
                max_size=2,
                unique=True,
            )
        )
        for tag in tags:
            inner_implicit = implicit
            vr = "SQ"
            if odd and not implicit and draw(st.integers(0, 9)) == 0:
                vr, inner_implicit = "UN", draw(st.booleans())
            items = [
                item(
                    draw(data_sets(inner_implicit, depth + 1, odd=odd)),
                    undefined=draw(st.booleans()),
                )
                for _ in range(draw(st.integers(0, 3)))
            ]
            found[tag] = sequence(tag, vr, items, implicit=implicit, undefined=draw(st.booleans()))
    order = sorted(found)
    if odd and depth == 0 and order and draw(st.integers(0, 19)) == 0:
        order.append(order[0])
    return b"".join(found[tag] for tag in order)


@st.composite
def files(draw):
    """The bytes of a DICOM file in little endian."""
    implicit = draw(st.booleans())
    meta = element(0x00020010, "UI", IMPLICIT if implicit else EXPLICIT, implicit=False)
    meta = element(0x00020000, "UL", struct.pack("<L", len(meta)), implicit=False) + meta
    body = draw(data_sets(implicit, odd=draw(st.integers(0, 3)) == 0))
    if not body and draw(st.booleans()):
        body = element(0x00080016, "UI", b"1.2\0", implicit=implicit)
    pixels = draw(st.sampled_from([b"", b"", b"plain", b"short", b"encapsulated", b"tail"]))
    if pixels == b"encapsulated":
        fragments = item(b"", undefined=False) + item(b"\1\2\3\4", undefined=False)
        body += element(
            0x7FE00010,
            "OB",
            fragments + b"\xfe\xff\xdd\xe0\0\0\0\0",
            implicit=implicit,
            undefined=True,
        )
    elif pixels:
        written = element(0x7FE00010, "OW", b"\1\2" * 40, implicit=implicit)
        body += written[:-6] if pixels == b"short" else written
    if pixels == b"tail":
        body += element(0xFFFCFFFC, "OB", b"\0" * 6, implicit=implicit)
    return b"\0" * 128 + b"DICM" + meta + body


@st.composite
def damaged(draw):
    """A made file with something wrong in it."""
    raw = bytearray(draw(files()))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(128, len(raw) - 1))
        raw[at] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        del raw[draw(st.integers(0, len(raw))) :]
    return bytes(raw)


SHAPE_TAGS = [
    0x00080008,
    0x00080018,
    0x00080070,
    0x00100020,
    0x00180050,
    0x00200032,
    0x00281050,
    0x00420011,
]


@st.composite
def shapes(draw, depth=0):
    """What stands in a data set, without the values."""
    found = dict.fromkeys(
        draw(st.lists(st.sampled_from(SHAPE_TAGS), min_size=1, max_size=6, unique=True))
    )
    if depth < 2:
        for tag in draw(
            st.lists(st.sampled_from([0x00081140, 0x00400275]), max_size=2, unique=True)
        ):
            items = draw(st.lists(st.tuples(st.booleans(), shapes(depth + 1)), max_size=3))
            found[tag] = (draw(st.booleans()), items)
    return sorted(found.items(), key=lambda pair: pair[0])


def filled(shape, values, *, implicit):
    """Bytes of a data set of this shape; values are taken from an iterator."""
    body = b""
    for tag, inside in shape:
        if inside is None:
            vr = "OB" if tag == 0x00420011 else "LO"
            body += element(tag, vr, next(values), implicit=implicit)
        else:
            undefined, items = inside
            written = [item(filled(s, values, implicit=implicit), undefined=u) for u, s in items]
            body += sequence(tag, "SQ", written, implicit=implicit, undefined=undefined)
    return body


class Family(list):
    """Files with a short name for messages of failing tests."""

    def __repr__(self):
        return f"<{len(self)} files of {[len(raw) for raw in self]} bytes>"


@st.composite
def families(draw):
    """Files that differ in values and their lengths; some also in a byte anywhere."""
    implicit, shape = draw(st.booleans()), draw(shapes())
    meta = element(0x00020010, "UI", IMPLICIT if implicit else EXPLICIT, implicit=False)
    pixels = draw(st.booleans())
    chance = draw(st.randoms(use_true_random=False))
    family = Family()
    for _ in range(draw(st.integers(2, 9))):
        values = iter(
            lambda: chance.choice([b"", b"A ", b"AB", b"ABCD", b"x" * 300, b"y" * 20_000]), None
        )
        body = filled(shape, values, implicit=implicit)
        if pixels:
            body += element(
                0x7FE00010, "OW", b"\1\2" * chance.choice([40, 40, 50]), implicit=implicit
            )
        raw = bytearray(b"\0" * 128 + b"DICM" + meta + body)
        if chance.random() < 0.2:
            raw[chance.randrange(132, len(raw))] = chance.randrange(256)
        family.append(bytes(raw))
    return family
