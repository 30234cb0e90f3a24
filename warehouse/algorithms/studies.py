"""Make cases from several series of a study, such as CT and PET.

In: an algorithm with a condition for each socket, and series. Out: ``Case``s, and why other studies
are none. Each condition has to be true of exactly one series of a study: with none or several the
study is no case, since a guess would be a wrong answer that nobody sees.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from warehouse.algorithms.cases import Found, newest_values
from warehouse.algorithms.jobs import Case, Input
from warehouse.algorithms.matching import series_by_slug
from warehouse.algorithms.registry import interfaces_of
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from warehouse.algorithms.registry import Algorithm
    from warehouse.catalog.connect import Catalog


def cases_of_studies(
    catalog: Catalog, root: Path, algorithm: Algorithm, keys: Sequence[str]
) -> Found:
    """Return the cases among the studies of series; other series of a study are not looked at.

    What the outputs of a job are about is the series of the first condition.
    """
    wanted = sorted(set(keys))
    matching = dict(algorithm.matching)
    taken = series_by_slug(root, catalog.snapshot.version, matching, wanted)
    studies: dict[str, str] = dict(
        catalog.connection.execute(
            "select series_key, study_key from series where series_key in (select unnest($1))",
            [wanted],
        ).fetchall()
    )
    states: dict[str, str] = dict(
        catalog.connection.execute(statement("case_series", "components"), [wanted]).fetchall()
    )
    found = Found()
    for series in wanted:
        if series not in states:
            found.unmatched[series] = "the series is not in the warehouse"
    by_study: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for slug, some in taken.items():
        for series in some:
            by_study[studies[series]][slug].append(series)
    first = next(iter(matching))
    whole: dict[str, dict[str, str]] = {}
    for study in sorted({studies[series] for series in states}):
        why = _why_not(by_study[study], matching)
        if why:
            found.unmatched[study] = why
        else:
            whole[study] = {slug: by_study[study][slug][0] for slug in matching}
    interfaces = interfaces_of(root, algorithm, catalog.snapshot)
    said = newest_values(catalog, [chosen[first] for chosen in whole.values()], interfaces)
    for study, chosen in whole.items():
        values = said[chosen[first]]
        fitting = [each for each in interfaces if each.inputs - set(matching) <= set(values)]
        if not fitting:
            found.unmatched[study] = "nobody has said the other inputs of an interface about it"
            continue
        inputs = [Input(slug, series_key=key, state=states[key]) for slug, key in chosen.items()]
        inputs += [Input(slug, values[slug]) for slug in fitting[0].inputs - set(matching)]
        found.cases.append(Case(fitting[0].interface_id, tuple(inputs), chosen[first]))
    return found


def _why_not(found: Mapping[str, Sequence[str]], matching: Mapping[str, str]) -> str | None:
    for slug in matching:
        some = found.get(slug) or ()
        if not some:
            return f"no series of the study is {slug!r}"
        if len(some) > 1:
            return (
                f"{len(some)} series of the study could be {slug!r}; narrow its condition, or "
                "the cohort"
            )
    chosen = [found[slug][0] for slug in matching]
    if len(set(chosen)) != len(chosen):
        return "one series of the study would go into several sockets; narrow their conditions"
    return None
