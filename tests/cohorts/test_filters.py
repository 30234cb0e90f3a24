"""Every filter equals what a loop over the values finds."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import warehouse
from tests.dicom_files import dataset, write
from tests.small_tables import View
from warehouse.catalog.connect import Catalog, Sessions
from warehouse.cohorts.filters import select, values
from warehouse.cohorts.pages import page
from warehouse.errors import UnknownFilter, UnknownTable, UsageError
from warehouse.sqlfiles import by_name, read_models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# -- the loop: what each operator means, in Python -------------------------------------------------

TODAY = dt.date(2024, 3, 31)
PERIODS = {
    "today": (TODAY, TODAY),
    "yesterday": (dt.date(2024, 3, 30), dt.date(2024, 3, 30)),
    "week": (dt.date(2024, 3, 25), TODAY),
    "month": (dt.date(2024, 3, 1), TODAY),
    "year": (dt.date(2024, 1, 1), dt.date(2024, 12, 31)),
}
EACH = {
    "is": lambda x, v: x == v,
    "in": lambda x, v: x in v,
    "contains": lambda x, v: v in x,
    "icontains": lambda x, v: v.lower() in x.lower(),
    "any": lambda x, v: any(part.lower() in x.lower() for part in v),
    "min": lambda x, v: x >= v,
    "max": lambda x, v: x <= v,
    "after": lambda x, v: x >= v,
    "before": lambda x, v: x <= v,
    "during": lambda x, v: PERIODS[v][0] <= x <= PERIODS[v][1],
}


def normal(value: Any) -> Any:
    """Texts of entities are in their normal form (PS3.5 6.2), and are asked for in it."""
    if isinstance(value, list):
        return [normal(each) for each in value]
    return value.strip(" ") if isinstance(value, str) else value


def holds(found: Any, operator: str, value: Any) -> bool:
    if not isinstance(found, list):
        return bool(EACH[operator](found, value))
    if operator == "set":
        return set(found) == set(value)
    if operator == "has":
        return set(value) <= set(found)
    if operator == "is" and isinstance(value, list):
        return found == value
    test = all if operator in {"min", "max"} else any
    return test(EACH[operator](x, value) for x in found)


def wanted(found: Any, condition: tuple[str, str, Any, bool]) -> bool:
    """Whether a row is taken; what is missing never is, asked one way or the other."""
    _, operator, value, negated = condition
    if operator == "null":
        return ((found is None) is value) != negated
    asked = normal(value) if operator in {"is", "in"} else value
    return found is not None and holds(found, operator, asked) != negated


def written(condition: tuple[str, str, Any, bool]) -> tuple[str, Any]:
    name, operator, value, negated = condition
    return ("-" if negated else "") + name + ("" if operator == "is" else f"__{operator}"), value


HALF = settings().max_examples // 2
"""An example is a question with a plan of its own, which takes 30 ms."""

# -- rows and conditions that meet often ----------------------------------------------------------

WORDS = st.text("aAbBéÉ'%_;\"\\- ", max_size=3)
NUMBERS = st.sampled_from([0.0, 1.0, 1.5, 2.0])
WHOLE = st.integers(0, 3)
DAYS = st.dates(dt.date(2023, 12, 30), dt.date(2024, 4, 2))
CODES = st.lists(st.sampled_from(["SE", "GR", "IR"]), min_size=1, max_size=3)
TIMES = st.sampled_from([dt.time(8), dt.time(8, 30), dt.time(23, 59, 59)])

TEXT_OPERATORS = [("is", WORDS), ("contains", WORDS), ("icontains", WORDS),
                  ("any", st.lists(WORDS, min_size=1, max_size=2)),
                  ("in", st.lists(WORDS, min_size=1, max_size=2))]  # fmt: skip
RANGES = ["is", "min", "max", "after", "before"]
COLUMNS: dict[str, tuple[Any, list[tuple[str, Any]]]] = {
    "SeriesDescription": (WORDS.map(normal), TEXT_OPERATORS),
    "EchoTime": (NUMBERS, [(o, NUMBERS) for o in RANGES]),
    "SeriesDate": (DAYS, [*[(o, DAYS) for o in RANGES], ("during", st.sampled_from([*PERIODS]))]),
    "SeriesTime": (TIMES, [(o, TIMES) for o in RANGES]),
    "ScanningSequence": (CODES, [("set", CODES), ("has", CODES), ("is", CODES), ("in", CODES),
                                 ("is", st.sampled_from(["SE", "GR"])), ("icontains", st.sampled_from(["s", "Gr"])),
                                 ("any", st.just(["x", "ir"]))]),
    "PixelSpacing": (st.lists(NUMBERS, min_size=1, max_size=2), [("min", NUMBERS), ("max", NUMBERS)]),
}  # fmt: skip
# Of elements that no table has as a column: text, number, whole numbers, date.
ELEMENTS = {
    "AcquisitionComments": ("00184000", "LT", "text", WORDS.filter(bool), TEXT_OPERATORS),
    "TriggerTime": ("00181060", "DS", "real", NUMBERS, [(o, NUMBERS) for o in RANGES]),
    "(0018,1310)": ("00181310", "US", "integer", st.lists(WHOLE, min_size=1, max_size=3),
                    [("has", st.lists(WHOLE, min_size=1, max_size=2)), ("set", st.lists(WHOLE, min_size=1, max_size=3)),
                     ("is", WHOLE), ("min", WHOLE)]),
    "DateOfSecondaryCapture": ("00181012", "DA", "date", DAYS, [(o, DAYS) for o in RANGES]),
}  # fmt: skip


def conditions(known: dict[str, list[tuple[str, Any]]]) -> Any:
    def of(name: str) -> Any:
        operators = [(o, v) for o, v in known[name]] + [("null", st.booleans())]
        one = st.sampled_from(range(len(operators))).flatmap(
            lambda n: st.tuples(st.just(operators[n][0]), operators[n][1])
        )
        return st.builds(lambda ov, neg: (name, ov[0], ov[1], neg), one, st.booleans())

    return st.lists(st.sampled_from(sorted(known)).flatmap(of), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def drawn() -> Callable[[], Catalog]:
    """A catalog whose tables are empty and can be written; a function, as Hypothesis shows it."""
    view = View()
    for name in ("series", "instances", "elements"):
        view.given(name, "batch" if name != "series" else "series_key")
    view.make("normal_elements")
    view.connection.execute(by_name("attributes").sql)
    catalog = Catalog(
        None, Sessions(view.connection), {m.name: m for m in read_models() if m.is_view}
    )  # type: ignore[arg-type]
    return lambda: catalog


@pytest.mark.acceptance("D61")
@settings(max_examples=HALF)
@given(
    rows=st.lists(
        st.fixed_dictionaries({n: st.none() | v for n, (v, _) in COLUMNS.items()}), max_size=4
    ),
    asked=conditions({name: operators for name, (_, operators) in COLUMNS.items()}),
)
def test_conditions_on_columns_equal_a_loop(
    drawn: Callable[[], Catalog],
    rows: list[dict[str, Any]],
    asked: list[tuple[str, str, Any, bool]],
) -> None:
    asked = list({written(c)[0]: c for c in asked}.values())
    drawn().connection.execute("delete from series")
    names = ", ".join(f'"{n}"' for n in COLUMNS)
    for number, row in enumerate(rows):
        drawn().connection.execute(
            f"insert into series (series_key, {names}) values (?{', ?' * len(COLUMNS)})",
            [str(number), *(row[n] for n in COLUMNS)],
        )
    answer = select(drawn(), "series", dict(map(written, asked)), today=TODAY)
    expected = [str(n) for n, row in enumerate(rows) if all(wanted(row[c[0]], c) for c in asked)]
    assert [row[0] for row in answer.fetchall()] == expected


on_elements = given(
    rows=st.lists(
        st.tuples(st.sampled_from("AB"), st.fixed_dictionaries({n: st.none() | e[3] for n, e in ELEMENTS.items()})),
        max_size=5,
    ),
    condition=conditions({name: e[4] for name, e in ELEMENTS.items()}).map(lambda c: c[0]),
)  # fmt: skip


@settings(max_examples=3)
@on_elements
def test_few_conditions_on_elements_hold_for_some_instance_or_for_none(
    drawn: Callable[[], Catalog], **asked: Any
) -> None:
    compare_on_elements(drawn, **asked)


@pytest.mark.long("test_few_conditions_on_elements_hold_for_some_instance_or_for_none")
@settings(max_examples=HALF)
@on_elements
def test_conditions_on_elements_hold_for_some_instance_or_for_none(
    drawn: Callable[[], Catalog], **asked: Any
) -> None:
    compare_on_elements(drawn, **asked)


def compare_on_elements(
    drawn: Callable[[], Catalog],
    rows: list[tuple[str, dict[str, Any]]],
    condition: tuple[str, str, Any, bool],
) -> None:
    run = drawn().connection.execute
    for table in ("series", "instances", "elements"):
        run(f"delete from {table}")
    run("insert into series (series_key) values ('A'), ('B')")
    for number, (series, elements) in enumerate(rows):
        run("insert into instances (instance_id, instance_key, series_key) values (?, ?, ?)", [number, str(number), series])  # fmt: skip
        written_ones = []
        for name, found in elements.items():
            tag, vr, column, *_ = ELEMENTS[name]
            several = found if isinstance(found, list) else [] if found is None else [found]
            # A missing value is an empty element here, and no element for the first instance.
            for index, one in enumerate(several or ([None] if number else [])):
                values = {"text": None, "real": None, "integer": None, "date": None, column: one}
                written_ones.append([number, "", tag, vr, len(several), index, *values.values()])
        if written_ones:
            places = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"] * len(written_ones))
            run(
                'insert into elements (instance_id, path, tag, vr, vm, "index", text, "real", "integer", date) '
                f"values {places}",
                [value for row in written_ones for value in row],
            )
    name, operator, value, negated = condition
    expected = []
    for series in "AB":
        found = [e[name] for s, e in rows if s == series and e[name] is not None]
        if operator == "null":
            taken = (not found) is (value != negated)
        else:
            taken = bool(found) and any(holds(x, operator, value) for x in found) != negated
        expected += [series] if taken else []
    answer = select(drawn(), "series", dict([written(condition)]), today=TODAY)
    assert [row[0] for row in answer.fetchall()] == expected


MISSING = [
        *[("SeriesDescription", o, "a") for o in ("is", "contains", "icontains", "any", "in")],
        *[("EchoTime", o, 1.0) for o in ("is", "min", "max", "in")],
        *[("SeriesDate", o, "2024-01-01") for o in ("after", "before")],
        ("SeriesDate", "during", "week"),
        *[("ScanningSequence", o, "SE") for o in ("is", "in", "set", "has", "contains", "icontains", "any")],
        ("ScanningSequence", "is", ["SE"]),
        *[("PixelSpacing", o, 1.0) for o in ("min", "max")],
]  # fmt: skip


@pytest.mark.parametrize(("name", "operator", "value"), MISSING)
@pytest.mark.parametrize("negated", [False, True])
def test_where_there_is_no_value_no_condition_holds(
    drawn: Callable[[], Catalog], name: str, operator: str, value: Any, negated: bool
) -> None:
    drawn().connection.execute("delete from series")
    drawn().connection.execute("insert into series (series_key) values ('A')")
    asked = dict([written((name, operator, value, negated))])
    assert select(drawn(), "series", asked).fetchall() == []


# -- real headers, pydicom as the oracle ----------------------------------------------------------


@pytest.fixture(scope="module")
def headers(sample: warehouse.Warehouse) -> dict[str, pydicom.Dataset]:
    paths = sample.sql(
        "select instance_key, file_path from instances where file_path not like '%!/%'"
    )
    found = {}
    for key, path in paths.fetchall():
        found[key] = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        for tag in [element.tag for element in found[key] if element.is_empty]:
            del found[key][tag]
    return found


@pytest.mark.acceptance("D62")
@pytest.mark.parametrize(
    ("condition", "value", "test"),
    [
        ("KVP__min", 120, lambda h: h.KVP >= 120),
        ("(0018,0060)__max", "120", lambda h: h.KVP <= 120),
        ("00280010", 64, lambda h: h.Rows == 64),
        ("-Rows", 64, lambda h: h.Rows != 64),
        ("StudyDate__before", "2004-01-19", lambda h: h.StudyDate <= "20040119"),
        ("Modality__in", "CT,MR", lambda h: h.Modality in {"CT", "MR"}),
        ("Manufacturer__icontains", "ge", lambda h: "ge" in h.Manufacturer.lower()),
        ("-Manufacturer__contains", "GE", lambda h: "GE" not in h.Manufacturer),
        ("ImageType__has", ["ORIGINAL", "PRIMARY"], lambda h: {"ORIGINAL", "PRIMARY"} <= {*h.ImageType}),
        ("PatientName__icontains", "first", lambda h: "first" in str(h.PatientName).lower()),
        ("InstanceNumber", 1, lambda h: h.InstanceNumber == 1),
        ("PixelRepresentation", 0, lambda h: h.PixelRepresentation == 0),
    ],
)  # fmt: skip
def test_header_conditions_equal_pydicom(
    sample: warehouse.Warehouse, headers: dict[str, pydicom.Dataset], condition: str, value: Any, test: Any
) -> None:  # fmt: skip
    expected = set()
    for key, header in headers.items():
        try:
            taken = test(header)
        except AttributeError:  # missing
            continue
        expected |= {key} if taken else set()
    found = sample.select("instances", {condition: value}).fetchall()
    column = [c.name for c in by_name("instances").columns].index("instance_key")
    assert {row[column] for row in found} & set(headers) == expected
    assert expected


# -- order, pages, words --------------------------------------------------------------------------


def test_a_series_is_found_by_what_only_its_instances_state(sample: warehouse.Warehouse) -> None:
    found = sample.select(StudyDescription__any="brain,xr c spine").fetchall()
    direct = sample.sql(
        "from series where series_key in (select series_key from instances "
        "where StudyDescription ilike '%brain%' or StudyDescription ilike '%xr c spine%')"
    ).fetchall()
    assert sorted(map(repr, found)) == sorted(map(repr, direct))
    assert found


@pytest.mark.acceptance("D63")
def test_pages_follow_one_order(sample: warehouse.Warehouse) -> None:
    whole = sample.select("series", order=["-SeriesDate", "Modality"]).fetchall()
    pages = [
        row
        for offset in range(0, len(whole) + 23, 23)
        for row in sample.select("series", order=["-SeriesDate", "Modality"], limit=23, offset=offset).fetchall()
    ]  # fmt: skip
    assert len(whole) > 3 * 23
    assert pages == whole
    dates = [row[7] for row in whole]
    known = [date for date in dates if date is not None]
    assert known == sorted(known, reverse=True)
    assert dates[len(known) :] == [None] * (len(dates) - len(known)), "what has no date comes last"


def test_rows_can_be_ordered_by_an_element(sample: warehouse.Warehouse) -> None:
    rows = sample.select("series", order="-AccessionNumber").fetchall()
    assert len(rows) == sample.sql("select count(*) from series").fetchall()[0][0]


@pytest.mark.acceptance("D63")
def test_search_looks_into_every_text_column(sample: warehouse.Warehouse) -> None:
    found = sample.select("series", search="CERVICAL").fetchall()
    assert len(found) == 3
    assert sample.select("series", search="no such text anywhere").fetchall() == []


@pytest.mark.acceptance("D65")
def test_values_are_the_distinct_ones(sample: warehouse.Warehouse) -> None:
    plain = sample.sql(
        "select distinct Manufacturer from series where Manufacturer is not null order by 1"
    )
    assert sample.values("series", "Manufacturer") == [row[0] for row in plain.fetchall()]
    assert sample.values("series", "ScanningSequence") == ["EP", "GR", "SE"]
    assert "Doe^Archibald" in sample.values("series", "PatientName"), "also of instances"


def test_a_value_is_never_sql(sample: warehouse.Warehouse) -> None:
    everything = "x' or '1'='1"
    assert sample.select("series", Modality=everything).fetchall() == []
    assert sample.select("series", Modality__any=[everything]).fetchall() == []
    assert sample.select("series", search="'; drop view series; --").fetchall() == []


@pytest.mark.parametrize(
    ("table", "condition", "value", "says"),
    [
        ("series", "Modalty", "CT", "not a column of series, a DICOM keyword or a tag"),
        ("series", 'Modality" or 1=1 --', "CT", "a DICOM keyword or a tag"),
        ("series", "Modality__like", "CT", "unknown operator; choose one of: is, in"),
        ("series", "EchoTime", "long", "the value is not a valid DOUBLE"),
        ("series", "EchoTime__contains", "3", "DOUBLE is not text"),
        ("series", "Modality__min", "CT", "VARCHAR has no range"),
        ("series", "Modality__set", "CT", "has one value only"),
        ("series", "Modality", None, "use Modality__null"),
        ("series", "SeriesDate__during", "decade", "choose one of: today"),
        ("series", "EchoTime__during", "week", "is not a date"),
        ("series", "Manufacturer__existing", "Nobody", "no row of series has that Manufacturer"),
        ("instances", "(0018,1060)", "x", "the value is not a valid DOUBLE"),
        ("instances", "InstanceNumber", 1.4, "the value is not a valid BIGINT"),
        ("instances", "InstanceNumber__max", "1.6", "the value is not a valid BIGINT"),
        ("instances", "InstanceNumber__in", "1,2.5", "the value is not a valid BIGINT"),
        ("series", "SeriesDate", "yesterday", "the value is not a valid DATE, as in 2024-12-31 or 20241231"),
    ],
)  # fmt: skip
def test_a_condition_without_meaning_is_an_error(
    sample: warehouse.Warehouse, table: str, condition: str, value: Any, says: str
) -> None:
    with pytest.raises(UnknownFilter, match=says):
        sample.select(table, {condition: value})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"StudyDate__min": "19960101"}, {"StudyDate__min": "1996-01-01"}),
        ({"StudyDate__in": "19960101,2004-01-19"}, {"StudyDate__in": ["1996-01-01", "20040119"]}),
        ({"series_count__max": 1.0}, {"series_count__max": 1}),
        ({"series_count__min": "2"}, {"series_count__min": 2}),
    ],
)
def test_a_value_may_be_written_as_in_dicom(
    sample: warehouse.Warehouse, written: dict[str, Any], meant: dict[str, Any]
) -> None:
    found = sample.select("studies", written).fetchall()
    assert found == sample.select("studies", meant).fetchall()
    assert found


def test_what_occurs_only_in_sequences_is_refused_rather_than_missing(tmp_path: Path) -> None:
    item = dataset(RadionuclideTotalDose=3.7e8)
    write(tmp_path / "in/pt.dcm", Modality="PT", RadiopharmaceuticalInformationSequence=[item])
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    dose = "RadionuclideTotalDose"
    for ask in (
        lambda: wh.select("series", {f"{dose}__min": 1}),
        lambda: wh.select("instances", {f"{dose}__null": True}),
        lambda: wh.select("patients", {"-(0018,1074)": 1}),
        lambda: wh.select("series", order=dose),
        lambda: wh.select("series", columns=[dose]),
        lambda: wh.values("series", dose),
        lambda: page(wh.catalog, "studies", {}, order=f"-{dose}"),
    ):
        with pytest.raises(UnknownFilter, match="sequence_items.'RadiopharmaceuticalInformationS"):
            ask()
    assert wh.select("series", TriggerTime__null=True).fetchall(), "is nowhere, so it is missing"
    write(tmp_path / "in/top.dcm", uid="1.2", SeriesInstanceUID="1.9", RadionuclideTotalDose=1e8)
    wh.ingest(tmp_path / "in", workers=1)
    assert wh.select("series", {f"{dose}__min": 1}, columns="series_key").fetchall() == [("1.9",)]


def test_a_name_is_found_as_the_file_writes_it(tmp_path: Path) -> None:
    # Spaces around components are insignificant (PS3.5 6.2); entities have the name without them.
    doctors = ["Roe ^ Ann", "Poe^Al "]
    path = write(tmp_path / "in/a.dcm", PatientName="DOE ^JOHN = X ", OperatorsName=doctors)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", workers=1)
    written = str(pydicom.dcmread(path).PatientName)
    assert wh.select("patients", columns="PatientName").fetchall() == [("DOE^JOHN=X",)]
    for condition in (
        {"PatientName": written}, {"PatientName__in": ["A", written]}, {"(0010,0010)": written},
        {"PatientName__existing": written}, {"OperatorsName": doctors},
        {"OperatorsName__has": doctors}, {"OperatorsName": "Roe ^ Ann"},
    ):  # fmt: skip
        assert len(wh.select("patients", condition).fetchall()) == 1, condition
    assert wh.select("patients", {"-PatientName": written}).fetchall() == []


def test_wrong_calls_say_what_is_wrong(sample: warehouse.Warehouse) -> None:
    with pytest.raises(UnknownTable, match="similar: series"):
        sample.select("serie")
    with pytest.raises(UsageError, match="whole numbers"):
        sample.select("series", limit=-1)
    with pytest.raises(UnknownFilter):
        sample.select("series", order="Nothing")
    with pytest.raises(UnknownFilter):
        values(sample.catalog, "series", "Nothing")


def test_no_message_holds_the_value_that_was_asked_for(sample: warehouse.Warehouse) -> None:
    with pytest.raises(UnknownFilter) as raised:
        sample.select("patients", PatientName__existing="Roe^Richard")
    assert "Roe" not in str(raised.value)
