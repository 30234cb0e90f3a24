"""Operations on runs: compare, run again, combine, split and sample.

In: runs. Out: new runs, or the instances in which two runs differ. All functions read the stored
members; only ``rerun`` and ``sample`` also query the warehouse.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.catalog.connect import open_catalog
from warehouse.cohorts.definitions import valid_name
from warehouse.cohorts.runs import Run, find_run, keep, members_file, run_cohort
from warehouse.errors import UnknownVersion, UsageError
from warehouse.sqlfiles import statement
from warehouse.store import delta
from warehouse.store.duck import connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import duckdb
    import pyarrow as pa

_SETS = {
    "union": "from a union all from b anti join a on b.instance_key = a.instance_key",
    "intersect": "from a semi join b on a.instance_key = b.instance_key",
    "minus": "from a anti join b on a.instance_key = b.instance_key",
}  # fmt: skip
SPLIT = {"train": 0.7, "validation": 0.15, "test": 0.15}


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference between two runs."""

    before: Run
    after: Run
    rows: pa.Table
    """``change`` (added, gone, changed), ``why``, ``attributes``, ``series_key``, ``instance_key``.

    ``attributes`` lists the columns of `instances` in which the two versions of an instance differ.
    It is null if there are not two versions or the older one was vacuumed, and empty if no column
    differs: only other elements do, or nothing, as in a file that was read again with changed ones.
    """

    @property
    def same_members(self) -> bool:
        """Whether the digests are equal."""
        return self.before.digest == self.after.digest

    def counts(self) -> list[tuple[str, str, int]]:
        """Return (change, reason, number of instances)."""
        return sorted(
            (change, why, count)
            for (change, why), count in Counter(
                (row["change"], _said(row["why"], row["attributes"]))
                for row in self.rows.select(["change", "why", "attributes"]).to_pylist()
            ).items()
        )


def _said(why: str, attributes: list[str] | None) -> str:
    return f"{why}: {', '.join(attributes)}" if attributes else why


def difference(root: Path, before: Run | str, after: Run | str) -> Difference:
    """Compare two runs; a name may be that of a run or a cohort.

    Raises
    ------
    UnknownCohort
    """
    older, newer = find_run(root, before), find_run(root, after)
    catalog = open_catalog(root)
    connection = catalog.connection
    _show(connection, root, before=older, after=newer)
    _compare_instances(connection, root, older, newer)
    connection.execute("set variable same_question = $1", [older.same_question(newer)])
    connection.execute("set variable newest_before = $1", [older.warehouse["newest_instance_id"]])
    return Difference(
        older, newer, connection.sql(statement("difference", "runs")).to_arrow_table()
    )


def _compare_instances(
    connection: duckdb.DuckDBPyConnection, root: Path, older: Run, newer: Run
) -> None:
    """Create `changed_attributes` and `read_since` from the warehouse versions of both runs.

    They stay empty if one of the versions was vacuumed.
    """
    connection.execute(
        "create temp table changed_attributes (instance_key text, attributes text[])"
    )
    connection.execute("create temp table read_since (instance_id bigint)")
    try:
        known = [delta.snapshot(root, run.warehouse["version"]) for run in (older, newer)]
    except UnknownVersion:
        return
    parts = [snapshot.paths("instances") for snapshot in known]
    if not all(Path(part).exists() for part in {*parts[0], *parts[1]}):
        return
    for name, paths in zip(("before", "after"), parts, strict=True):
        connection.execute(f"set variable {name}_files = $1", [paths])
        source = f"read_parquet(getvariable('{name}_files'), hive_partitioning = true)"
        connection.execute(f"create temp view instances_{name} as from {source}")
    connection.execute(
        "create temp table changed as select instance_key from instances_before as a "
        "join instances_after as b using (instance_key) where a.instance_id != b.instance_id"
    )
    connection.execute(f"insert into changed_attributes {statement('changed_attributes', 'runs')}")
    for ids in ("after", "instances semi join before using (instance_key)"):
        connection.execute(
            "insert into read_since select instance_id "
            f"from (from {ids}) anti join instances_before using (instance_id)"
        )


def rerun(root: Path, name: Run | str) -> Difference:
    """Run the cohort of a run again, with its parameters, on the newest version.

    The current definition of the cohort is used; ``same_question`` tells whether it has changed.

    Raises
    ------
    UsageError
        The run was made from other runs and has no query of its own.
    """
    old = find_run(root, name)
    if old.made_of:
        sources = ", ".join(made["run"] for made in old.made_of)
        raise UsageError(f"{old.run} was made from {sources}; rerun these, then make it again")
    new = run_cohort(root, old.cohort, old.parameters)
    return difference(root, old.run, new.run)


def combine(root: Path, operation: str, left: Run | str, right: Run | str, name: str) -> Run:
    """Combine the members of two runs: ``union``, ``intersect`` or ``minus``.

    For an instance in both runs, the row of the left run is kept.

    Raises
    ------
    UsageError, UnknownCohort
    """
    if operation not in _SETS:
        raise UsageError(f"the operation must be one of {', '.join(_SETS)}: not {operation!r}")
    a, b = find_run(root, left), find_run(root, right)
    connection = connect()
    _show(connection, root, a=a, b=b)
    sql = _SETS[operation]
    members = connection.sql(f"from ({sql}) order by instance_key").to_arrow_reader()
    return keep(
        root, members, cohort=name, kind=operation, sql=f"{a.run} {operation} {b.run}",
        parameters={}, level=a.level if a.level == b.level else "instance", made_of=[a, b],
        warehouse=max(a.warehouse, b.warehouse, key=lambda known: known["version"]),
    )  # fmt: skip


def split(
    root: Path, name: Run | str, fractions: Mapping[str, float] | None = None, seed: int = 0
) -> list[Run]:
    """Split a run by patient into named parts, one run each.

    A patient's part depends only on ``seed`` and the patient's key, so it does not change when
    patients are added or removed. The fractions are therefore approximate, not exact counts.

    Parameters
    ----------
    root
        Folder of the warehouse.
    name
        Run or cohort.
    fractions
        Part → share from 0 to 1; the shares must sum to 1, and their order matters. By default
        train 0.7, validation 0.15 and test 0.15.
    seed
        A different seed gives a different split.

    Raises
    ------
    UsageError
        The fractions do not sum to 1, or a member belongs to no patient.
    """
    parts = dict(fractions or SPLIT)
    if any(not 0 <= share <= 1 for share in parts.values()) or abs(sum(parts.values()) - 1) > 1e-9:
        raise UsageError("the shares of a split must be between 0 and 1 and add up to 1")
    source = find_run(root, name)
    for part in parts:
        valid_name(f"{source.cohort}_{part}")  # before the first part is stored
    connection = connect()
    _show(connection, root, members=source)
    _require_none(
        connection, source, "where patient_key is null", "have no patient, such as a DICOMDIR"
    )
    made, lowest = [], 0.0
    for number, (part, share) in enumerate(parts.items(), 1):
        # The last part takes the remainder, so that rounding of the fractions has no effect.
        highest = 2.0 if number == len(parts) else lowest + share
        _set(connection, seed=str(seed), lowest=lowest, highest=highest)
        made.append(keep(
            root, connection.sql(statement("split", "runs")).to_arrow_reader(),
            cohort=f"{source.cohort}_{part}", kind="split",
            sql=f"{part} of {source.run} by patient",
            parameters={"seed": seed, "lowest": lowest, "share": share}, level="patient",
            made_of=[source], warehouse=source.warehouse,
        ))  # fmt: skip
        lowest = highest
    return made


def sample(
    root: Path, name: Run | str, *, as_name: str, by: str | Iterable[str] = (),
    count: int | None = None,
    fraction: float | None = None, seed: int = 0,
) -> Run:  # fmt: skip
    """Draw a stratified sample of the series of a run: ``count`` per stratum, or a ``fraction``.

    Series are drawn by a digest of seed and key, also those that have left the warehouse since.
    With a fraction, each series is decided independently. With a count, the series with the
    smallest digests are drawn, so that a new series replaces at most one.

    Parameters
    ----------
    root
        Folder of the warehouse.
    name
        Run or cohort.
    as_name
        Name of the new run.
    by
        Columns of `series` whose values define the strata; without any there is one stratum. They
        are those of the newest version, which ``strata_version`` of the parameters states.
    count, fraction
        Exactly one of them must be given.
    seed
        A different seed gives a different sample.

    Raises
    ------
    UsageError
        The arguments are invalid, a member belongs to no series, or ``by`` asks for the values of a
        series that is not in the warehouse any more.
    """
    if (count is None) == (fraction is None):
        raise UsageError("give either a count of series per stratum or a fraction")
    if (count is not None and count < 1) or (fraction is not None and not 0 <= fraction <= 1):
        raise UsageError("a count must be at least 1, and a fraction from 0 to 1")
    source = find_run(root, name)
    catalog = open_catalog(root)
    known = {column.name for column in catalog.model("series").columns}
    by = (by,) if isinstance(by, str) else tuple(by)
    for column in by:
        if column not in known:
            raise UsageError(
                f"series has no column {column!r}; see: dicom-warehouse describe series"
            )
    connection = catalog.connection
    _show(connection, root, members=source)
    _require_none(
        connection, source, "where series_key is null", "have no series, such as a DICOMDIR"
    )
    parameters = {"seed": seed, "by": list(by), "count": count, "fraction": fraction}
    strata = "select distinct series_key, '' as stratum from members"
    if by:
        gone = "anti join series using (series_key)"
        _require_none(connection, source, gone, "have series that are no longer stored")
        texts = ", ".join(f'cast("{column}" as varchar)' for column in by)
        strata = f"select series_key, to_json([{texts}]) as stratum from series"
        parameters["strata_version"] = catalog.snapshot.version
    connection.execute(f"create view strata as {strata}")
    _set(connection, seed=str(seed), count_per_stratum=count, fraction=fraction)
    return keep(
        root, connection.sql(statement("sample", "runs")).to_arrow_reader(), cohort=as_name,
        kind="sample", sql=f"sample of {source.run}",
        parameters=parameters, level="series", made_of=[source], warehouse=source.warehouse,
    )  # fmt: skip


def _require_none(
    connection: duckdb.DuckDBPyConnection, run: Run, condition: str, what: str
) -> None:
    """Raise if members of a run meet a condition, rather than leave them out."""
    lost = connection.execute(f"select count(*) from members {condition}").fetchall()[0][0]
    if lost:
        raise UsageError(f"{lost} members of {run.run} {what}")


def _show(connection: duckdb.DuckDBPyConnection, root: Path, **shown: Run) -> None:
    """Create views of the members of runs."""
    for name, run in shown.items():
        connection.read_parquet(str(members_file(root, run))).create_view(name)


def _set(connection: duckdb.DuckDBPyConnection, **variables: str | float | None) -> None:
    for name, value in variables.items():
        connection.execute(f"set variable {name} = $1", [value])
