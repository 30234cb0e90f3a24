"""Make cases from several series of a study, such as CT and PET.

In: an algorithm with a condition for each socket, and series. Out: ``Case``s, and the reason for
each study that is not a case. Each condition must match exactly one series of a study: with none or
several the study is not a case, as a guess would give wrong results unnoticed.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from warehouse.algorithms.cases import Found, newest_values, series_states, with_states
from warehouse.algorithms.jobs import Case, Input
from warehouse.algorithms.matching import series_by_slug
from warehouse.algorithms.registry import interfaces_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from warehouse.algorithms.registry import Algorithm
    from warehouse.catalog.connect import Catalog


def cases_of_studies(
    catalog: Catalog, root: Path, algorithm: Algorithm, keys: Sequence[str]
) -> Found:
    """Return the cases among the studies of series; only these series are matched.

    The outputs of a job are about the series of the first condition.
    """
    series_keys = sorted(set(keys))
    matching = dict(algorithm.matching)
    matches = series_by_slug(root, catalog.snapshot.version, matching, series_keys)
    studies: dict[str, str] = dict(
        catalog.connection.execute(
            "select series_key, study_key from series where series_key in (select unnest($1))",
            [series_keys],
        ).fetchall()
    )
    states = series_states(catalog, series_keys)
    found = Found()
    for series in series_keys:
        if series not in states:
            found.unmatched[series] = "the series is not in the warehouse"
    by_study: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for slug, slug_series in matches.items():
        for series in slug_series:
            by_study[studies[series]][slug].append(series)
    first_slug = next(iter(matching))
    complete: dict[str, dict[str, str]] = {}
    for study in sorted({studies[series] for series in states}):
        why = _mismatch(by_study[study], matching)
        if why:
            found.unmatched[study] = why
        else:
            complete[study] = {slug: by_study[study][slug][0] for slug in matching}
    interfaces = interfaces_of(root, algorithm, catalog.snapshot)
    values_by_series = newest_values(
        catalog, [chosen[first_slug] for chosen in complete.values()], interfaces
    )
    for study, chosen in complete.items():
        values = values_by_series[chosen[first_slug]]
        possible = [each for each in interfaces if each.inputs - set(matching) <= set(values)]
        if not possible:
            found.unmatched[study] = "values for the other inputs of an interface are missing"
            continue
        inputs = [Input(slug, series_key=key, state=states[key]) for slug, key in chosen.items()]
        inputs += [Input(slug, values[slug]) for slug in possible[0].inputs - set(matching)]
        found.cases.append(Case(possible[0].interface_id, tuple(inputs), chosen[first_slug]))
    found.cases[:] = with_states(catalog, found.cases)
    return found


def _mismatch(by_slug: Mapping[str, Sequence[str]], matching: Mapping[str, str]) -> str | None:
    """Return why a study is not a case, or None if each condition matches one series of it."""
    for slug in matching:
        series = by_slug.get(slug) or ()
        if not series:
            return f"no series of the study matches the condition of {slug!r}"
        if len(series) > 1:
            return (
                f"{len(series)} series of the study match the condition of {slug!r}; narrow it, or "
                "the cohort"
            )
    chosen = [by_slug[slug][0] for slug in matching]
    if len(set(chosen)) != len(chosen):
        return "one series of the study matches several sockets; narrow their conditions"
    return None
