"""Make cases (inputs of jobs) from series, or from items of a set.

In: an algorithm, and series or a set. Out: ``Case``s, and the reason for each series or item that
is not a case. An item of a set is a case if its sockets are exactly the inputs of an interface. A
series is a case if values about the series, its study or its patient are stored for all inputs of
an interface, except for at most one image socket, which takes the series.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from warehouse.algorithms import jobs
from warehouse.algorithms.jobs import Case, Input, Spec, id_of, spec_of
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
    """Cases found, and reasons for the series or items that are not cases."""

    cases: list[Case] = field(default_factory=list)
    unmatched: dict[str, str] = field(default_factory=dict)
    """Series, study or item → why it is not a case."""


def cases_of_series(
    catalog: Catalog, root: Path, algorithm: Algorithm, keys: Sequence[str]
) -> Found:
    """Return a case for each series that an interface takes, in the order of series keys."""
    series_keys = sorted(set(keys))
    interfaces = interfaces_of(root, algorithm, catalog.snapshot)
    sockets = known_sockets(root, catalog.snapshot)
    states = series_states(catalog, series_keys)
    needing_values = [interface for interface in interfaces if _needs_values(interface, sockets)]
    values = newest_values(catalog, series_keys, needing_values)
    found = Found()
    for series in series_keys:
        if series not in states:
            found.unmatched[series] = "the series is not in the warehouse"
            continue
        case = _case(interfaces, sockets, series, states[series], values[series])
        if case is None:
            found.unmatched[series] = "no interface takes the series with the stored values: " + (
                ", ".join(sorted(values[series])) or "none"
            )
        else:
            found.cases.append(case)
    found.cases[:] = with_states(catalog, found.cases)
    return found


def series_states(catalog: Catalog, keys: Sequence[str]) -> dict[str, str]:
    """Return series key → digest of its files, for the series that are in the warehouse."""
    rows = catalog.connection.execute(statement("case_series", "components"), [list(keys)])
    return dict(rows.fetchall())


def with_states(catalog: Catalog, cases: Sequence[Case]) -> list[Case]:
    """Return cases whose inputs that are DICOM image sets have the states of their series.

    Such a value names a series, so that its id stays the same when the series changes.
    """
    value_ids = {i.value_id for case in cases for i in case.inputs if i.value_id}
    if not value_ids:
        return list(cases)
    rows = catalog.connection.execute(
        statement("series_of_values", "components"), [sorted(value_ids)]
    )
    series_of_value: dict[str | None, str] = dict(rows.fetchall())
    if not series_of_value:
        return list(cases)
    states = series_states(catalog, sorted(set(series_of_value.values())))

    def with_state(given: Input) -> Input:
        series = series_of_value.get(given.value_id)
        return given if series is None else replace(given, state=states.get(series, ""))

    return [replace(case, inputs=tuple(map(with_state, case.inputs))) for case in cases]


def newest_values(
    catalog: Catalog, keys: Sequence[str], interfaces: Sequence[Interface]
) -> dict[str, dict[str, str]]:
    """Return by series: socket → id of the newest value about it, else its study, else its patient.

    Values are not queried, and the result is empty, if there are no ``interfaces``.
    """
    values: dict[str, dict[str, str]] = defaultdict(dict)
    if keys and interfaces:
        rows = catalog.connection.execute(statement("case_values", "components"), [list(keys)])
        for series, slug, value_id in rows.fetchall():
            values[series][slug] = value_id
    return values


def _needs_values(interface: Interface, sockets: Mapping[str, Socket]) -> bool:
    """Return whether an interface has inputs besides one image."""
    return len(interface.inputs) > 1 or not any(
        sockets[slug].of_kind.is_image for slug in interface.inputs
    )


def _case(
    interfaces: Sequence[Interface], sockets: Mapping[str, Socket], series: str, state: str,
    values: Mapping[str, str],
) -> Case | None:  # fmt: skip
    """Return the case of a series for the first interface that takes it, or None."""
    for interface in interfaces:
        missing = sorted(interface.inputs - set(values))
        if len(missing) > 1 or any(not sockets[slug].of_kind.is_image for slug in missing):
            continue
        inputs = [Input(slug, series_key=series, state=state) for slug in missing]
        inputs += [Input(slug, values[slug]) for slug in interface.inputs & set(values)]
        return Case(interface.interface_id, tuple(inputs), series)
    return None


def cases_of_set(catalog: Catalog, root: Path, algorithm: Algorithm, set_name: str) -> Found:
    """Return the cases among the items of a set.

    Raises
    ------
    ComponentError
        The set does not exist or is empty.
    """
    items: dict[str, dict[str, Input]] = defaultdict(dict)
    series: dict[str, set[str]] = defaultdict(set)
    for row in set_rows(root, set_name):
        items[row["item"]][row["slug"]] = Input(row["slug"], row["value_id"])
        if row["series_key"]:
            series[row["item"]].add(row["series_key"])
    if not items:
        raise ComponentError(f"set {set_name!r} does not exist or is empty")
    interfaces = interfaces_of(root, algorithm)
    found = Found()
    for item, inputs in items.items():
        try:
            interface = chosen(interfaces, inputs)
        except ComponentError as error:
            found.unmatched[item] = str(error)
            continue
        series_uid = min(series[item]) if len(series[item]) == 1 else None
        case = Case(
            interface.interface_id, tuple(inputs.values()), series_uid, f"{set_name}/{item}"
        )
        found.cases.append(case)
    found.cases[:] = with_states(catalog, found.cases)
    return found


def specs_of(
    root: Path, algorithm: Algorithm, found: Found, *, by: str = "", asked_for: str | None = None
) -> list[Spec]:
    """Return the specifications of the jobs of cases, with another id for each case.

    Equal values of two patients, or of two items of sets, are stored once. A job that has such
    values only as its inputs is about the case that came first; for another case the id is another,
    as it would have no outputs otherwise.
    """
    specs = [spec_of(algorithm, case, by=by, asked_for=asked_for) for case in found.cases]
    shareable = {
        spec.job_id
        for spec in specs
        if spec.item is not None or spec.series_key not in {None, *spec.input_series}
    }
    if not shareable:
        return specs
    first = jobs.specs(root, shareable)
    distinct = []
    for spec in specs:
        owner = first.setdefault(spec.job_id, spec)
        is_same = owner.series_key == spec.series_key and spec.item in {None, owner.item}
        identity = json.dumps([spec.job_id, spec.series_key, spec.item])
        distinct.append(spec if is_same else replace(spec, job_id=id_of(identity)))
    return distinct


def require_complete(
    interface: Interface, sockets: Mapping[str, Socket], provided: Mapping[str, bool]
) -> None:
    """Check that the provided sockets are exactly the inputs of an interface.

    Parameters
    ----------
    interface
        The interface.
    sockets
        Sockets by slug.
    provided
        Socket → whether it has a value. A nullable socket needs no value, but must be a key.

    Raises
    ------
    ComponentError
        Lists the missing and the unexpected sockets.
    """
    missing = [
        slug for slug in sorted(interface.inputs)
        if slug not in provided or (not provided[slug] and sockets[slug].needs_value)
    ]  # fmt: skip
    extra = sorted(set(provided) - interface.inputs)
    if missing or extra:
        reasons = [f"missing: {', '.join(missing)}"] * bool(missing)
        reasons += [f"unexpected: {', '.join(extra)}"] * bool(extra)
        raise ComponentError(f"the inputs do not match the interface; {'; '.join(reasons)}")
