"""SQL conditions that select which series of a study go into which socket of an algorithm.

In: a condition on ``series`` for each socket, written by the author of the algorithm. Out: the
series that match it. Conditions are checked like the queries of cohorts: they read only the
warehouse, and give the same result when repeated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from warehouse.cohorts.guard import check, locked_catalog
from warehouse.errors import AlgorithmError, QueryFailed, UnknownTable, UnsafeCohort

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from warehouse.components.interfaces import Interface
    from warehouse.components.sockets import Socket


def require_matching(
    root: Path, matching: Mapping[str, str], interfaces: Sequence[Interface],
    sockets: Mapping[str, Socket],
) -> None:  # fmt: skip
    """Check the conditions of an algorithm.

    Raises
    ------
    AlgorithmError
        A socket is not an image or not an input of every interface, or a condition is invalid.
    """
    if not matching:
        return
    for slug in matching:
        if slug not in sockets or not sockets[slug].of_kind.is_image:
            raise AlgorithmError(f"a series cannot go into {slug!r}: it is not an image socket")
    for interface in interfaces:
        images = {slug for slug in interface.inputs if sockets[slug].of_kind.is_image}
        if missing := sorted(set(matching) - images):
            raise AlgorithmError(
                f"every interface must take all matched series: {interface} does not take "
                f"{', '.join(missing)}"
            )
    series_by_slug(root, None, matching, [])


def series_by_slug(
    root: Path, version: int | None, matching: Mapping[str, str], keys: Sequence[str]
) -> dict[str, list[str]]:
    """Return the series among ``keys`` that match the condition of each socket.

    Raises
    ------
    AlgorithmError
        A condition is not valid SQL on ``series``, has parameters, or is not repeatable.
    """
    catalog = locked_catalog(root, version)
    matches = {}
    for slug, condition in matching.items():
        try:
            query = check(catalog, f"select series_key from series where ({condition})")
            if query.parameters:
                raise AlgorithmError(f"the condition of {slug!r} cannot have parameters")
            rows = catalog.connection.execute(
                f"select series_key from ({query.sql}) where series_key in (select unnest($1)) "
                "order by all", [list(keys)],
            ).fetchall()  # fmt: skip
        except UnsafeCohort as error:
            raise AlgorithmError(f"the condition of {slug!r} is refused: {error}") from None
        except (duckdb.Error, QueryFailed, UnknownTable):
            raise AlgorithmError(
                f"the condition of {slug!r} is not valid SQL on the view series; write it like "
                "Modality = 'CT'"
            ) from None
        matches[slug] = [row[0] for row in rows]
    return matches
