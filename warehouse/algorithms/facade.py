"""``Warehouse.algorithms``: methods that call the functions of this package."""

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


_Result = TypeVar("_Result")


@checks_arguments
class Algorithms:
    """Algorithms of one warehouse, their images and models, and their jobs.

    The results are in the views ``algorithms``, ``artifacts``, ``jobs``, ``job_times``,
    ``job_inputs``, ``job_outputs`` and ``job_metrics``, and by case in the macro
    ``outputs('name')``.
    """

    def __init__(self, place: Location) -> None:
        self._place, self._root = place, place.root

    def _change(self, action: Callable[[], _Result]) -> _Result:
        return self._place.change(lambda _: action(), what="algorithms", materialize=False)

    def add_image(
        self, file: str | os.PathLike[str], *, parent: str, by: str = ""
    ) -> artifacts.Artifact:
        """Import an image (``.tar``, ``.tar.gz``, ``.tar.xz``) of an algorithm."""
        return self._change(
            lambda: artifacts.add_artifact(self._root, file, "image", parent, by=by)
        )

    def add_model(
        self, file: str | os.PathLike[str], *, parent: str, by: str = ""
    ) -> artifacts.Artifact:
        """Import weights (``.tar.gz``) of an algorithm."""
        return self._change(
            lambda: artifacts.add_artifact(self._root, file, "model", parent, by=by)
        )

    def add_ground_truth(
        self, file: str | os.PathLike[str], *, parent: str, by: str = ""
    ) -> artifacts.Artifact:
        """Import the ground truth (``.tar.gz``) of a method of evaluation."""
        add = artifacts.add_artifact
        return self._change(lambda: add(self._root, file, "ground truth", parent, by=by))

    def mark_desired(self, artifact_id: str, *, by: str = "") -> artifacts.Artifact:
        """Select the image or model that new versions of its algorithm use."""
        return self._change(lambda: artifacts.mark_desired(self._root, artifact_id, by=by))

    def remove_artifact(self, artifact_id: str, *, by: str = "") -> artifacts.Artifact:
        """Delete the file of an image or model; its row stays."""
        return self._change(lambda: artifacts.remove_artifact(self._root, artifact_id, by=by))

    def create(
        self, name: str, *interfaces: str, image: str | None = None, model: str | None = None,
        **given: Any,
    ) -> Algorithm:  # fmt: skip
        """Create an algorithm, or its next version; see ``registry.create_algorithm``.

        ``image`` and ``model`` are ids of artifacts, or prefixes of them. Without an image, a
        function and ``api_method``, the desired artifacts of an algorithm of this name are used.
        """
        root, options = self._root, options_of("create()", registry.create_algorithm, given)
        image_artifact = artifacts.find_artifact(root, image) if image else None
        model_artifact = artifacts.find_artifact(root, model) if model else None
        if not (image_artifact or options.get("function") or options.get("api_method")):
            image_artifact = artifacts.desired(root, "image", name)
            kind = "ground truth" if options.get("kind") == "evaluation" else "model"
            model_artifact = model_artifact or artifacts.desired(root, kind, name)
        for artifact in filter(None, (image_artifact, model_artifact)):
            if not artifact.is_executable:
                raise AlgorithmError(
                    f"the {artifact.kind} {artifact.artifact_id} cannot be executed"
                )
        if image_artifact:
            options |= {
                "image_id": image_artifact.artifact_id,
                "api_method": image_artifact.api_method,
            }
        if model_artifact:
            options["model_id"] = model_artifact.artifact_id
        return self._change(
            lambda: registry.create_algorithm(root, name, list(interfaces), **options)
        )

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
            A run of a cohort, the name of a run or a cohort, or series keys; None for all series.
        of_set
            Name of a set of values, used instead of a cohort; each item is a case.
        workers, runner, scheduler
            See ``task_pools.pool_of``.
        again
            Retry jobs that failed or were cancelled.
        seconds
            Time limit of each job in seconds, if it is shorter than that of the algorithm.
        by
            User who requests the jobs.
        progress
            Called after every commit.

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
            found, asked_for = cases.cases_of_set(catalog, self._root, algorithm, of_set), of_set
        else:
            keys, asked_for = self._series_keys(catalog, cohort)
            found = self._cases_of(catalog, algorithm, keys)
        return self._change(
            lambda: runs.run_cases(
                catalog, self._root, algorithm, found, open_pool, asked_for=asked_for, by=by,
                again=again, seconds=seconds, progress=progress,
            )
        )  # fmt: skip

    def queue(self, name: str, cohort: str | Run | Iterable[str]) -> runs.Queued:
        """Create the jobs of an algorithm for a cohort; a later run executes them."""
        catalog = open_catalog(self._root)
        algorithm = registry.find_algorithm(self._root, name, catalog.snapshot)
        keys, asked_for = self._series_keys(catalog, cohort)
        found = self._cases_of(catalog, algorithm, keys)
        return self._change(
            lambda: runs.queue_cases(self._root, algorithm, found, asked_for=asked_for)
        )

    def _cases_of(self, catalog: Catalog, algorithm: Algorithm, keys: Sequence[str]) -> cases.Found:
        """Return the cases of series, or of their studies if the algorithm has conditions."""
        find_cases = studies.cases_of_studies if algorithm.matching else cases.cases_of_series
        return find_cases(catalog, self._root, algorithm, keys)

    def shape_counts(self, name: str, run: str) -> dict[str, int]:
        """Return the number of annotation shapes in the outputs of a run or set, by socket."""
        query = statement("shapes_of_run", "components")
        return dict(open_catalog(self._root).connection.execute(query, [name, run]).fetchall())

    def _series_keys(
        self, catalog: Catalog, cohort: str | Run | Iterable[str] | None
    ) -> tuple[Sequence[str], str | None]:
        """Return the series of a cohort and the name of its run, if it has one."""
        execute = catalog.connection.execute
        if cohort is None:
            return [row[0] for row in execute("select series_key from series").fetchall()], None
        if not isinstance(cohort, str | Run):
            return list(cohort), None
        run = find_run(self._root, cohort)
        query = "select distinct series_key from read_parquet($1) where series_key is not null"
        rows = execute(query, [str(members_file(self._root, run))]).fetchall()
        return [row[0] for row in rows], run.run

    def submit(
        self, name: str, values: Mapping[str, str | None], *,
        series: Mapping[str, str] | None = None, by: str = "",
    ) -> Spec:  # fmt: skip
        """Create one job from values (socket → id) and series; the next run executes it."""
        algorithm = self.find(name)
        return self._change(
            lambda: submitting.submit(self._root, algorithm, values, series=series, by=by)
        )

    def run_waiting(self, name: str, **options: Any) -> Report:
        """Execute all waiting jobs of an algorithm; see ``run``."""
        catalog = open_catalog(self._root)
        algorithm = registry.find_algorithm(self._root, name, catalog.snapshot)
        pool_options = {key: options.pop(key, None) for key in ("runner", "workers", "scheduler")}
        open_pool = task_pools.pool_of(self._root, algorithm, **pool_options)
        run_options = options_of("run_waiting()", runs.run_waiting, options)
        return self._change(
            lambda: runs.run_waiting(catalog, self._root, algorithm, open_pool, **run_options)
        )

    def evaluate(
        self, method: str, name: str, *, truth: str | None = None, runner: str | None = None,
        by: str = "",
    ) -> Report:  # fmt: skip
        """Compare outputs of an algorithm with reference values; see ``evaluation.prepare``.

        Raises
        ------
        AlgorithmError
            A job of the algorithm has failed or not ended, or reference values are missing.
        """
        evaluator, algorithm = self.find(method), self.find(name)
        prepared = self._change(
            lambda: evaluation.prepare(self._root, evaluator, algorithm, truth=truth)
        )
        if prepared.case is None:
            raise AlgorithmError(str(prepared.why_not))
        open_pool = task_pools.pool_of(
            self._root, evaluator, runner=runner, workers=0 if evaluator.function else 1
        )
        catalog, found = open_catalog(self._root), cases.Found([prepared.case])
        return self._change(
            lambda: runs.run_cases(
                catalog, self._root, evaluator, found, open_pool, asked_for=truth, by=by
            )
        )

    def claim(
        self, job_id: str, *, folder: str | os.PathLike[str] | None = None, by: str = ""
    ) -> Spec:
        """Claim a job to execute it elsewhere; see ``submitting.claim``, ``outside.claim_to``."""
        if folder is not None:
            return self._change(lambda: outside.claim_to(self._root, job_id, Path(folder), by=by))
        return self._change(lambda: submitting.claim(self._root, job_id, by=by))

    def report_from(
        self, folder: str | os.PathLike[str], *, return_code: int = 0, error: str = ""
    ) -> None:
        """Report a job that was claimed to a folder; see ``outside.report_from``."""
        self._change(
            lambda: outside.report_from(
                self._root, Path(folder), return_code=return_code, error=error
            )
        )

    def report_failed(self, job_id: str, why: str, *, by: str = "") -> None:
        """Report the failure of a claimed job; see ``outside.report_failed``."""
        self._change(lambda: outside.report_failed(self._root, job_id, why, by=by))

    def report(
        self, job_id: str, body: bytes, signature: str, outputs: str | os.PathLike[str]
    ) -> None:
        """Upload the outputs of a claimed job; see ``submitting.report``."""
        self._change(lambda: submitting.report(self._root, job_id, body, signature, Path(outputs)))

    def job(self, job_id: str) -> Spec:
        """Return the specification of a job, by its id or a prefix of it."""
        return jobs.find_job(self._root, job_id)

    def cancel(self, job_id: str, *, by: str = "") -> None:
        """Cancel a job that has not ended; a running job is stopped."""
        self._change(lambda: jobs.happen(self._root, job_id, "cancelled", by=by))

    def retry(self, job_id: str, *, by: str = "") -> None:
        """Queue a failed or cancelled job again for the next run."""
        self._change(lambda: jobs.happen(self._root, job_id, "requeued", by=by))
