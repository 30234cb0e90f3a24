"""Short forms of tests that are repeated: some cases always, the others with ``make soak``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def some(cases: Iterable[Any], always: Iterable[Any]) -> list[Any]:
    """Return the cases for ``parametrize``; those that are not in ``always`` belong to the soak."""
    chosen = list(always)
    return [
        case
        if case in chosen
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.soak)
        for case in cases
    ]


def few_alike(paths: Iterable[Path], most: int) -> Iterator[Path]:
    """Yield the paths but, of files of one size in one folder, which are slices of a series, few."""
    met: Counter[tuple[Path, int]] = Counter()
    for path in paths:
        met[kind := (path.parent, path.stat().st_size)] += 1
        if met[kind] <= most:
            yield path
