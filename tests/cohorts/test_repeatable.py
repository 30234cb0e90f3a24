"""A cohort that is accepted has one digest: compacted, and wherever the same files came in another order.

Queries are generated: most of them are refused, or name other members by the order of the rows; those
that get through must not.
"""

from __future__ import annotations

import functools
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import warehouse
from tests.dicom_files import write
from warehouse.cohorts import asking
from warehouse.cohorts.guard import check, locked_catalog
from warehouse.errors import MembersUnclear, QueryFailed, UnsafeCohort
from warehouse.store import delta

if TYPE_CHECKING:
    from collections.abc import Callable

    from warehouse.catalog.connect import Catalog

TEXTS = ("Modality", "PatientID", "SeriesDescription", "Manufacturer", "series_key", "patient_key")
NUMBERS = ("InstanceNumber", "SliceThickness", "SeriesNumber", "EchoTime")
COLUMNS = (*TEXTS, *NUMBERS, "StudyDate", "instance_key")
KEYS = ("series_key", "instance_key", "study_key", "patient_key")
VALUES = ("CT", "MR", "p0", "p1", "AX", "COR", "S1")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """One warehouse, its compacted copy, and one that was given the same files in another order.

    Values repeat, so that orders have ties; some are missing; thirds have no exact sum.
    """
    folder = tmp_path_factory.mktemp("stores")
    files = [
        write(
            folder / "in" / f"{number:02}",
            uid=f"1.{number * 7 % 24}",
            PatientID=f"p{number % 3}",
            StudyInstanceUID=f"2.{number % 4}",
            SeriesInstanceUID=f"3.{number % 8}",
            Modality="MR" if number % 8 in (1, 4, 5) else "CT",
            SeriesNumber=number % 8 // 3,
            InstanceNumber=number // 8,
            SliceThickness=round((number % 5 + 1) / 3, 6),
            SeriesDescription=("AX", "COR", "ax ")[number % 8 % 3],
            Manufacturer="S1",
            StudyDate=f"2024010{number % 4 // 2 + 1}",
            **({"EchoTime": 0.1 * (number % 7)} if number % 6 else {}),
        )
        for number in range(24)
    ]
    one, other = (warehouse.open(folder / name, create=True) for name in ("one", "other"))
    one.ingest(folder / "in", workers=1, batch_files=9)
    for start in (13, 3):
        one_after_another = files[start : start + 7]
        other.ingest(*reversed(one_after_another), workers=1, batch_files=4)
    other.ingest(folder / "in", workers=1)
    shutil.copytree(one.root, folder / "compacted")
    warehouse.open(folder / "compacted").compact()
    return one.root, folder / "compacted", other.root


words = st.sampled_from(VALUES).map(lambda text: f"'{text}'")
numbers = st.sampled_from(("0", "1", "2", "0.333333", "0.666667", "1.0", "3"))
signs = st.sampled_from(("=", "<>", "<", ">=", "is distinct from"))
columns = st.sampled_from(COLUMNS)
ways = st.sampled_from(("", " desc", " desc nulls last", " nulls first"))
orders = st.lists(st.tuples(columns, ways).map("".join), min_size=1, max_size=3).map(", ".join)
plain = st.one_of(
    st.tuples(st.sampled_from(TEXTS), signs, words).map(" ".join),
    st.tuples(st.sampled_from(NUMBERS), signs, numbers).map(" ".join),
    columns.map("{} is not null".format),
    st.tuples(st.sampled_from(TEXTS), words).map("{0[0]} in ({0[1]}, 'CT')".format),
    st.just("StudyDate >= date '2024-01-02'"),
    st.sampled_from(("instance_id % 2 = 0", "batch > '000001'", "hash(instance_key) % 2 = 0")),
)
conditions = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(("and", "or")), inner).map(
            "({0[0]} {0[1]} {0[2]})".format
        ),
        inner.map("not ({})".format),
    ),
    max_leaves=3,
)
aggregates = st.one_of(
    st.tuples(
        st.sampled_from(
            ("min", "max", "any_value", "mode", "first", "last", "median", "sum", "avg")
        ),
        st.sampled_from(NUMBERS),
    ).map("{0[0]}({0[1]})".format),
    st.tuples(st.sampled_from(NUMBERS), columns).map("arg_max({0[0]}, {0[1]})".format),
    st.tuples(st.sampled_from(NUMBERS), columns).map("max_by({0[0]}, {0[1]})".format),
    st.tuples(st.sampled_from(NUMBERS), orders).map("list({0[0]} order by {0[1]})[1]".format),
    st.tuples(st.sampled_from(NUMBERS), orders).map("first({0[0]} order by {0[1]})".format),
    st.sampled_from(NUMBERS).map("list({})[2]".format),
    st.sampled_from(("count(*)", "count(distinct Modality)", "sum(SliceThickness / 3)")),
)
windows = st.tuples(
    st.sampled_from(("row_number()", "rank()", "dense_rank()", "ntile(3)", "lag(InstanceNumber)",
                     "first_value(InstanceNumber)", "sum(EchoTime)")),
    columns, orders,
).map("{0[0]} over (partition by {0[1]} order by {0[2]})".format)  # fmt: skip


@st.composite
def queries(draw: st.DrawFn) -> str:
    """Draw a SELECT that names members in one of the ways in which people do."""
    key = draw(st.sampled_from(KEYS))
    where = draw(conditions)
    start = f"select {key} from instances where {where}"
    match draw(st.integers(0, 8)):
        case 0:
            return start
        case 1:
            inner = f"{draw(aggregates)} {draw(signs)} {draw(numbers)}"
            return f"{start} group by {key} having {inner}"
        case 2:
            least = draw(st.integers(1, 4))
            return f"{start} order by {draw(orders)} limit {least} offset {draw(st.integers(0, 2))}"
        case 3:
            return f"{start} qualify {draw(windows)} <= {draw(st.integers(1, 3))}"
        case 4:
            column = draw(columns)
            return (
                f"select distinct on ({column}) {key} from instances where {where} "
                f"order by {column}, {draw(orders)}"
            )
        case 5:
            function = draw(st.sampled_from(("any_value", "min", "first", "last", "mode", "max")))
            return (
                f"select {function}({key}) as {key} from instances where {where} "
                f"group by {draw(columns)}"
            )
        case 6:
            both = draw(st.sampled_from(("union", "except", "intersect", "except all")))
            return f"{start} {both} select {key} from instances where {draw(conditions)}"
        case 7:
            inner = f"select series_key from series where instance_count >= 3 order by {draw(ways.map('Modality{}'.format))} limit 2"
            return f"{start} and series_key in ({inner})"
        case _:
            return (
                f"select {key} from (select *, {draw(windows)} as n from instances) "
                f"where {where} and n <= {draw(numbers)}"
            )


# Of the queries that are generated below, one of each kind that is accepted, and refused.
ACCEPTED = (
    "select series_key from instances where not (hash(instance_key) % 2 = 0)",
    "select series_key from instances where Modality is not null group by series_key having count(distinct Modality) = 1",
    "select series_key from instances where Modality = 'CT' order by series_key, instance_key limit 2 offset 1",
    (
        "select patient_key from instances where StudyDate >= date '2024-01-02' qualify lag(InstanceNumber) over "
        "(partition by StudyDate order by SeriesDescription, PatientID nulls first) <= 1"
    ),
    (
        "select distinct on (PatientID) study_key from instances where StudyDate >= date '2024-01-02' "
        "order by PatientID, Modality, SliceThickness desc, Manufacturer"
    ),
    "select max(series_key) as series_key from instances where EchoTime is not null group by SeriesDescription",
    (
        "select series_key from instances where InstanceNumber is not null "
        "except all select series_key from instances where not (SeriesNumber = 1.0)"
    ),
    (
        "select instance_key from instances where InstanceNumber >= 0 and series_key in "
        "(select series_key from series where instance_count >= 3)"
    ),
    (
        "select series_key from (select *, first_value(InstanceNumber) over (partition by SeriesDescription "
        "order by InstanceNumber nulls first) as n from instances) where SeriesDescription = 'AX' and n <= 1"
    ),
)
REFUSED = (
    "select instance_key from instances where Modality = 'CT' order by InstanceNumber, SeriesNumber desc nulls last limit 1",
    "select instance_key from instances where Modality < 'MR' qualify row_number() over (partition by PatientID order by PatientID) <= 3",
    "select distinct on (SeriesNumber) series_key from instances where Modality = 'CT' order by SeriesNumber, InstanceNumber",
    "select any_value(series_key) as series_key from instances where not (SliceThickness < 0) group by Manufacturer",
    "select series_key from instances where batch > '000001'",
    (
        "select instance_key from (select *, row_number() over (partition by Modality order by Manufacturer) as n "
        "from instances) where Modality = 'MR' and n <= 1"
    ),
)


def newest(opened: Callable[..., Catalog], root: Path) -> Catalog:
    return opened(root, delta.snapshot(root).version)


@pytest.mark.usefixtures("opened_once")
@pytest.mark.parametrize(
    "accepted",
    [
        ACCEPTED[1:2],
        pytest.param(
            ACCEPTED,
            marks=pytest.mark.long("test_one_of_each_kind_that_is_accepted_has_one_answer"),
        ),
    ],
    ids=len,
)
def test_one_of_each_kind_that_is_accepted_has_one_answer(
    stores: tuple[Path, Path, Path], opened: Callable[..., Catalog], accepted: tuple[str, ...]
) -> None:
    one, *others = (newest(opened, root) for root in stores)
    for sql in accepted:
        asked = check(one, sql)
        found = asking.pick_twice(stores[0], asked.sql, {}, one.snapshot.version).keys
        assert len(found) > 0, sql
        again = [asking.pick(other.connection, asked.sql, {}).keys for other in others]
        assert [keys.equals(found) for keys in again] == [True, True], sql


@pytest.mark.usefixtures("opened_once")
def test_one_of_each_kind_that_has_another_answer_is_refused(
    stores: tuple[Path, Path, Path], opened: Callable[..., Catalog]
) -> None:
    one = newest(opened, stores[0])
    for sql in REFUSED:
        try:
            asked = check(one, sql)
            asking.pick_twice(stores[0], asked.sql, {}, one.snapshot.version)
        except UnsafeCohort:
            continue
        pytest.fail(f"accepted: {sql}")


@pytest.mark.parametrize(
    "examples",
    [pytest.param(40, marks=pytest.mark.slow), pytest.param(1_000, marks=pytest.mark.soak)],
)
def test_what_is_accepted_has_one_answer(
    stores: tuple[Path, Path, Path],
    examples: int,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    """``examples`` are those accepted; of others it only counts that there are some."""
    opened = functools.cache(locked_catalog)
    monkeypatch.setattr(asking, "locked_catalog", opened)
    one, *others = stores
    version = opened(one).snapshot.version
    outcomes: Counter[str] = Counter()

    @settings(
        max_examples=examples * 2,
        database=None,
        derandomize=examples < 100,
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(queries())
    def ask(sql: str) -> None:
        if outcomes["accepted"] >= examples:
            return
        try:
            asked = check(opened(one), sql)
            found = asking.pick_twice(one, asked.sql, {}, version)
        except (UnsafeCohort, MembersUnclear, QueryFailed) as error:
            outcomes[type(error).__name__] += 1
            return
        outcomes["accepted"] += 1
        outcomes["without members"] += not len(found.keys)
        again = [asking.pick(opened(root).connection, asked.sql, {}).keys for root in others]
        assert [keys.equals(found.keys) for keys in again] == [True, True], sql

    ask()
    record_property("outcomes", dict(outcomes))
    assert outcomes["UnsafeCohort"] > 0
    assert outcomes["accepted"] >= examples / 2
    assert outcomes["without members"] < outcomes["accepted"] / 2


@pytest.mark.parametrize(
    "condition",
    [
        "not (instance_id % 2 = 0)",
        "instance_id % 2 = 0",
        "instance_id % 4 = 1",
        "batch[-1:] in ('1', '3')",
    ],
)
def test_the_lowest_digits_of_an_id_are_no_condition(
    stores: tuple[Path, Path, Path], condition: str
) -> None:
    """Found by the thousand queries: of each id the last bit was the same in all of the orders."""
    one = stores[0]
    sql = f"select series_key from instances where {condition}"
    with pytest.raises(UnsafeCohort, match="other members"):
        asking.pick_twice(one, sql, {}, locked_catalog(one).snapshot.version)


def test_of_a_tie_every_row_comes_first_once(stores: tuple[Path, Path, Path]) -> None:
    """Found by the thousand queries: of many rows that tie, one alone is of another study."""
    one = stores[0]
    opened = locked_catalog(one)
    ((rare,),) = opened.connection.execute(
        "select instance_key from instances order by hash(instance_key) limit 1"
    ).fetchall()
    sql = f"select if(instance_key = '{rare}', 'a', 'b') as study_key from instances order by Manufacturer limit 1"
    with pytest.raises(UnsafeCohort, match="other members"):
        asking.pick_twice(one, sql, {}, opened.snapshot.version)


def test_the_stores_hold_the_same_in_another_order(stores: tuple[Path, Path, Path]) -> None:
    content: list[Any] = []
    order: list[Any] = []
    for root in stores:
        wh = warehouse.open(root)
        rows = "select * exclude (batch, instance_id) from instances order by instance_key"
        content.append(wh.sql(rows).fetchall())
        order.append(wh.sql("select instance_key from instances order by instance_id").fetchall())
        assert len(wh.sql("select distinct batch from instances").fetchall()) > 1
    assert content[0] == content[1] == content[2]
    assert order[0] == order[1] != order[2]
