"""Short forms of tests that are repeated: some cases always, the others with ``make soak``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def some(cases: Iterable[Any], always: Iterable[Any]) -> list[Any]:
    """Return the cases for ``parametrize``; those that are not in ``always`` belong to the soak."""
    chosen = list(always)
    return [
        case
        if case in chosen
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.soak)
        for case in cases
    ]
