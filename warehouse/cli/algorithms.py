"""``image``, ``model``, ``algorithm``, ``run`` and ``evaluate``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from warehouse.cli.answers import Format, list_rows
from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Force, Output, Root, Text, opened
from warehouse.cli.document import send_document
from warehouse.cli.screen import console, printed
from warehouse.counted import counted
from warehouse.errors import UsageError

if TYPE_CHECKING:
    from warehouse.algorithms.artifacts import Artifact
    from warehouse.algorithms.runs import Progress, Report

image = App(
    name="image",
    help="Container images of algorithms, imported from archives of `docker save`.\n\n"
    "Example: `dicom-warehouse image add lung.tar.gz --algorithm lung`",
)

model = App(
    name="model",
    help="Weights of algorithms, imported from archives.\n\n"
    "Example: `dicom-warehouse model add weights.tar.gz --algorithm lung`",
)

algorithm = App(
    name="algorithm",
    help="Algorithms: a container image or a Python function, with inputs and outputs.\n\n"
    "Example: `dicom-warehouse algorithm list`",
)

By = Annotated[Text, Parameter(help="Name to record as the author.")]
Of = Annotated[Text, Parameter(name="--algorithm", help="Algorithm that it belongs to.")]
Runner = Annotated[
    Literal["python", "podman", "docker", "bwrap"] | None,
    Parameter(
        help="What runs jobs; by default python for a function, else the first engine found."
    ),
]


@image.command(name="add")
def add_image(
    file: Path, /, *, algorithm: Of, by: By = "", warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Import a container image from an archive, such as `docker save NAME:TAG | gzip` writes.

    The archive must contain one image for amd64 whose user is not root.

    Example: `dicom-warehouse image add lung.tar.gz --algorithm lung`
    """
    added = opened(warehouse).algorithms.add_image(file, parent=algorithm, by=by)
    return _print_artifact(added, f"image {added.artifact_id}: {added.api_method}", as_json=as_json)


@model.command(name="add")
def add_model(
    file: Path,
    /,
    *,
    algorithm: Of,
    ground_truth: Annotated[
        bool, Parameter(negative="", help="Import the ground truth of an evaluation method.")
    ] = False,
    by: By = "",
    warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:
    """Import weights from a `.tar.gz`; an algorithm finds them in `/opt/ml/model`.

    An evaluation method finds its ground truth in `/opt/ml/input/data/ground_truth`.

    Example: `dicom-warehouse model add weights.tar.gz --algorithm lung`
    """
    algorithms = opened(warehouse).algorithms
    add = algorithms.add_ground_truth if ground_truth else algorithms.add_model
    added = add(file, parent=algorithm, by=by)
    return _print_artifact(added, f"{added.kind} {added.artifact_id}", as_json=as_json)


@image.command(name="list")
def list_images(
    *, warehouse: Root = DEFAULT_WAREHOUSE, form: Format = None, output: Output = None,
    force: Force = False,
) -> int:  # fmt: skip
    """List images and models, and whether their import succeeded.

    Example: `dicom-warehouse image list`
    """
    return list_rows(
        opened(warehouse),
        "select artifact_id, kind, parent, import_label, message, size_in_storage, "
        "is_desired_version, is_removed, added_at from artifacts order by added_at",
        form, output, force=force,
    )  # fmt: skip


@image.command(name="desire")
def desire_image(
    artifact_id: Text, /, *, by: By = "", warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Select the image or model that new versions of its algorithm use.

    Example: `dicom-warehouse image desire 0a1b2c`
    """
    desired = opened(warehouse).algorithms.mark_desired(artifact_id, by=by)
    text = f"{desired.artifact_id} is the desired {desired.kind} of {desired.parent}"
    return _print_artifact(desired, text, as_json=as_json)


@image.command(name="remove")
def remove_image(
    artifact_id: Text, /, *, by: By = "", warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Delete the file of an image or model that is not in use; its row stays.

    The macro artifact_housekeeping() lists the files that can be deleted.

    Example: `dicom-warehouse image remove 0a1b2c`
    """
    removed = opened(warehouse).algorithms.remove_artifact(artifact_id, by=by)
    text = f"deleted the file of {removed.kind} {removed.artifact_id}"
    return _print_artifact(removed, text, as_json=as_json)


def _print_artifact(artifact: Artifact, text: str, *, as_json: bool) -> int:
    if as_json:
        names = ("artifact_id", "kind", "parent", "api_method", "is_marked", "is_removed")
        send_document({name: getattr(artifact, name) for name in names})
    else:
        console().print(text, highlight=False)
    return 0


@algorithm.command(name="create")
def create_algorithm(
    name: Text,
    /,
    *,
    interface: Annotated[
        list[Text],
        Parameter(help="Inputs -> outputs, as 'ct, age -> nodules, volume'; repeatable."),
    ],
    match: Annotated[
        list[Text] | None,
        Parameter(
            negative="",
            help="For jobs of several series of a study: the condition in SQL that one series of "
            "the study meets, as \"ct: Modality = 'CT'\"; repeatable. Outputs are about the first.",
        ),
    ] = None,
    image: Annotated[
        Text | None, Parameter(help="Id of the image; by default the desired one.")
    ] = None,
    model: Annotated[Text | None, Parameter(help="Id of the weights.")] = None,
    function: Annotated[
        Text | None, Parameter(help="Instead of an image: module:name or file.py:name.")
    ] = None,
    external: Annotated[
        bool, Parameter(negative="", help="Its jobs are executed elsewhere: see job claim.")
    ] = False,
    evaluation: Annotated[
        bool, Parameter(negative="", help="Create an evaluation method.")
    ] = False,
    description: Text = "",
    time_limit: Annotated[int, Parameter(help="Seconds a job may take: 300 to 86400.")] = 3600,
    gpu: Annotated[Text, Parameter(help="Required type of GPU; see the view hardware.")] = "",
    memory: Annotated[int, Parameter(help="Required memory in GiB: 4 to 32.")] = 8,
    by: By = "",
    warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:
    """Create an algorithm, or its next version if anything differs.

    Example: `dicom-warehouse algorithm create lung --interface "ct -> lungs"`

    A function has no image: --function mean.py:run.
    """
    pairs = [each.partition(":") for each in match or []]
    if any(not condition.strip() for _, _, condition in pairs):
        raise UsageError("a condition is written as 'socket: SQL', such as \"ct: Modality = 'CT'\"")
    if len({slug.strip() for slug, _, _ in pairs}) != len(pairs):
        raise UsageError("each socket has one condition; join several with 'and'")
    created = opened(warehouse).algorithms.create(
        name, *interface, image=image, model=model, function=function,
        matching={slug.strip(): condition.strip() for slug, _, condition in pairs},
        api_method="external" if external else None,
        kind="evaluation" if evaluation else "algorithm", description=description,
        time_limit_s=time_limit, requires_gpu_type=gpu, requires_memory_gb=memory, by=by,
    )  # fmt: skip
    if as_json:
        names = ("algorithm", "version", "kind", "api_method")
        send_document({name: getattr(created, name) for name in names})
        return 0
    text = f"algorithm {created.algorithm}: version {created.version}, {created.api_method}"
    console().print(text, highlight=False)
    return 0


@algorithm.command(name="list")
def list_algorithms(
    *, warehouse: Root = DEFAULT_WAREHOUSE, form: Format = None, output: Output = None,
    force: Force = False,
) -> int:  # fmt: skip
    """List algorithms with their interfaces.

    Example: `dicom-warehouse algorithm list`
    """
    return list_rows(
        opened(warehouse),
        "select algorithm, version, kind, api_method, interfaces, requires_gpu_type, "
        "requires_memory_gb, time_limit_s from algorithms order by algorithm",
        form, output, force=force,
    )  # fmt: skip


def run(
    algorithm: Text,
    cohort: Text | None = None,
    /,
    *,
    series: Annotated[
        list[Text] | None, Parameter(negative="", help="A series, instead of a cohort; repeatable.")
    ] = None,
    of_set: Annotated[
        Text | None, Parameter(name="--set", help="Items of a set, instead of a cohort.")
    ] = None,
    all_series: Annotated[
        bool, Parameter(name="--all", negative="", help="Every series, instead of a cohort.")
    ] = False,
    waiting: Annotated[
        bool, Parameter(negative="", help="Submitted jobs that wait, instead of a cohort.")
    ] = False,
    jobs: Annotated[
        int | None,
        Parameter(help="Jobs at a time; by default one container, or a function per core."),
    ] = None,
    runner: Runner = None,
    scheduler: Annotated[
        Text | None, Parameter(help="Run with the workers of the Dask scheduler at this address.")
    ] = None,
    again: Annotated[
        bool, Parameter(negative="", help="Run failed and cancelled jobs again.")
    ] = False,
    seconds: Annotated[float | None, Parameter(help="Stop each job after this time.")] = None,
    by: By = "",
    strict: Annotated[bool, Parameter(negative="", help="Exit with 1 if a job failed.")] = False,
    as_json: AsJson = False,
    warehouse: Root = DEFAULT_WAREHOUSE,
) -> int:
    """Run an algorithm over a cohort: a job for each case, outputs become rows.

    Completed jobs are not repeated, so a stopped run continues. Query the outputs with
    `dicom-warehouse sql "from outputs('lung')"`.

    Example: `dicom-warehouse run lung ct_thin_slice --jobs 2`

    Parameters
    ----------
    algorithm
        Name of the algorithm; see `dicom-warehouse algorithm list`.
    cohort
        A cohort that was run, or one of its runs.
    """
    chosen = [cohort is not None, bool(series), of_set is not None, all_series, waiting]
    if sum(chosen) != 1:
        raise UsageError("name a cohort, or use one of --series, --set, --all and --waiting")
    algorithms = opened(warehouse).algorithms
    line = ProgressLine(enabled=not as_json)
    options: dict[str, Any] = {
        "workers": jobs,
        "runner": runner,
        "scheduler": scheduler,
        "seconds": seconds,
        "by": by,
    }
    if waiting:
        report = algorithms.run_waiting(algorithm, progress=line, **options)
    else:
        report = algorithms.run(
            algorithm, series or cohort, of_set=of_set, again=again, progress=line, **options
        )
    line.end()
    _print(report, as_json=as_json)
    return 1 if strict and report.failed else 0


class ProgressLine:
    """The progress of a run, as one line on a terminal."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled and sys.stderr.isatty()

    def __call__(self, progress: Progress) -> None:
        """Overwrite the line."""
        if self._enabled:
            left = "" if progress.seconds_left is None else f", {progress.seconds_left:,.0f} s left"
            text = f"{progress.done:,} of {progress.total:,} jobs, {progress.failed:,} failed{left}"
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    def end(self) -> None:
        """Erase the line."""
        if self._enabled:
            sys.stderr.write("\r\x1b[K")


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        send_document(asdict(report))
        return
    screen = console()
    kinds = ("succeeded", "failed", "cancelled")
    counts = [f"{getattr(report, kind):,} {kind}" for kind in kinds if getattr(report, kind)]
    if report.done_before:
        counts.append(f"{report.done_before:,} done before")
    text = f"{counted(report.cases, 'case')}: {', '.join(counts) or 'nothing to do'}"
    screen.print(f"{text}  ({report.seconds:.1f} s)", highlight=False)
    if report.unmatched:
        first = next(iter(report.unmatched.items()))
        members = counted(len(report.unmatched), "member")
        line = f"  {members} without a matching interface: {first[1]}"
        screen.print(printed(line), highlight=False, markup=False, soft_wrap=True)
    for job_id, why in list(report.failures.items())[:5]:
        line = f"  job {job_id[:8]}: {why}"
        screen.print(printed(line), highlight=False, markup=False, soft_wrap=True)


def evaluate(
    method: Text,
    algorithm: Text,
    /,
    *,
    truth: Annotated[
        Text | None,
        Parameter(
            help="Author of reference values in the same sockets; by default the method has them."
        ),
    ] = None,
    runner: Runner = None,
    as_json: AsJson = False,
    by: By = "",
    warehouse: Root = DEFAULT_WAREHOUSE,
) -> int:
    """Compare the outputs of an algorithm with reference annotations; store the metrics as a value.

    Example: `dicom-warehouse evaluate overlap lung --truth "reader 1"`

    Parameters
    ----------
    method
        An algorithm that was created with `--evaluation`.
    algorithm
        The algorithm whose outputs are evaluated.
    """
    report = opened(warehouse).algorithms.evaluate(
        method, algorithm, truth=truth, runner=runner, by=by
    )
    _print(report, as_json=as_json)
    return 1 if report.failed else 0
