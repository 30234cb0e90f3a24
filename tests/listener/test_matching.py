"""Keys as conditions, compared with a matching in Python that is written from PS3.4 C.2.2.2."""

from __future__ import annotations

import datetime as dt
import re

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from warehouse.catalog import matching as qido
from warehouse.catalog.matching import Binder
from warehouse.errors import UnknownFilter
from warehouse.listener.matching import KeyRefused, condition

TEXTS = ["", "A", "a", "AB", "A B", "A*", "50%", "A_B", "Doe^Jane", "DOE^JANE^^", "doe", "!x", "Ü"]
NAMES = [*TEXTS, "Yamada^Tarou=山田^太郎=やまだ^たろう"]
DAYS = [dt.date(2026, 1, 1), dt.date(2026, 1, 31), dt.date(2025, 12, 31), dt.date(1900, 2, 28)]
TIMES = [
    dt.time(0),
    dt.time(10, 30),
    dt.time(10, 30, 59, 999_999),
    dt.time(11),
    dt.time(23, 59, 59),
]


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    """Columns of every type, a row per value, and one without."""
    made = duckdb.connect()
    for name, kind, values in (
        ("PatientID", "varchar", TEXTS), ("PatientName", "varchar", NAMES), ("StudyDate", "date", DAYS),
        ("StudyTime", "time", TIMES), ("SeriesNumber", "bigint", [1, 2, 2**60]),
        ("StudyInstanceUID", "varchar", ["1.2", "1.3", "1.2.3"]), ("SliceThickness", "double", [1.5]),
        ("ImageComments", "varchar", ["kept", "  kept"]), ("StudyID", "varchar", TEXTS),
        ("AccessionNumber", "varchar", ["A", r"A\1", r"A\2"]),
        ("SeriesInstanceUID", "varchar", ["1.2", r"1.2\1.3", "1.4"]),
        ("ModalitiesInStudy", "varchar[]", [["CT"], ["CT", "MR"], []]),
    ):  # fmt: skip
        made.execute(f'create table "{name}" ("{name}" {kind})')
        made.executemany(f'insert into "{name}" values (?)', [[value] for value in [*values, None]])
    yield made
    made.close()


def found(connection: duckdb.DuckDBPyConnection, keyword: str, vr: str, key: str) -> list[object]:
    kind = connection.execute(f'describe "{keyword}"').fetchall()[0][1]
    made = condition(keyword, vr, kind, key)
    if made is None:
        return [value for (value,) in connection.execute(f'from "{keyword}"').fetchall()]
    query = f'from "{keyword}" where {made.sql}'
    return [value for (value,) in connection.execute(query, made.values).fetchall()]


def pattern(key: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in key)


KEYS = st.text(alphabet="Aab B*?%_!^.5oDe", max_size=6)


@given(key=KEYS)
def test_wildcards_match_as_the_standard_says(
    connection: duckdb.DuckDBPyConnection, key: str
) -> None:
    text = key.strip()
    expected = [*TEXTS, None]
    if text.strip("*"):
        expected = [v for v in TEXTS if re.fullmatch(pattern(text), v, re.DOTALL)]
    assert found(connection, "PatientID", "LO", key) == expected


@pytest.mark.parametrize(
    ("stored", "key"),
    [
        ("ΠΑΠΠΑΣ^ΝΙΚΟΣ", "ΠΑΠΠΑΣ^ΝΙΚΟΣ"), ("ΠΑΠΠΑΣ^ΝΙΚΟΣ", "παππας*"), ("Παππας", "ΠΑΠΠΑΣ"),
        ("İBRAHİM^IŞIL", "İBRAHİM^IŞIL"), ("İBRAHİM^IŞIL", "*İM^I?IL"), ("Weiß^A", "WEIß^a"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("fuzzy", [False, True])
def test_case_of_letters_that_python_and_duckdb_map_differently(
    stored: str, key: str, fuzzy: bool
) -> None:
    """Σ at the end of a word and İ have special rules (Unicode SpecialCasing.txt)."""
    for vr in ("PN", "LO") if fuzzy else ("PN",):
        binder = Binder()
        sql = qido.condition("c", vr, key, binder, fuzzy=fuzzy)
        values = {**binder.values, "stored": stored}
        test = f"select {sql} from (select $stored as c)"
        assert duckdb.execute(test, values).fetchall() == [(True,)]


@pytest.mark.parametrize("key", ["9" * 40, "9" * 400, "1e999", "-" + "9" * 40])
def test_a_number_that_no_row_can_have_matches_none(
    connection: duckdb.DuckDBPyConnection, key: str
) -> None:
    assert found(connection, "SeriesNumber", "IS", key) == []


@given(key=KEYS)
def test_names_match_in_any_case(connection: duckdb.DuckDBPyConnection, key: str) -> None:
    text = key.strip()
    expected = [*NAMES, None]
    if text.strip("*"):
        # Spaces around components mean nothing (PS3.5, 6.2).
        text = re.sub(" *([\\^=]) *", r"\1", text).rstrip("^=")
        expected = [
            value for value in NAMES
            if any(re.fullmatch(pattern(text), group.rstrip("^= "), re.DOTALL | re.IGNORECASE)
                   for group in [*value.split("="), value])
        ]  # fmt: skip
    assert found(connection, "PatientName", "PN", key) == expected


def test_a_name_is_found_by_each_group(connection: duckdb.DuckDBPyConnection) -> None:
    for key in (
        "yamada*",
        "山田^太郎",
        "やまだ^*",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "yamada^tarou^^",
        "=山田^太郎",
        "==やまだ*",
        "yamada*=山田^太郎",
        "*=山田*",
    ):
        assert found(connection, "PatientName", "PN", key) == [NAMES[-1]]
    for key in ("=yamada*", "doe*=山田*"):
        assert found(connection, "PatientName", "PN", key) == []
    assert found(connection, "PatientName", "PN", "doe^jane") == ["Doe^Jane", "DOE^JANE^^"]


@given(
    first=st.sampled_from([*DAYS, dt.date(2026, 1, 15), None]),
    last=st.sampled_from([*DAYS, dt.date(2026, 1, 15), None]),
    form=st.sampled_from(["%Y%m%d", "%Y.%m.%d"]),
)
def test_ranges_of_dates_include_their_ends(
    connection: duckdb.DuckDBPyConnection, first: dt.date | None, last: dt.date | None, form: str
) -> None:
    if first is None and last is None:
        return
    key = "-".join(each.strftime(form).zfill(8) if each else "" for each in (first, last))
    expected = [v for v in DAYS if (first or v) <= v <= (last or v)]
    assert found(connection, "StudyDate", "DA", key) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("20260101", DAYS[:1]), (r"20260101\20260131", DAYS[:2]), ("", [*DAYS, None]),
    ],
)  # fmt: skip
def test_dates(connection: duckdb.DuckDBPyConnection, key: str, expected: list[dt.date]) -> None:
    assert found(connection, "StudyDate", "DA", key) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("103000", TIMES[1:2]), ("10", TIMES[1:3]), ("1030", TIMES[1:3]), ("10-11", TIMES[1:4]),
        ("10:30:59.9", TIMES[2:3]), ("-1030", TIMES[:3]), ("103059.999999-", TIMES[2:]),
        ("11-10", []),
    ],
)  # fmt: skip
def test_times(connection: duckdb.DuckDBPyConnection, key: str, expected: list[dt.time]) -> None:
    assert found(connection, "StudyTime", "TM", key) == expected


@pytest.mark.parametrize(
    ("keyword", "vr", "key", "expected"),
    [
        ("SeriesNumber", "IS", "2", [2]), ("SeriesNumber", "IS", r"1\2", [1, 2]),
        ("SeriesNumber", "IS", "1152921504606846976", [2**60]), ("SeriesNumber", "IS", "1.5", []),
        ("SliceThickness", "DS", "1.50 ", [1.5]),
        ("SeriesNumber", "IS", "9" * 400, []), ("SliceThickness", "DS", "-" + "9" * 5000, []),
        ("StudyInstanceUID", "UI", "1.2\0", ["1.2"]), ("StudyInstanceUID", "UI", r"1.2\1.3", ["1.2", "1.3"]),
        # Wildcards mean nothing in UIDs.
        ("StudyInstanceUID", "UI", "1.*", []),
        ("ModalitiesInStudy", "CS", "MR", [["CT", "MR"]]), ("ModalitiesInStudy", "CS", r"MR\C?", [["CT"], ["CT", "MR"]]),
        # Spaces before a value mean something in texts (PS3.5, 6.2).
        ("ImageComments", "LT", "  kept ", ["  kept"]), ("ImageComments", "LT", "kept", ["kept"]),
        ("ImageComments", "LT", "  k*", ["  kept"]), ("ImageComments", "LT", "  ", ["kept", "  kept", None]),
        ("PatientName", "PN", " doe ^ jane", ["Doe^Jane", "DOE^JANE^^"]),
        ("StudyID", "SH", r"A\50%", ["A", "50%"]), ("StudyID", "SH", r"A\*", [*TEXTS, None]),
        # The whole text is the identifier (docs/decisions/0027-the-whole-text-identifies.md).
        ("PatientID", "LO", r"A\50%", []), ("PatientID", "LO", r"A\*", []),
        ("AccessionNumber", "SH", r"A\1", ["A", r"A\1"]), ("AccessionNumber", "SH", "A", ["A"]),
        ("SeriesInstanceUID", "UI", r"1.2\1.3", ["1.2", r"1.2\1.3"]),
    ],
)  # fmt: skip
def test_other_keys(
    connection: duckdb.DuckDBPyConnection, keyword: str, vr: str, key: str, expected: list[object]
) -> None:
    assert found(connection, keyword, vr, key) == expected


@given(
    asked=st.sampled_from([("PatientID", "LO"), ("PatientName", "PN"), ("StudyInstanceUID", "UI"), ("PatientID", "CS")]),
    key=KEYS,
)  # fmt: skip
@example(asked=("PatientName", "PN"), key=" ?")
def test_dicomweb_gives_the_same_answer(
    connection: duckdb.DuckDBPyConnection, asked: tuple[str, str], key: str
) -> None:
    keyword, vr = asked
    if not key.strip(" *"):
        return  # universal, which QIDO-RS decides elsewhere
    same_as_qido(connection, keyword, vr, key)


@pytest.mark.parametrize("key", ["  kept ", " kept", "kept", "  k*"])
def test_dicomweb_has_the_same_texts(connection: duckdb.DuckDBPyConnection, key: str) -> None:
    same_as_qido(connection, "ImageComments", "LT", key)


@pytest.mark.parametrize(
    "key", ["10", "1030", "103059", "103059.9", "10-11", "-1030", "11-", "235960"]
)
def test_dicomweb_has_the_same_times(connection: duckdb.DuckDBPyConnection, key: str) -> None:
    same_as_qido(connection, "StudyTime", "TM", key)


def same_as_qido(connection: duckdb.DuckDBPyConnection, keyword: str, vr: str, key: str) -> None:
    binder = qido.Binder()
    query = f'from "{keyword}" where {qido.condition(chr(34) + keyword + chr(34), vr, key, binder)}'
    by_qido = [value for (value,) in connection.execute(query, binder.values).fetchall()]
    assert found(connection, keyword, vr, key) == by_qido


@pytest.mark.parametrize(
    ("keyword", "vr", "key"),
    [
        ("StudyDate", "DA", "secret"), ("StudyDate", "DA", "20260231"), ("StudyDate", "DA", "-"),
        ("StudyTime", "TM", "25"), ("SeriesNumber", "IS", "secret"), ("StudyDate", "DA", "2026"),
    ],
)  # fmt: skip
def test_a_key_that_is_no_value_is_refused_by_name(
    connection: duckdb.DuckDBPyConnection, keyword: str, vr: str, key: str
) -> None:
    with pytest.raises(KeyRefused, match=f"^{keyword}: ") as refused:
        found(connection, keyword, vr, key)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "key", ["20240101120000-0500", "20240101120000+0100", "2024-1400", "-0500"]
)
def test_an_offset_from_utc_is_refused_and_no_year(key: str) -> None:
    """PS3.5 6.2: DT may end with an offset of at most 14 hours."""
    with pytest.raises(UnknownFilter, match="without an offset from UTC"):
        qido.condition("c", "DT", key, Binder())
    assert "1900" in str(_bound("1900-2024"))


def _bound(key: str) -> object:
    binder = Binder()
    qido.condition("c", "DT", key, binder)
    return binder.values
