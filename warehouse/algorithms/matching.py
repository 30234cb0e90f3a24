"""Conditions by which series of a study go into the sockets of an algorithm.

In: a condition in SQL for each socket, as whoever makes the algorithm writes it. Out: the series of
which it is true. It passes the walls that cohorts have: it reads the warehouse alone, and answers
the same when it is asked again.
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
        A socket is no image or no input of an interface, or a condition is no SQL over series.
    """
    if not matching:
        return
    for slug in matching:
        if slug not in sockets or not sockets[slug].of_kind.is_image:
            raise AlgorithmError(f"a series cannot go into {slug!r}, which is no socket of images")
    for interface in interfaces:
        images = {slug for slug in interface.inputs if sockets[slug].of_kind.is_image}
        if missing := sorted(set(matching) - images):
            raise AlgorithmError(
                f"every interface has to take the series that are matched: {interface} does not "
                f"take {', '.join(missing)}"
            )
    series_by_slug(root, None, matching, [])


def series_by_slug(
    root: Path, version: int | None, matching: Mapping[str, str], keys: Sequence[str]
) -> dict[str, list[str]]:
    """Return the series among ``keys`` of which each condition is true, by socket.

    Raises
    ------
    AlgorithmError
        A condition is no SQL over ``series``, or not one that answers the same again.
    """
    catalog = locked_catalog(root, version)
    found = {}
    for slug, condition in matching.items():
        try:
            asked = check(catalog, f"select series_key from series where ({condition})")
            if asked.parameters:
                raise AlgorithmError(f"the condition of {slug!r} cannot have parameters")
            rows = catalog.connection.execute(
                f"select series_key from ({asked.sql}) where series_key in (select unnest($1)) "
                "order by all", [list(keys)],
            ).fetchall()  # fmt: skip
        except UnsafeCohort as error:
            raise AlgorithmError(f"the condition of {slug!r} is refused: {error}") from None
        except (duckdb.Error, QueryFailed, UnknownTable):
            raise AlgorithmError(
                f"the condition of {slug!r} is no SQL over the view series, such as Modality = 'CT'"
            ) from None
        found[slug] = [row[0] for row in rows]
    return found
