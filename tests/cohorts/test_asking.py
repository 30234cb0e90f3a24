"""SQL that the guard lets pass, and that would answer otherwise, take too long or too much."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

from warehouse.cohorts import definitions
from warehouse.cohorts.asking import Limits, pick_apart, pick_twice
from warehouse.cohorts.guard import check, locked_catalog
from warehouse.cohorts.runs import run_cohort
from warehouse.errors import CohortStopped, QueryFailed, UnsafeCohort

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.catalog.connect import Catalog


@pytest.fixture(scope="module")
def locked(template: Path) -> Catalog:
    """Not to make tables in."""
    return locked_catalog(template / "w")


def _checked(locked: Catalog, sql: str) -> tuple[str, int]:
    return check(locked, sql).sql, locked.snapshot.version


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("select mode(series_key) as series_key from series", "mode()"),
        ("select max_by(series_key, 1) as series_key from series", "max_by()"),
        ("select list(series_key order by Modality)[1] as series_key from series", "list()"),
        (
            "select split_part(string_agg(series_key, ','), ',', 1) as series_key from series",
            "string_agg()",
        ),
        ("select series_key from series order by Modality limit 1", "ORDER BY … LIMIT"),
        (
            "select series_key from series qualify row_number() over (order by Modality) = 1",
            "row_number()",
        ),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("opened_once")
def test_an_answer_that_depends_on_the_order_of_rows_is_refused(
    locked: Catalog, sql: str, named: str
) -> None:
    asked, version = _checked(locked, sql)
    with pytest.raises(UnsafeCohort, match="another order") as refused:
        pick_twice(locked.snapshot.root, asked, {}, version)
    assert named in str(refused.value)


@pytest.mark.parametrize(
    "sql",
    [
        "select series_key from instances join attribute('SliceThickness') using (instance_id) where real > 2",
        # of `instances`: `series` takes ten times as long, in each of 34 orders
        "select series_key from instances where Modality = (select mode(Modality) from instances)",
        "select series_key from instances group by series_key having count(distinct instance_id) = 2",
        "select series_key from instances order by series_key, instance_key limit 2",
        "select series_key from files join instances using (instance_id) where files.size_bytes > 10",
    ],
)
@pytest.mark.usefixtures("opened_once")
def test_an_answer_that_does_not_is_taken(locked: Catalog, sql: str) -> None:
    asked, version = _checked(locked, sql)
    assert len(pick_twice(locked.snapshot.root, asked, {}, version).keys) > 0


def test_values_of_every_type_reach_the_process_that_asks(template: Path, tmp_path: Path) -> None:
    root = shutil.copytree(template / "w", tmp_path / "w")
    params = [
        "makers | VARCHAR[] | ['ACME'] | m", "day | DATE | 2001-02-03 | d", "at | TIME | 04:05:06 | t",
        "moment | TIMESTAMP | 2001-02-03 04:05:06.000007 | m", "thick | DOUBLE | 2.5 | mm",
        "many | BIGINT | 1 | n", "yes | BOOLEAN | true | b", "nothing | VARCHAR | null | n",
    ]  # fmt: skip
    sql = (
        "select series_key from instances where Manufacturer in (select unnest($makers)) and "
        "SliceThickness > $thick and $yes and InstanceNumber > $many and $nothing is null "
        "and $day + $at = timestamp '2001-02-03 04:05:06' and microsecond($moment) = 6000007"
    )
    text = "-- Of every type.\n--\n" + "".join(f"-- param: {line}\n" for line in params) + sql
    definitions.save(locked_catalog(root), "typed", text)
    # Of patients 1, 3 and 5 with 1, 3 and 5 mm.
    assert run_cohort(root, "typed").counts["series"] == 2


ENDLESS = (
    "instance_count in (with recursive a as (select 1 x union all select x + 1 from a) from a)"
)


@pytest.mark.parametrize(
    ("waste", "seconds"),
    [
        # not stopped by an interrupt: the process has to be killed
        pytest.param(
            "length(lpad(series_key, 2000000000, 'b')) > 1", 2,
            marks=pytest.mark.long("test_time_is_limited"),
        ),
        pytest.param(ENDLESS, 2, marks=pytest.mark.long("test_time_is_limited")),
        (ENDLESS, 0.6),
    ],
)  # fmt: skip
def test_time_is_limited(locked: Catalog, waste: str, seconds: float) -> None:
    asked, version = _checked(locked, f"select series_key from series where {waste}")
    begun = time.monotonic()
    with pytest.raises(CohortStopped, match=f"more than {seconds:g} s"):
        pick_apart(locked.snapshot.root, asked, {}, version, Limits(seconds=seconds))
    assert time.monotonic() - begun < 10


def test_memory_is_limited(locked: Catalog) -> None:
    waste = "select series_key from series where length(repeat('a', 3000000000)) > 1"
    asked, version = _checked(locked, waste)
    with pytest.raises((CohortStopped, QueryFailed), match=r"(?i)memory"):
        pick_apart(locked.snapshot.root, asked, {}, version, Limits(memory_bytes=1 << 30))


@pytest.mark.parametrize(
    "sql",
    [
        "select series_key from series where NoSuchColumn = 1",
        "select series_key from series where SliceThickness = 'x' || 1 || [2]",
    ],
)
def test_what_cannot_be_asked_is_not_saved(locked: Catalog, sql: str) -> None:
    with pytest.raises(UnsafeCohort, match="cannot be run") as refused:
        definitions.save(locked, "broken", sql)
    assert len(str(refused.value).splitlines()) == 1
    assert "describe" not in str(refused.value)
    assert not (locked.snapshot.root / "cohorts" / "broken.sql").exists()
