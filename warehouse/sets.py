"""``Warehouse.sets``: new runs by combining, splitting or sampling other runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.cohorts import compare
from warehouse.given import checks_arguments, options_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from warehouse.cohorts.runs import Run
    from warehouse.publishing import Location


@checks_arguments
@dataclass(frozen=True, slots=True)
class Sets:
    """Set operations on the members of runs; each result is stored as a new run."""

    _place: Location

    def combine(self, operation: str, left: Run | str, right: Run | str, name: str) -> Run:
        """Combine the members of two runs; see ``warehouse.cohorts.compare.combine``.

        Parameters
        ----------
        operation
            ``union``, ``intersect`` or ``minus``.
        left, right
            Names of runs, or of cohorts for their latest run.
        name
            Name of the new run.
        """
        root = self._place.root
        return self._place.keep(
            lambda: compare.combine(root, operation, left, right, name), f"cohort {operation}"
        )

    def split(
        self, run: Run | str, fractions: Mapping[str, float] | None = None, seed: int = 0
    ) -> list[Run]:
        """Split a run by patient into named parts; see ``warehouse.cohorts.compare.split``."""
        return self._place.keep(
            lambda: compare.split(self._place.root, run, fractions, seed), "cohort split"
        )

    def sample(self, run: Run | str, *, as_name: str, **options: Any) -> Run:
        """Draw series of a run; see ``warehouse.cohorts.compare.sample``."""
        root = self._place.root
        how = options_of("sample()", compare.sample, options)
        return self._place.keep(
            lambda: compare.sample(root, run, as_name=as_name, **how), "cohort sample"
        )
