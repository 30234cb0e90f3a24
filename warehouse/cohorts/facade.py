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
    """Return the rows of an entity table for which every condition holds.

    Parameters
    ----------
    table
        ``patients``, ``studies``, ``series``, ``instances``, or a view with one row of these.
    conditions, more
        Conditions by attribute and operator, such as ``EchoTime__max=30``; those that are not
        Python names are keys of the mapping: ``{"-(0018,0095)__min": 100}``. The operators are
        those of ``warehouse.cohorts.filters.select``.
    search
        Text that a text column contains, ignoring case.
    order
        Attributes to sort by, ``-`` in front of one for descending.
    limit, offset
        As in SQL.
    columns
        Attributes to return, or one; by default every column of the table.

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
        As of ``select``.
    attribute
        Column, keyword or tag. The values of a list are returned one by one.

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
    """Return all cohorts by name: those of this package, then those saved in the warehouse."""
    return definitions.definitions(wh.root)


def runs(wh: Opened) -> list[Run]:
    """Return all stored runs, the oldest of each cohort first."""
    return stored.runs(wh.root)


def save_cohort(wh: Opened, name: str, sql: str) -> definitions.Definition:
    """Store a SELECT as a cohort of this warehouse; see docs/how-to/cohorts.md.

    Parameters
    ----------
    name
        Name of the cohort.
    sql
        One SELECT over tables of the warehouse that returns a key, such as ``series_key``.

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
    """Return a run by its name, or the latest run of the cohort of that name.

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
        Seconds and bytes of memory that the SQL of a saved cohort may take.
    given
        Parameters of the cohort; those left out have their defaults.

    Returns
    -------
    Run
        The run that exists already if the same question was asked of the same version before.

    Raises
    ------
    UnknownCohort, UnknownParameter, UnsafeCohort, UnknownTable, MembersUnclear, WriteFailed
    CohortStopped
        It took more than ``limits``.

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
        A run, its name, or that of a cohort for its latest run.

    Returns
    -------
    Difference
        What has changed between the two runs.

    Raises
    ------
    UnknownCohort
    UsageError
        The run was made of other runs, so that it has no question of its own.
    """
    return wh.place.keep(lambda: compare.rerun(wh.root, name), "cohort rerun")


@names_failures
def rerun_all(wh: Opened) -> list[Rerun]:
    """Run every cohort again that was saved or run before, on the newest version."""
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
    """Return in which instances two runs differ, and why.

    Parameters
    ----------
    before, after
        Runs, their names, or those of cohorts for their latest run.

    Raises
    ------
    UnknownCohort
    """
    return compare.difference(wh.root, before, after)
