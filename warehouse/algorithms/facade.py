"""``Warehouse.algorithms``: one-line methods over the functions of this package."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from warehouse.algorithms import (
    artifacts,
    cases,
    evaluation,
    jobs,
    outside,
    registry,
    runs,
    studies,
    submitting,
    task_pools,
)
from warehouse.catalog.connect import open_catalog
from warehouse.cohorts.runs import Run, find_run, members_file
from warehouse.errors import AlgorithmError
from warehouse.given import checks_arguments, options_of
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from warehouse.algorithms.jobs import Spec
    from warehouse.algorithms.registry import Algorithm
    from warehouse.algorithms.runs import Progress, Report
    from warehouse.catalog.connect import Catalog
    from warehouse.publishing import Location


_Answer = TypeVar("_Answer")


@checks_arguments
class Algorithms:
    """Algorithms of one warehouse, their images and models, and their jobs.

    Tables to ask are ``algorithms``, ``artifacts``, ``jobs``, ``job_times``, ``job_inputs``,
    ``job_outputs``, ``job_metrics``; and ``outputs('name')`` for the results by case.
    """

    def __init__(self, place: Location) -> None:
        self._place, self._root = place, place.root

    def _do(self, action: Callable[[], _Answer]) -> _Answer:
        return self._place.change(lambda _: action(), what="algorithms", materialize=False)

    def add_image(
        self, file: str | os.PathLike[str], *, parent: str, by: str = ""
    ) -> artifacts.Artifact:
        """Import an image (``.tar``, ``.tar.gz``, ``.tar.xz``) of an algorithm."""
        return self._do(lambda: artifacts.add_artifact(self._root, file, "image", parent, by=by))

    def add_model(
        self, file: str | os.PathLike[str], *, parent: str, by: str = ""
    ) -> artifacts.Artifact:
        """Import weights (``.tar.gz``) of an algorithm."""
        return self._do(lambda: artifacts.add_artifact(self._root, file, "model", parent, by=by))

    def add_ground_truth(
        self, file: str | os.PathLike[str], *, parent: str, by: str = ""
    ) -> artifacts.Artifact:
        """Import the truth (``.tar.gz``) that an image of a method of evaluation compares with."""
        add = artifacts.add_artifact
        return self._do(lambda: add(self._root, file, "ground truth", parent, by=by))

    def mark_desired(self, artifact_id: str, *, by: str = "") -> artifacts.Artifact:
        """Select the image or model that new versions of its algorithm use."""
        return self._do(lambda: artifacts.mark_desired(self._root, artifact_id, by=by))

    def remove_artifact(self, artifact_id: str, *, by: str = "") -> artifacts.Artifact:
        """Delete the file of an image or model; its row stays."""
        return self._do(lambda: artifacts.remove_artifact(self._root, artifact_id, by=by))

    def create(
        self, name: str, *interfaces: str, image: str | None = None, model: str | None = None,
        **given: Any,
    ) -> Algorithm:  # fmt: skip
        """Create an algorithm, or its next version; see ``registry.create_algorithm``.

        ``image`` and ``model`` are ids of artifacts, or how they begin. Without any, a function
        and ``api_method``, those are taken that are desired of an algorithm of this name.
        """
        root, how = self._root, options_of("create()", registry.create_algorithm, given)
        chosen = artifacts.find_artifact(root, image) if image else None
        weights = artifacts.find_artifact(root, model) if model else None
        if not (chosen or how.get("function") or how.get("api_method")):
            chosen = artifacts.desired(root, "image", name)
            kind = "ground truth" if how.get("kind") == "evaluation" else "model"
            weights = weights or artifacts.desired(root, kind, name)
        for each in filter(None, (chosen, weights)):
            if not each.is_executable:
                raise AlgorithmError(f"the {each.kind} {each.artifact_id} cannot be executed")
        if chosen:
            how |= {"image_id": chosen.artifact_id, "api_method": chosen.api_method}
        if weights:
            how["model_id"] = weights.artifact_id
        return self._do(lambda: registry.create_algorithm(root, name, list(interfaces), **how))

    def known(self) -> dict[str, Algorithm]:
        """Return the newest version of every algorithm by name."""
        return registry.known_algorithms(self._root)

    def find(self, name: str) -> Algorithm:
        """Return an algorithm by name, or ``name@version``."""
        return registry.find_algorithm(self._root, name)

    def run(
        self, name: str, cohort: str | Run | Iterable[str] | None = None, *,
        of_set: str | None = None, workers: int | None = None, runner: str | None = None,
        scheduler: str | None = None, again: bool = False, seconds: float | None = None,
        by: str = "", progress: Callable[[Progress], None] | None = None,
    ) -> Report:  # fmt: skip
        """Run an algorithm over a cohort, series, or the items of a set.

        Parameters
        ----------
        name
            The algorithm.
        cohort
            A run of a cohort, the name of one or of a cohort, or UIDs of series.
        of_set
            Instead: a set of values, each item of which is a case.
        workers, runner, scheduler
            See ``task_pools.pool_of``.
        again
            Try jobs again that failed or were cancelled.
        seconds
            Stop each job after so many seconds.
        by
            Who asks.
        progress
            Told after every commit.

        Raises
        ------
        UnknownAlgorithm, UnknownCohort, RunLocked, AlgorithmError, EngineMissing

        Examples
        --------
        >>> report = wh.algorithms.run("mean-value", [uid])  # doctest: +SKIP
        >>> report.succeeded  # doctest: +SKIP
        1
        """
        catalog = open_catalog(self._root)
        algorithm = registry.find_algorithm(self._root, name, catalog.snapshot)
        open_pool = task_pools.pool_of(
            self._root, algorithm, runner=runner, workers=workers, scheduler=scheduler
        )
        asked_for: str | None
        if of_set is not None:
            found, asked_for = cases.cases_of_set(self._root, algorithm, of_set), of_set
        else:
            keys, asked_for = self._series(catalog, cohort)
            found = self._found(catalog, algorithm, keys)
        return self._do(
            lambda: runs.run_cases(
                catalog, self._root, algorithm, found, open_pool, asked_for=asked_for, by=by,
                again=again, seconds=seconds, progress=progress,
            )
        )  # fmt: skip

    def queue(self, name: str, cohort: str | Run | Iterable[str]) -> runs.Queued:
        """Create the jobs of an algorithm for a cohort, which a later run executes."""
        catalog = open_catalog(self._root)
        algorithm = registry.find_algorithm(self._root, name, catalog.snapshot)
        keys, asked_for = self._series(catalog, cohort)
        found = self._found(catalog, algorithm, keys)
        return self._do(lambda: runs.queue_cases(self._root, algorithm, found, asked_for=asked_for))

    def _found(self, catalog: Catalog, algorithm: Algorithm, keys: Sequence[str]) -> cases.Found:
        look = studies.cases_of_studies if algorithm.matching else cases.cases_of_series
        return look(catalog, self._root, algorithm, keys)

    def shape_counts(self, name: str, run: str) -> dict[str, int]:
        """Return how many shapes of annotations the outputs of a run hold, by socket."""
        query = statement("shapes_of_run", "components")
        return dict(open_catalog(self._root).connection.execute(query, [name, run]).fetchall())

    def _series(
        self, catalog: Catalog, cohort: str | Run | Iterable[str] | None
    ) -> tuple[Sequence[str], str | None]:
        ask = catalog.connection.execute
        if cohort is None:
            return [row[0] for row in ask("select series_key from series").fetchall()], None
        if not isinstance(cohort, str | Run):
            return list(cohort), None
        run = find_run(self._root, cohort)
        query = "select distinct series_key from read_parquet($1) where series_key is not null"
        rows = ask(query, [str(members_file(self._root, run))]).fetchall()
        return [row[0] for row in rows], run.run

    def submit(
        self, name: str, values: Mapping[str, str | None], *,
        series: Mapping[str, str] | None = None, by: str = "",
    ) -> Spec:  # fmt: skip
        """Create one job from values (socket → id) and series, which the next run executes."""
        algorithm = self.find(name)
        return self._do(
            lambda: submitting.submit(self._root, algorithm, values, series=series, by=by)
        )

    def run_waiting(self, name: str, **options: Any) -> Report:
        """Execute all waiting jobs of an algorithm; see ``run``."""
        catalog = open_catalog(self._root)
        algorithm = registry.find_algorithm(self._root, name, catalog.snapshot)
        chosen = {key: options.pop(key, None) for key in ("runner", "workers", "scheduler")}
        open_pool = task_pools.pool_of(self._root, algorithm, **chosen)
        how = options_of("run_waiting()", runs.run_waiting, options)
        return self._do(lambda: runs.run_waiting(catalog, self._root, algorithm, open_pool, **how))

    def evaluate(
        self, method: str, name: str, *, truth: str | None = None, runner: str | None = None,
        by: str = "",
    ) -> Report:  # fmt: skip
        """Compare outputs of an algorithm with reference annotations; see ``evaluation.prepare``.

        Raises
        ------
        AlgorithmError
            A job of the algorithm has failed, or the truth is missing.
        """
        chosen, algorithm = self.find(method), self.find(name)
        made = self._do(lambda: evaluation.prepare(self._root, chosen, algorithm, truth=truth))
        if made.case is None:
            raise AlgorithmError(str(made.why_not))
        open_pool = task_pools.pool_of(
            self._root, chosen, runner=runner, workers=0 if chosen.function else 1
        )
        catalog, found = open_catalog(self._root), cases.Found([made.case])
        return self._do(
            lambda: runs.run_cases(
                catalog, self._root, chosen, found, open_pool, asked_for=truth, by=by
            )
        )

    def claim(
        self, job_id: str, *, folder: str | os.PathLike[str] | None = None, by: str = ""
    ) -> Spec:
        """Claim a job to execute it elsewhere; see ``submitting.claim``, ``outside.claim_to``."""
        if folder is not None:
            return self._do(lambda: outside.claim_to(self._root, job_id, Path(folder), by=by))
        return self._do(lambda: submitting.claim(self._root, job_id, by=by))

    def report_from(
        self, folder: str | os.PathLike[str], *, return_code: int = 0, error: str = ""
    ) -> None:
        """Report a job that was claimed to a folder; see ``outside.report_from``."""
        self._do(
            lambda: outside.report_from(
                self._root, Path(folder), return_code=return_code, error=error
            )
        )

    def report_failed(self, job_id: str, why: str, *, by: str = "") -> None:
        """Report the failure of a claimed job; see ``outside.report_failed``."""
        self._do(lambda: outside.report_failed(self._root, job_id, why, by=by))

    def report(
        self, job_id: str, body: bytes, signature: str, outputs: str | os.PathLike[str]
    ) -> None:
        """Upload the outputs of a claimed job; see ``submitting.report``."""
        self._do(lambda: submitting.report(self._root, job_id, body, signature, Path(outputs)))

    def job(self, job_id: str) -> Spec:
        """Return the specification of a job, by its id or a prefix of it."""
        return jobs.find_job(self._root, job_id)

    def cancel(self, job_id: str, *, by: str = "") -> None:
        """Cancel a job that has not ended; a running one is stopped."""
        self._do(lambda: jobs.happen(self._root, job_id, "cancelled", by=by))

    def retry(self, job_id: str, *, by: str = "") -> None:
        """Queue a failed or cancelled job again for the next run."""
        self._do(lambda: jobs.happen(self._root, job_id, "requeued", by=by))
