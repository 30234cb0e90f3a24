"""Make cases (inputs of jobs) from members of a cohort, or items of a set.

In: an algorithm, and series or a set. Out: ``Case``s, and why others are none. An item of a set is
a case if its sockets are exactly the inputs of an interface. A series is one if an interface takes
one image that nobody has said anything of, which is the series, and every other input of it is a
value about the series, its study or its patient.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from warehouse.algorithms.jobs import Case, Input
from warehouse.algorithms.registry import Algorithm, interfaces_of
from warehouse.components.interfaces import chosen
from warehouse.components.set_files import set_rows
from warehouse.components.socket_store import known_sockets
from warehouse.errors import ComponentError
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from warehouse.catalog.connect import Catalog
    from warehouse.components.interfaces import Interface
    from warehouse.components.sockets import Socket


@dataclass(frozen=True, slots=True)
class Found:
    """The cases among what was looked at."""

    cases: list[Case] = field(default_factory=list)
    unmatched: dict[str, str] = field(default_factory=dict)
    """Series or item → why no interface takes it."""


def cases_of_series(
    catalog: Catalog, root: Path, algorithm: Algorithm, keys: Sequence[str]
) -> Found:
    """Return the cases of series, in the order of their keys."""
    wanted = sorted(set(keys))
    interfaces = interfaces_of(root, algorithm, catalog.snapshot)
    sockets = known_sockets(root, catalog.snapshot)
    states: dict[str, str] = dict(
        catalog.connection.execute(statement("case_series", "components"), [wanted]).fetchall()
    )
    asking = [interface for interface in interfaces if _needs_values(interface, sockets)]
    values = newest_values(catalog, wanted, asking)
    found = Found()
    for series in wanted:
        if series not in states:
            found.unmatched[series] = "the series is not in the warehouse"
            continue
        case = _case(interfaces, sockets, series, states[series], values[series])
        if case is None:
            found.unmatched[series] = "no interface of the algorithm takes the series and " + (
                ", ".join(sorted(values[series])) or "nothing else"
            )
        else:
            found.cases.append(case)
    return found


def newest_values(
    catalog: Catalog, keys: Sequence[str], interfaces: Sequence[Interface]
) -> dict[str, dict[str, str]]:
    """Return socket → newest value about each series, its study or patient; nothing unasked."""
    values: dict[str, dict[str, str]] = defaultdict(dict)
    if keys and interfaces:
        rows = catalog.connection.execute(statement("case_values", "components"), [list(keys)])
        for series, slug, value_id in rows.fetchall():
            values[series][slug] = value_id
    return values


def _needs_values(interface: Interface, sockets: Mapping[str, Socket]) -> bool:
    return len(interface.inputs) > 1 or not any(
        sockets[slug].of_kind.is_image for slug in interface.inputs
    )


def _case(
    interfaces: Sequence[Interface], sockets: Mapping[str, Socket], series: str, state: str,
    values: Mapping[str, str],
) -> Case | None:  # fmt: skip
    for interface in interfaces:
        missing = sorted(interface.inputs - set(values))
        if len(missing) > 1 or any(not sockets[slug].of_kind.is_image for slug in missing):
            continue
        inputs = [Input(slug, series_key=series, state=state) for slug in missing]
        inputs += [Input(slug, values[slug]) for slug in interface.inputs & set(values)]
        return Case(interface.interface_id, tuple(inputs), series)
    return None


def cases_of_set(root: Path, algorithm: Algorithm, set_name: str) -> Found:
    """Return the cases among the items of a set.

    Raises
    ------
    ComponentError
        There is nothing in the set.
    """
    items: dict[str, dict[str, Input]] = defaultdict(dict)
    series: dict[str, set[str]] = defaultdict(set)
    for row in set_rows(root, set_name):
        items[row["item"]][row["slug"]] = Input(row["slug"], row["value_id"])
        if row["series_key"]:
            series[row["item"]].add(row["series_key"])
    if not items:
        raise ComponentError(f"there is nothing in a set {set_name!r}")
    interfaces = interfaces_of(root, algorithm)
    found = Found()
    for item, inputs in items.items():
        try:
            interface = chosen(interfaces, inputs)
        except ComponentError as error:
            found.unmatched[item] = str(error)
            continue
        about = min(series[item]) if len(series[item]) == 1 else None
        case = Case(interface.interface_id, tuple(inputs.values()), about, f"{set_name}/{item}")
        found.cases.append(case)
    return found


def require_complete(
    interface: Interface, sockets: Mapping[str, Socket], provided: Mapping[str, bool]
) -> None:
    """Check that what is provided is exactly what an interface takes.

    Parameters
    ----------
    interface
        The interface.
    sockets
        Sockets by slug.
    provided
        Socket → whether there is a value. One that may be null needs none, but has to be named.

    Raises
    ------
    ComponentError
        With the sockets that are missing and those that are too many.
    """
    missing = [
        slug for slug in sorted(interface.inputs)
        if slug not in provided or (not provided[slug] and sockets[slug].needs_value)
    ]  # fmt: skip
    extra = sorted(set(provided) - interface.inputs)
    if missing or extra:
        reasons = [f"missing: {', '.join(missing)}"] * bool(missing)
        reasons += [f"not taken: {', '.join(extra)}"] * bool(extra)
        raise ComponentError(f"the inputs are not those of the interface; {'; '.join(reasons)}")
