"""Methods of ``Warehouse`` that select rows, and that run, store and compare cohorts.

In: an open warehouse. Out: relations, ``Run`` and ``Difference``. ``warehouse.api`` names each
function as a method.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warehouse.cohorts import asking, compare, definitions, filters
from warehouse.cohorts import reruns as asked_again
from warehouse.cohorts import runs as stored
from warehouse.cohorts.guard import locked_catalog
from warehouse.store.damage import names_failures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import duckdb
    import polars as pl

    from warehouse.cohorts.reruns import Rerun
    from warehouse.cohorts.runs import Run
    from warehouse.publishing import Opened


@names_failures
def select(
    wh: Opened, table: str = "series", conditions: Mapping[str, Any] | None = None, *,
    search: str | None = None, order: str | Iterable[str] = (),
    limit: int | None = None, offset: int = 0, columns: str | Iterable[str] = (), **more: Any,
) -> duckdb.DuckDBPyRelation:  # fmt: skip
    """Return the rows of an entity table that meet every condition.

    Parameters
    ----------
    table
        ``patients``, ``studies``, ``series``, ``instances``, or a view with one row per entity of
        these.
    conditions, more
        Conditions by attribute and operator, such as ``EchoTime__max=30``. Names that are not
        Python identifiers are passed in a mapping: ``{"-(0018,0095)__min": 100}``. See
        ``warehouse.cohorts.filters.select`` for the operators.
    search
        Text that a text column contains, ignoring case.
    order
        Attributes to sort by; a leading ``-`` means descending.
    limit, offset
        As in SQL.
    columns
        One or more attributes to return; by default every column of the table.

    Returns
    -------
    duckdb.DuckDBPyRelation

    Raises
    ------
    UnknownTable, UnknownFilter, UsageError

    Examples
    --------
    >>> wh.select("series", Modality="CT", columns=["instance_count"]).fetchall()
    [(3,)]
    """
    asked = {**(conditions or {}), **more}
    return filters.select(
        wh.catalog, table, asked, search=search, order=order, limit=limit, offset=offset,
        columns=columns,
    )  # fmt: skip


@names_failures
def values(wh: Opened, table: str, attribute: str) -> list[Any]:
    """Return the distinct values of an attribute, sorted.

    Parameters
    ----------
    table
        See ``select``.
    attribute
        Column, keyword or tag. Lists are flattened.

    Raises
    ------
    UnknownTable, UnknownFilter

    Examples
    --------
    >>> wh.values("series", "Modality")
    ['CT']
    """
    return filters.values(wh.catalog, table, attribute)


def cohorts(wh: Opened) -> dict[str, definitions.Definition]:
    """Return all cohorts by name: those in this package, then those saved in the warehouse."""
    return definitions.definitions(wh.root)


def runs(wh: Opened) -> list[Run]:
    """Return all stored runs, for each cohort the oldest first."""
    return stored.runs(wh.root)


def save_cohort(wh: Opened, name: str, sql: str) -> definitions.Definition:
    """Store a SELECT as a cohort of this warehouse; see docs/how-to/cohorts.md.

    Parameters
    ----------
    name
        Name of the cohort.
    sql
        One SELECT on tables of the warehouse that returns a key, such as ``series_key``.

    Raises
    ------
    UnsafeCohort, UnknownTable, UnknownParameter
        The SQL is not allowed.
    TargetExists
        The name is taken; a saved cohort is never replaced.
    WriteFailed

    Examples
    --------
    >>> wh.save_cohort("all_ct", "select series_key from series where Modality = 'CT'").name
    'all_ct'
    >>> wh.cohort("all_ct").counts["instances"]
    3
    """
    return wh.place.change(
        lambda _: definitions.save(locked_catalog(wh.root), name, sql), what="cohort save"
    )


def find_run(wh: Opened, name: Run | str) -> Run:
    """Return a run by its name, or the latest run of a cohort by the cohort's name.

    Raises
    ------
    UnknownCohort
    """
    return stored.find_run(wh.root, name)


@names_failures
def cohort(wh: Opened, name: str, /, *, limits: asking.Limits | None = None, **given: Any) -> Run:
    """Run a cohort on the newest version and store its members.

    Parameters
    ----------
    name
        Name of the cohort.
    limits
        Limits of time (seconds) and memory (bytes) for the SQL of a saved cohort.
    given
        Parameters of the cohort; parameters not given have their defaults.

    Returns
    -------
    Run
        A new run, or the existing one if the same query was run on the same version before.

    Raises
    ------
    UnknownCohort, UnknownParameter, UnsafeCohort, UnknownTable, MembersUnclear, WriteFailed
    CohortStopped
        The query exceeded ``limits``.

    Examples
    --------
    >>> wh.cohort("ct_thin_slice", max_slice_mm=5).counts["series"]
    1
    """
    return wh.place.keep(
        lambda: stored.run_cohort(wh.root, name, given, limits or asking.Limits()), "cohort run"
    )


@names_failures
def rerun(wh: Opened, name: Run | str) -> compare.Difference:
    """Run the cohort of a run again on the newest version, with the same parameters.

    Parameters
    ----------
    name
        A run, the name of a run, or the name of a cohort (its latest run).

    Returns
    -------
    Difference
        The difference between the two runs.

    Raises
    ------
    UnknownCohort
    UsageError
        The run was made from other runs, so it has no query of its own.
    """
    return wh.place.keep(lambda: compare.rerun(wh.root, name), "cohort rerun")


@names_failures
def rerun_all(wh: Opened) -> list[Rerun]:
    """Run every saved or previously run cohort again, on the newest version."""
    return wh.place.publish(lambda _: asked_again.rerun_all(wh.root), what="cohort rerun")


@names_failures
def members(wh: Opened, run: Run | str) -> pl.LazyFrame:
    """Return the members of a run, or of the latest run of a cohort: one row per instance.

    Raises
    ------
    UnknownCohort
    """
    return stored.members(wh.root, run)


@names_failures
def difference(wh: Opened, before: Run | str, after: Run | str) -> compare.Difference:
    """Return the instances in which two runs differ, with the reasons.

    Parameters
    ----------
    before, after
        Runs, names of runs, or names of cohorts (their latest run).

    Raises
    ------
    UnknownCohort
    """
    return compare.difference(wh.root, before, after)
