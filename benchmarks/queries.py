"""Questions to a large warehouse, next to what people would use instead.

    python benchmarks/queries.py                           # 1,000,000 instances, made if missing
    python benchmarks/queries.py --instances 40000 --quick # small, prints only
    python benchmarks/queries.py --archive DIR             # a warehouse of your own

Each question is asked of the warehouse, of its long rows by the SQL one would write without views,
of pandas frames and of SQLite tables of the entities; answers must be equal, or the run ends. The
IDC index, one row per series of a public archive, is asked as its own client does and through our
connection. README.md beside this file says what is in a number.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from archive import make_archive
from extraction import machine

import warehouse
from warehouse.catalog.materialized import materialize
from warehouse.store.compact import compact

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks-queries.md"
ENTITIES = ("series", "studies", "patients")
ROUNDS = 7
OPENING_MS = 200


@dataclass(frozen=True, slots=True)
class Question:
    """One question in the languages of those who are asked; the answer is a set of keys."""

    title: str
    ours: str
    long_rows: str = ""
    """Without the views: over `elements` alone."""
    pandas: Callable[[dict[str, Any]], set[Any]] | None = None
    sqlite: str = ""
    limit_ms: float | None = None
    """What we promise for a million instances, warm, on two cores."""


def _pivot(key: str, having: str, **columns: str) -> str:
    """Write the query over long rows that people write: one pass, a CASE per attribute."""
    cases = ", ".join(
        f"max(case when keyword = '{keyword}' then {column} end) as {keyword}"
        for keyword, column in columns.items()
    )
    names = ", ".join(f"'{keyword}'" for keyword in columns)
    return (
        f"with wide as (select instance_id, {cases} from elements "
        f"where path = '' and \"index\" = 0 and keyword in ({names}) group by instance_id) "
        f"select {key} from wide group by {key} having {having}"
    )


QUESTIONS = [
    Question(
        "series: MR, thin slices, long echo",
        "select SeriesInstanceUID from series "
        "where Modality = 'MR' and SliceThickness < 2 and EchoTime > 50",
        _pivot(
            "SeriesInstanceUID",
            "min(Modality) = 'MR' and min(SliceThickness) < 2 and min(EchoTime) > 50",
            SeriesInstanceUID="text",
            Modality="text",
            SliceThickness="real",
            EchoTime="real",
        ),
        lambda frames: set(
            frames["series"]
            .query("Modality == 'MR' and SliceThickness < 2 and EchoTime > 50")
            .SeriesInstanceUID
        ),
        "select SeriesInstanceUID from series "
        "where Modality = 'MR' and SliceThickness < 2 and EchoTime > 50",
        50,
    ),
    Question(
        "studies: since 2020, of the head, more than 3 series",
        "select StudyInstanceUID from studies where StudyDate >= date '2020-01-01' "
        "and contains(StudyDescription, 'HEAD') and series_count > 3",
        _pivot(
            "StudyInstanceUID",
            "min(StudyDate) >= date '2020-01-01' and contains(min(StudyDescription), 'HEAD') "
            "and count(distinct SeriesInstanceUID) > 3",
            StudyInstanceUID="text",
            StudyDate="date",
            StudyDescription="text",
            SeriesInstanceUID="text",
        ),
        lambda frames: set(
            frames["studies"][
                (frames["studies"].StudyDate >= "2020-01-01")
                & frames["studies"].StudyDescription.str.contains("HEAD", regex=False)
                & (frames["studies"].series_count > 3)
            ].StudyInstanceUID
        ),
        "select StudyInstanceUID from studies where StudyDate >= '2020-01-01' "
        "and StudyDescription like '%HEAD%' and series_count > 3",
        50,
    ),
    Question(
        "patients: women born before 1950 with several studies",
        "select PatientID from patients where PatientSex = 'F' "
        "and PatientBirthDate < date '1950-01-01' and study_count > 1",
        _pivot(
            "PatientID",
            "min(PatientSex) = 'F' and min(PatientBirthDate) < date '1950-01-01' "
            "and count(distinct StudyInstanceUID) > 1",
            PatientID="text",
            PatientSex="text",
            PatientBirthDate="date",
            StudyInstanceUID="text",
        ),
        lambda frames: set(
            frames["patients"][
                (frames["patients"].PatientSex == "F")
                & (frames["patients"].PatientBirthDate < "1950-01-01")
                & (frames["patients"].study_count > 1)
            ].PatientID
        ),
        "select PatientID from patients where PatientSex = 'F' "
        "and PatientBirthDate < '1950-01-01' and study_count > 1",
        50,
    ),
    Question(
        "cohort by an attribute no entity has (PercentSampling)",
        "select distinct series_key from attribute('PercentSampling') "
        "join instances using (instance_id) where real < 100",
        _pivot(
            "SeriesInstanceUID",
            "min(PercentSampling) < 100",
            SeriesInstanceUID="text",
            PercentSampling="real",
        ),
        limit_ms=300,
    ),
    Question(
        "cohort by a private element (GEMS_ACQU_01, xx24)",
        "select distinct series_key from private('GEMS_ACQU_01', '0x24') "
        "join instances using (instance_id) where real > 1000",
        limit_ms=300,
    ),
]


INDEX_QUESTIONS = {
    "series of one modality": "select SeriesInstanceUID from index where Modality = 'MR'",
    "MR of the liver": "select SeriesInstanceUID from index "
    "where Modality = 'MR' and BodyPartExamined = 'LIVER'",
    "collections": "select distinct collection_id from index",
    "modalities, count": "select Modality, count(*) from index group by Modality",
    "modalities of each collection": "select collection_id, count(distinct Modality) from index "
    "group by collection_id",
    "patients with MR": "select count(distinct PatientID) from index where Modality = 'MR'",
    "patients, studies, series of each collection": "select collection_id, "
    "count(distinct PatientID), count(distinct StudyInstanceUID), count(*) from index "
    "group by collection_id",
    "gigabytes of each collection": "select collection_id, round(sum(series_size_MB) / 1000, 3) "
    "from index group by collection_id",
    "licenses of a selection": "select license_short_name, count(*) from index "
    "where Modality = 'CT' group by license_short_name",
    "manufacturers and models of MR": "select Manufacturer, ManufacturerModelName, count(*) "
    "from index where Modality = 'MR' group by all",
    "studies with CT and SEG": "select StudyInstanceUID from index group by StudyInstanceUID "
    "having bool_or(Modality = 'CT') and bool_or(Modality = 'SEG')",
    "a manifest of 100 large series": "select series_aws_url from index where Modality = 'CT' "
    "order by series_size_MB desc, SeriesInstanceUID limit 100",
}
"""What the notebooks of IDC ask (github.com/ImagingDataCommons/IDC-Tutorials), in our words."""


@dataclass
class Row:
    """One question, everyone's time."""

    title: str
    rows: int
    limit_ms: float | None
    times: dict[str, float] = field(default_factory=dict)
    """Who → median in ms; who cannot answer is missing."""


def main() -> None:
    """Ask, compare, and write the page."""
    parser = argparse.ArgumentParser(description="Time questions to a large warehouse.")
    parser.add_argument("--archive", type=Path, help="a warehouse; made there if it is missing")
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="two rounds; print, write no page")
    given = parser.parse_args()
    place = Path(tempfile.gettempdir()) / "dicom-warehouse-bench"
    root = given.archive or place / f"archive-{given.instances}"
    if given.archive is None or not root.exists():
        place.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place) as scratch:
            make_archive(root, given.instances, Path(scratch))
    text = "\n".join(page(root, _tidied(root), 2 if given.quick else ROUNDS))
    print(text)
    if not given.quick:
        PAGE.write_text(text + "\n", encoding="utf-8")


def _tidied(root: Path) -> Path:
    """Return a copy as the nightly `compact` leaves it; made if it is missing."""
    copy = root.with_name(f"{root.name}-compacted")
    if not copy.exists():
        draft = copy.with_name(f"_{copy.name}")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(root, draft)
        compact(draft)
        draft.rename(copy)
    return copy


def page(as_ingested: Path, root: Path, rounds: int) -> list[str]:
    """Measure everything and lay it out."""
    for made in (as_ingested, root):
        materialize(made)
    opening = [_opened(root) for _ in range(rounds + 1)]
    wh, before = warehouse.open(root, create=True), warehouse.open(as_ingested, create=True)
    ((instances, series, rows),) = wh.sql(
        "select (select count(*) from instances), (select count(*) from series), "
        "(select count(*) from elements)"
    ).fetchall()
    lines = [
        "# Benchmarks: queries",
        "",
        "<!-- Generated by benchmarks/queries.py (make bench-queries). Do not edit. -->",
        "",
        (
            f"Generated by `python benchmarks/queries.py` on {dt.datetime.now(tz=dt.UTC).date()}; "
            "benchmarks/README.md describes the method. Figures are medians in ms, with warm caches."
        ),
        "",
        *(f"- {line}" for line in machine()),
        (
            f"- {instances:,} instances, {series:,} series, {rows:,} rows of elements, "
            f"{len(before.catalog.snapshot.parts['elements'])} parts of elements as ingested, "
            f"{len(wh.catalog.snapshot.parts['elements'])} after `dicom-warehouse compact`"
        ),
        (
            f"- opening the catalog: {statistics.median(opening[1:]):.0f} ms "
            f"(the first time on a machine {opening[0]:.0f} ms; target under {OPENING_MS} ms: "
            f"{_verdict(statistics.median(opening[1:]), OPENING_MS)})"
        ),
        "",
        "## Entities and long rows",
        "",
        *_table(
            ask_entities(wh, before, rounds),
            ["ours", "ours, not compacted", "long rows, naive SQL", "pandas", "SQLite"],
        ),
        "",
        (
            "pandas and SQLite contain only the three entity tables, made from our views. Loading "
            "them is not counted, although they would have to be made again after each ingest. An "
            "empty cell means that the tool does not have the column."
        ),
        "",
        "## IDC's index",
        "",
    ]
    index = _index_file()
    if index is None:
        return [*lines, "`idc-index-data` is not installed."]
    return [
        *lines,
        (
            "One row per series of the Imaging Data Commons, from the package `idc-index-data`. "
            "Its client loads the table as a pandas frame and queries the frame with DuckDB."
        ),
        "",
        *_table(ask_index(wh, index, rounds), ["ours", "idc-index"]),
    ]


def _opened(root: Path) -> float:
    began = time.perf_counter()
    _ = warehouse.open(root, create=True).catalog
    return (time.perf_counter() - began) * 1000


def ask_entities(wh: warehouse.Warehouse, before: warehouse.Warehouse, rounds: int) -> list[Row]:
    frames = {name: _frame(wh, name) for name in ENTITIES}
    lite = sqlite3.connect(":memory:")
    for name, frame in frames.items():
        plain = frame[[c for c in frame if not frame[c].map(lambda v: isinstance(v, list)).any()]]
        plain.to_sql(name, lite, index=False)
    lite.execute("create index by_modality on series (Modality, SliceThickness, EchoTime)")
    lite.execute("create index by_date on studies (StudyDate)")
    lite.execute("create index by_birth on patients (PatientSex, PatientBirthDate)")
    found = []
    for question in QUESTIONS:
        ask: dict[str, Callable[[], set[Any]]] = {"ours": lambda q=question: _keys(wh, q.ours)}
        ask["ours, not compacted"] = lambda q=question: _keys(before, q.ours)
        if question.long_rows:
            ask["long rows, naive SQL"] = lambda q=question: _keys(wh, q.long_rows)
        if question.pandas:
            ask["pandas"] = lambda q=question: q.pandas(frames)
        if question.sqlite:
            ask["SQLite"] = lambda q=question: {row[0] for row in lite.execute(q.sqlite)}
        found.append(_timed(question.title, ask, rounds, question.limit_ms))
    return found


def ask_index(wh: warehouse.Warehouse, index: str, rounds: int) -> list[Row]:
    # The client reads the whole file into a frame when it is made.
    frame = duckdb.sql(f"from '{index}'").df()
    theirs = duckdb.connect()
    theirs.register("index", frame)
    with tempfile.TemporaryDirectory() as folder:
        # As our entity answers are stored.
        ours = f"{folder}/index.parquet"
        duckdb.sql(f"copy (from '{index}') to '{ours}' (parquet_version v2, compression zstd)")
        connection = wh.catalog.connection
        connection.execute(f"create or replace temp view index as from read_parquet('{ours}')")
        return [
            _timed(
                title,
                {
                    "ours": lambda sql=sql: set(connection.sql(sql).fetchall()),
                    "idc-index": lambda sql=sql: _of_frame(theirs.sql(sql).df()),
                },
                rounds,
            )
            for title, sql in INDEX_QUESTIONS.items()
        ]


def _timed(
    title: str, ask: dict[str, Callable[[], set[Any]]], rounds: int, limit: float | None = None
) -> Row:
    """Ask everyone once for the answer, which must be the same, then in rounds for the time."""
    answers = {who: call() for who, call in ask.items()}
    sizes = {who: len(answer) for who, answer in answers.items()}
    if any(answer != answers["ours"] for answer in answers.values()):
        raise SystemExit(f"{title}: answers differ: {sizes}")
    times: dict[str, list[float]] = {who: [] for who in ask}
    for _ in range(rounds):
        for who, call in ask.items():
            began = time.perf_counter()
            call()
            times[who].append((time.perf_counter() - began) * 1000)
    medians = {who: statistics.median(spent) for who, spent in times.items()}
    return Row(title, sizes["ours"], limit, medians)


def _keys(wh: warehouse.Warehouse, sql: str) -> set[Any]:
    return {row[0] for row in wh.sql(sql).fetchall()}


def _frame(wh: warehouse.Warehouse, name: str) -> Any:
    frame = wh.sql(f"from {name}").df()
    for column in frame.columns[frame.columns.str.endswith("Date")]:
        frame[column] = frame[column].astype("str")
    for column in frame.columns[frame.columns.str.endswith("Time")]:
        if frame[column].dtype == object:
            frame[column] = frame[column].astype("str")
    return frame


def _of_frame(frame: Any) -> set[Any]:
    """Make rows of a frame comparable: what is missing is NaN or NaT there."""
    return {
        tuple(None if value != value else value for value in row)  # noqa: PLR0124 - NaN
        for row in frame.itertuples(index=False, name=None)
    }


def _index_file() -> str | None:
    spec = importlib.util.find_spec("idc_index_data")
    if spec is None or not spec.submodule_search_locations:
        return None
    return os.path.join(spec.submodule_search_locations[0], "idc_index.parquet")


def _table(rows: list[Row], everyone: list[str]) -> list[str]:
    limits = any(row.limit_ms for row in rows)
    head = ["query", "rows", *everyone, *(["target"] if limits else [])]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for row in rows:
        cells = [f"{row.times[who]:.1f}" if who in row.times else "" for who in everyone]
        promise = [_promise(row)] if limits else []
        lines.append("| " + " | ".join([row.title, f"{row.rows:,}", *cells, *promise]) + " |")
    return lines


def _promise(row: Row) -> str:
    if row.limit_ms is None:
        return ""
    return f"under {row.limit_ms:.0f}: {_verdict(row.times['ours'], row.limit_ms)}"


def _verdict(measured: float, limit: float) -> str:
    return "met" if measured < limit else "MISSED"


if __name__ == "__main__":
    main()
