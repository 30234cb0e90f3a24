"""VR → typed values: the rules as a table, and what must hold for any bytes."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import struct
import time
from typing import Any

import pydicom.charset
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.row_builder import RowBuilder
from warehouse.dicom.element import Element
from warehouse.elements import values
from warehouse.elements.values import ALL_VRS, NUMBERS, Value, binary, decode, person_name_text

EPOCH = dt.date(1970, 1, 1)


def days(year: int, month: int, day: int) -> int:
    return (dt.date(year, month, day) - EPOCH).days


def us(hour: int = 0, minute: int = 0, second: int = 0, micro: int = 0) -> int:
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + micro


def moment(*parts: int) -> int:
    since = dt.datetime(*parts, tzinfo=dt.UTC) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)  # type: ignore[misc,arg-type]
    return since // dt.timedelta(microseconds=1)


def test_the_34_vrs_of_the_standard_are_known() -> None:
    assert len(ALL_VRS) == 34
    assert {vr.value for vr in pydicom.valuerep.STANDARD_VR} == ALL_VRS


RULES: list[tuple[str, bytes, dict[str, Any]]] = [
    # text: padding goes, what is inside stays
    ("AE", b" STORE SCP ", {"text": "STORE SCP"}),
    ("CS", b"MTC ", {"text": "MTC"}),
    ("LO", b" lead\0", {"text": " lead"}),
    ("LT", b"a\\b\r\n ", {"text": "a\\b\r\n"}),
    ("SH", b"x", {"text": "x"}),
    ("ST", b"back\\slash", {"text": "back\\slash"}),
    ("UC", b"u ", {"text": "u"}),
    ("UI", b"1.2.3\0", {"text": "1.2.3"}),
    ("UR", b"http://h/a\\b ", {"text": "http://h/a\\b"}),
    ("UT", b"one\\value", {"text": "one\\value"}),
    # ages in years
    ("AS", b"027Y", {"text": "027Y", "real": 27.0}),
    ("AS", b"018M", {"text": "018M", "real": 1.5}),
    ("AS", b"010W", {"text": "010W", "real": 10 / 52.1429}),
    ("AS", b"100D", {"text": "100D", "real": 100 / 365.2422}),
    ("AS", b"27", {"text": "27", "warning": "not an age: nnnD, nnnW, nnnM or nnnY"}),
    # numbers in text keep their text
    ("DS", b"123.25993 ", {"text": "123.25993", "real": 123.25993}),
    ("DS", b"-1.5E-3", {"text": "-1.5E-3", "real": -0.0015}),
    ("DS", b"1,5", {"text": "1,5", "warning": "not a decimal string"}),
    ("DS", b"nan", {"text": "nan", "warning": "not a decimal string"}),
    ("DS", b"inf", {"text": "inf", "warning": "not a decimal string"}),
    ("DS", b"1e999", {"text": "1e999", "warning": "not a decimal string"}),
    ("IS", b"+12 ", {"text": "+12", "integer": 12}),
    ("IS", b"1.0", {"text": "1.0", "integer": 1}),
    ("IS", b"1.5", {"text": "1.5", "warning": "not an integer string"}),
    ("IS", b"1A", {"text": "1A", "warning": "not an integer string"}),
    ("IS", b"9223372036854775807", {"text": "9223372036854775807", "integer": 2**63 - 1}),
    ("IS", b"9223372036854775808", {"text": "9223372036854775808", "warning": "integer beyond 64 bits"}),
    # dates and times
    ("DA", b"20240229", {"text": "20240229", "date": days(2024, 2, 29)}),
    ("DA", b"19000101", {"text": "19000101", "date": days(1900, 1, 1)}),
    ("DA", b"00010101", {"text": "00010101", "date": days(1, 1, 1)}),
    ("DA", b"20230229", {"text": "20230229", "warning": "not a date: YYYYMMDD"}),
    ("DA", b"2018011 ", {"text": "2018011", "warning": "not a date: YYYYMMDD"}),
    ("DA", b"1990", {"text": "1990", "warning": "not a date: YYYYMMDD"}),
    ("DA", b"20200101-20200202", {"text": "20200101-20200202", "warning": "not a date: YYYYMMDD"}),
    ("DA", b"2024.01.02", {
        "text": "2024.01.02", "date": days(2024, 1, 2),
        "warning": "date written as in ACR-NEMA, YYYY.MM.DD",
    }),
    ("TM", b"1030", {"text": "1030", "time_us": us(10, 30)}),
    ("TM", b"10", {"text": "10", "time_us": us(10)}),
    ("TM", b"235959.123456", {"text": "235959.123456", "time_us": us(23, 59, 59, 123456)}),
    ("TM", b"000000.5", {"text": "000000.5", "time_us": us(0, 0, 0, 500_000)}),
    # Seconds 00 to 60, "60 for leap second" (PS3.5 table 6.2-1).
    ("TM", b"235960", {"text": "235960", "warning": "leap second: valid, but kept as text only"}),
    ("TM", b"236060", {"text": "236060", "warning": "not a time: HHMMSS.FFFFFF"}),
    ("TM", b"2400", {"text": "2400", "warning": "not a time: HHMMSS.FFFFFF"}),
    ("TM", b"1000-1200", {"text": "1000-1200", "warning": "not a time: HHMMSS.FFFFFF"}),
    ("TM", b"10:30:01", {
        "text": "10:30:01", "time_us": us(10, 30, 1),
        "warning": "time written as in ACR-NEMA, HH:MM:SS",
    }),
    ("DT", b"20240102030405.123456+0100", {
        "text": "20240102030405.123456+0100", "timestamp": moment(2024, 1, 2, 2, 4, 5, 123456),
    }),
    ("DT", b"20240102030405-0530", {
        "text": "20240102030405-0530", "timestamp": moment(2024, 1, 2, 8, 34, 5),
    }),
    ("DT", b"2024", {"text": "2024", "timestamp": moment(2024, 1, 1)}),
    ("DT", b"202402", {"text": "202402", "timestamp": moment(2024, 2, 1)}),
    ("DT", b"20240230", {
        "text": "20240230", "warning": "not a date and time: YYYYMMDDHHMMSS.FFFFFF&ZZXX",
    }),
    ("DT", b"20161231235960+0000", {
        "text": "20161231235960+0000", "warning": "leap second: valid, but kept as text only",
    }),
    # PS3.5 6.2: offsets range from -1200 to +1400.
    ("DT", b"20240102+1400", {"text": "20240102+1400", "timestamp": moment(2024, 1, 1, 10)}),
    ("DT", b"20240102+2300", {
        "text": "20240102+2300", "warning": "not a date and time: YYYYMMDDHHMMSS.FFFFFF&ZZXX",
    }),
    ("DT", b"20240102-1201", {
        "text": "20240102-1201", "warning": "not a date and time: YYYYMMDDHHMMSS.FFFFFF&ZZXX",
    }),
    # Neither Python nor pyarrow has a year 0 or 10000.
    ("DT", b"00010101+0100", {
        "text": "00010101+0100",
        "warning": "in UTC not in the years 1 to 9999: kept as text only",
    }),
    ("DT", b"99991231235959-1200", {
        "text": "99991231235959-1200",
        "warning": "in UTC not in the years 1 to 9999: kept as text only",
    }),
    # binary numbers
    ("US", struct.pack("<H", 65535), {"integer": 65535}),
    ("SS", struct.pack("<h", -1), {"integer": -1}),
    ("UL", struct.pack("<L", 3_000_000_000), {"integer": 3_000_000_000}),
    ("SL", struct.pack("<l", -(2**31)), {"integer": -(2**31)}),
    ("SV", struct.pack("<q", -(2**63)), {"integer": -(2**63)}),
    ("UV", struct.pack("<Q", 5), {"text": "5", "integer": 5}),
    ("UV", struct.pack("<Q", 2**64 - 1), {"text": "18446744073709551615"}),
    ("FL", struct.pack("<f", 0.5), {"real": 0.5}),
    ("FD", struct.pack("<d", math.pi), {"real": math.pi}),
    ("AT", struct.pack("<HH", 0x0018, 0x1063), {"text": "00181063", "integer": 0x00181063}),
    # bytes
    *(
        (vr, b"\0\1\2\3", {
            "bytes": b"\0\1\2\3", "length": 4, "sha256": hashlib.sha256(b"\0\1\2\3").hexdigest(),
        })
        for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "UN")
    ),
]  # fmt: skip


@pytest.mark.parametrize(("vr", "raw", "expected"), RULES, ids=[f"{r[0]} {r[1]!r}" for r in RULES])
def test_rule(vr: str, raw: bytes, expected: dict[str, Any]) -> None:
    assert decode(vr, raw) == [Value(**expected)]


def test_the_table_of_rules_names_every_vr() -> None:
    # PN has tests of its own below; a sequence has no value field to decode.
    assert {vr for vr, _, _ in RULES} | {"PN", "SQ"} == ALL_VRS


@pytest.mark.parametrize("vr", sorted(ALL_VRS - {"SQ"}))
def test_an_empty_value_field_has_no_values(vr: str) -> None:
    assert decode(vr, b"") == []


@pytest.mark.parametrize("vr", sorted(values.TEXT))
def test_padding_alone_is_empty(vr: str) -> None:
    assert decode(vr, b"  ") == decode(vr, b"\0\0") == []


@pytest.mark.parametrize("vr", sorted(values.TEXT - values.SINGLE_TEXT))
def test_an_empty_value_between_others_is_kept_without_warning(vr: str) -> None:
    found = decode(vr, b"\\1\\")
    assert [value.text for value in found[::2]] == ["", ""]
    assert [value.warning for value in found[::2]] == [None, None]


def test_one_bad_value_does_not_spoil_its_neighbors() -> None:
    assert [value.real for value in decode("DS", b"1\\x\\3")] == [1.0, None, 3.0]


@pytest.mark.parametrize("vr", sorted(NUMBERS))
def test_a_length_that_fits_no_number_is_kept_as_bytes(vr: str) -> None:
    (value,) = decode(vr, b"\1\2\3")
    assert value.bytes == b"\1\2\3"
    assert value.warning is not None
    assert "no multiple of" in value.warning


def test_big_endian_numbers() -> None:
    assert decode("US", b"\1\0", little=False)[0].integer == 256
    assert decode("AT", b"\0\x18\x10\x63", little=False)[0].text == "00181063"


@pytest.mark.parametrize("tag", sorted(values.LUT_DESCRIPTORS))
def test_the_first_number_of_a_lut_descriptor_is_unsigned(tag: str) -> None:
    raw = struct.pack("<hhh", -1, -1, 16)
    assert [v.integer for v in decode("SS", raw, tag=tag)] == [65535, -1, 16]
    assert [v.integer for v in decode("SS", raw, tag="00280106")] == [-1, -1, 16]


@pytest.mark.parametrize("length", [256, 257])
def test_bytes_beyond_256_are_known_by_their_digest(length: int) -> None:
    value = binary(b"x" * length)
    assert (value.bytes is None) == (length > 256)
    assert value.length == length
    assert value.sha256 == hashlib.sha256(b"x" * length).hexdigest()


def test_an_unknown_vr_is_kept_as_bytes_with_a_warning() -> None:
    assert decode("ZZ", b"ab") == [binary(b"ab")._replace(warning="unknown VR: kept as 2 bytes")]


@pytest.mark.parametrize("most", [4096, pytest.param(1 << 18, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("vr", "one"), [("CS", b"\\A"), ("DS", b"\\1"), ("US", b"ab"), ("AT", b"abcd")]
)
def test_more_values_than_memory_should_hold_are_kept_as_bytes(
    vr: str, one: bytes, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert values.MAX_VALUES == 1 << 18
    monkeypatch.setattr(values, "MAX_VALUES", most)
    raw = one * (values.MAX_VALUES + 1)
    (value,) = decode(vr, raw)
    assert value.length == len(raw)
    assert value.warning == f"more than {most} values: kept as bytes"
    whole = one * (values.MAX_VALUES - 1)
    assert len(decode(vr, whole)) == values.MAX_VALUES - (0 if vr in values.TEXT else 1)


def test_numbers_of_very_many_digits_are_no_error() -> None:
    digits = b"1" * 50_000
    assert decode("IS", digits)[0].warning == "integer beyond 64 bits"
    assert decode("IS", b"-" + b"0" * 50_000 + b"12.000")[0].integer == -12
    assert decode("DS", digits)[0].warning == "not a decimal string"


# -- names and character sets ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "components"),
    [
        ("Doe^Jane", {"alphabetic": {"family_name": "Doe", "given_name": "Jane"}}),
        ("^^^Dr", {"alphabetic": {
            "family_name": "", "given_name": "", "middle_name": "", "name_prefix": "Dr"}}),
        ("A^B^C^D^E", {"alphabetic": {
            "family_name": "A", "given_name": "B", "middle_name": "C", "name_prefix": "D",
            "name_suffix": "E"}}),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", {
            "alphabetic": {"family_name": "Yamada", "given_name": "Tarou"},
            "ideographic": {"family_name": "山田", "given_name": "太郎"},
            "phonetic": {"family_name": "やまだ", "given_name": "たろう"}}),
        ("=山", {"alphabetic": {}, "ideographic": {"family_name": "山"}}),
    ],
)  # fmt: skip
def test_person_names_are_components(written: str, components: dict[str, Any]) -> None:
    (value,) = decode("PN", written.encode(), charsets=["utf8"])
    assert json.loads(value.text or "") == components
    assert value.warning is None
    assert person_name_text(value.text or "") == written


@pytest.mark.parametrize("written", ["A^B^C^D^E^F^G", "a=b=c=d"])
def test_a_name_of_too_many_parts_loses_none(written: str) -> None:
    (value,) = decode("PN", written.encode())
    assert person_name_text(value.text or "") == written
    assert value.warning


def test_text_not_readable_in_its_character_set_keeps_its_bytes() -> None:
    (value,) = decode("LO", b"Gr\xfcn", charsets=["utf8"])
    assert value.text == "Gr\ufffdn"
    assert value.bytes == b"Gr\xfcn"
    assert value.warning == "not readable in the declared character set: bytes kept"


@pytest.mark.parametrize(
    "codec",
    [
        "utf_7",
        "unicode_escape",
        "raw_unicode_escape",
        "punycode",
        "idna",
        "hex",
        "rot13",
        "zlib",
        "undefined",
        "no such codec",
    ],
)
@pytest.mark.parametrize("raw", [b"+2AA-", rb"\ud800", b"xn--\xff", b"plain"])
def test_a_character_set_that_pydicom_lets_pass_gives_text_that_can_be_stored(
    codec: str, raw: bytes
) -> None:
    for value in decode("LO", raw, charsets=[codec]):
        assert value.text is not None
        assert value.text.encode().decode() == value.text


# -- properties -----------------------------------------------------------------------------------

LATIN = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\^="))
WORDS = LATIN.filter(bool)
INTEGERS = {
    "US": (0, 2**16 - 1), "SS": (-(2**15), 2**15 - 1), "UL": (0, 2**32 - 1),
    "SL": (-(2**31), 2**31 - 1), "UV": (0, 2**64 - 1), "SV": (-(2**63), 2**63 - 1),
}  # fmt: skip


@given(
    st.lists(WORDS, min_size=1, max_size=8),
    st.sampled_from(sorted({"AE", "CS", "LO", "SH", "UC", "UI"})),
)
def test_texts_of_any_multiplicity_come_back(texts: list[str], vr: str) -> None:
    raw = "\\".join(texts).encode()
    assert [v.text for v in decode(vr, raw + b" " * (len(raw) % 2))] == texts


def test_spaces_around_each_of_several_titles_go_as_pydicom_has_it() -> None:
    raw = b" a\\ b \\"
    assert [v.text for v in decode("AE", raw)] == ["a", "b", ""]
    assert list(pydicom.values.convert_AE_string(raw, is_little_endian=True)) == ["a", "b", ""]


@given(WORDS, st.sampled_from(sorted(values.SINGLE_TEXT)))
def test_single_texts_come_back_whole(text: str, vr: str) -> None:
    whole = f"{text}\\{text}"
    assert [v.text for v in decode(vr, whole.encode())] == [whole]


@given(st.sampled_from(sorted(INTEGERS)).flatmap(
    lambda vr: st.tuples(st.just(vr), st.lists(st.integers(*INTEGERS[vr]), min_size=1))
), st.booleans())  # fmt: skip
def test_integers_of_any_multiplicity_come_back(drawn: tuple[str, list[int]], little: bool) -> None:
    vr, numbers = drawn
    raw = struct.pack(("<" if little else ">") + NUMBERS[vr] * len(numbers), *numbers)
    found = decode(vr, raw, little=little)
    if vr == "UV":
        assert [v.text for v in found] == [str(n) for n in numbers]
        assert [v.integer for v in found] == [n if n < 2**63 else None for n in numbers]
    else:
        assert [v.integer for v in found] == numbers


@given(st.lists(st.floats(width=64), min_size=1))
def test_doubles_come_back_bit_for_bit(numbers: list[float]) -> None:
    found = decode("FD", struct.pack(f"<{len(numbers)}d", *numbers))
    assert [struct.pack("<d", v.real) for v in found] == [struct.pack("<d", n) for n in numbers]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integer_strings_come_back(numbers: list[int]) -> None:
    found = decode("IS", "\\".join(map(str, numbers)).encode())
    assert [v.integer for v in found] == numbers


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_decimal_strings_come_back(numbers: list[float]) -> None:
    found = decode("DS", "\\".join(map(repr, numbers)).encode())
    assert [v.real for v in found] == numbers


@given(st.dates())
def test_dates_come_back(day: dt.date) -> None:
    (value,) = decode("DA", f"{day:%Y%m%d}".rjust(8, "0").encode())
    assert value.date is not None
    assert EPOCH + dt.timedelta(days=value.date) == day


@given(st.times())
def test_times_come_back(time: dt.time) -> None:
    (value,) = decode("TM", f"{time:%H%M%S.%f}".encode())
    assert value.time_us == us(time.hour, time.minute, time.second, time.microsecond)


@given(
    st.datetimes(dt.datetime(1000, 1, 1), dt.datetime(9999, 12, 31, 11)),  # noqa: DTZ001
    st.integers(-12 * 60, 14 * 60),
)
def test_moments_come_back_in_utc(at: dt.datetime, offset: int) -> None:
    sign, (hours, minutes) = "-" if offset < 0 else "+", divmod(abs(offset), 60)
    (value,) = decode("DT", f"{at:%Y%m%d%H%M%S.%f}{sign}{hours:02d}{minutes:02d}".encode())
    since = at - dt.datetime(1970, 1, 1) - dt.timedelta(minutes=offset)  # noqa: DTZ001
    assert value.timestamp == since // dt.timedelta(microseconds=1)


@given(
    st.lists(st.lists(LATIN, min_size=1, max_size=5).map("^".join), min_size=1, max_size=3).map(
        "=".join
    )
)
def test_names_come_back_as_written(name: str) -> None:
    found = decode("PN", name.encode())
    assert [person_name_text(v.text or "{}") for v in found] == ([name] if name else [])


@given(
    st.sampled_from([*sorted(ALL_VRS), "ZZ", "??"]),
    st.binary(max_size=400)
    | st.text(max_size=80).map(lambda t: t.encode("utf-8", "surrogatepass")),
    st.sampled_from([*pydicom.charset.python_encoding.values(), "utf_7", "unicode_escape"]),
    st.booleans(),
    st.sampled_from(["", *sorted(values.LUT_DESCRIPTORS)]),
)
@example("DT", b"99991231235959-1400", "iso8859", True, "")
@example("DT", b"00010101000000+1400", "iso8859", True, "")
def test_nothing_raises_and_nothing_is_lost_for_any_bytes(
    vr: str, raw: bytes, charset: str, little: bool, tag: str
) -> None:
    found = decode(vr, raw, charsets=[charset], little=little, tag=tag)
    if found == []:
        assert not raw.strip(b"\0 ") or vr in values.CHARSET_TEXT
    for value in found:
        assert (
            value.text is not None
            or value.integer is not None
            or value.real is not None
            or value.sha256
        )
    builder = RowBuilder()
    builder.add(1, [Element("", tag or "00091010", vr, None, raw, (charset,), little)])
    rows, blobs = builder.take()
    assert rows.num_rows == max(1, len(found))
    for digest, kept in zip(blobs["sha256"].to_pylist(), blobs["bytes"].to_pylist(), strict=True):
        assert hashlib.sha256(kept).hexdigest() == digest
    rows.validate(full=True)


@pytest.mark.parametrize("vr", ["DS", "IS", "DT", "TM", "DA", "AS", "AT", "UI", "PN", "CS", "LO"])
@pytest.mark.parametrize("piece", [b"9", b"1.", b"=", b"^", b" ", b"\\ ", b"+", b"0e", b"\x1b$B"])
def test_a_value_takes_time_by_its_length(vr: str, piece: bytes) -> None:
    raw = piece * (200_000 // len(piece)) + b"x?"
    started = time.process_time()
    decode(vr, raw, charsets=("iso2022_jp", "iso2022_jp_2"))
    assert time.process_time() - started < 5
