"""What ``Warehouse`` says about the archive beside its rows: values, and what algorithms found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warehouse.store.damage import failures_named, names_failures
from warehouse.store.duck import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import polars as pl

    from warehouse.algorithms.facade import Algorithms
    from warehouse.algorithms.runs import Report
    from warehouse.catalog.connect import Catalog
    from warehouse.cohorts.runs import Run
    from warehouse.components.facade import Components
    from warehouse.components.sockets import Socket
    from warehouse.components.values import Added


class Annotated:
    """The part of ``Warehouse`` that is about components and algorithms."""

    root: Path
    if TYPE_CHECKING:

        @property
        def catalog(self) -> Catalog:
            """Open catalog."""

        def _change(self, action: Any, *, what: str, materialize: bool = True) -> Any: ...

    def _with(self, what: str) -> Callable[[Callable[[], Any]], Any]:
        return lambda action: self._change(lambda _: action(), what=what, materialize=False)

    @property
    def components(self) -> Components:
        """Sockets, values, annotations and sets of values."""
        from warehouse.components.facade import Components

        return Components(self.root, self._with("components"))

    @property
    def sockets(self) -> dict[str, Socket]:
        """The newest version of every socket by slug."""
        return self.components.sockets()

    def add_value(self, slug: str, *value: Any, **given: Any) -> Added:
        """Add a value to a socket; see ``Components.add_value``."""
        return self.components.add_value(slug, *value, **given)

    @property
    def algorithms(self) -> Algorithms:
        """Algorithms, their images and models, and their jobs."""
        from warehouse.algorithms.facade import Algorithms

        return Algorithms(self.root, self._with("algorithms"))

    def run_algorithm(
        self, name: str, cohort: str | Run | Iterable[str] | None = None, **options: Any
    ) -> Report:
        """Run an algorithm over a cohort or series; see ``Algorithms.run``."""
        return self.algorithms.run(name, cohort, **options)

    @names_failures
    def outputs(self, algorithm: str) -> pl.LazyFrame:
        """Return what an algorithm found: one row per case, a typed column per output.

        Raises
        ------
        UnknownAlgorithm
        """
        name = self.algorithms.find(algorithm).algorithm
        with failures_named(self.root):
            found: pl.DataFrame = self.catalog.session().sql(f"from outputs({literal(name)})").pl()
        return found.lazy()
