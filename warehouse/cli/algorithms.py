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
    help="Container images of algorithms, from archives as `docker save` writes them.\n\n"
    "Example: `dicom-warehouse image add lung.tar.gz --algorithm lung`",
)

model = App(
    name="model",
    help="Weights of algorithms, from archives.\n\n"
    "Example: `dicom-warehouse model add weights.tar.gz --algorithm lung`",
)

algorithm = App(
    name="algorithm",
    help="Algorithms: a container image or a Python function, with inputs and outputs.\n\n"
    "Example: `dicom-warehouse algorithm list`",
)

By = Annotated[Text, Parameter(help="Who does it.")]
Of = Annotated[Text, Parameter(name="--algorithm", help="Algorithm that it belongs to.")]
Runner = Annotated[
    Literal["python", "podman", "docker", "bwrap"] | None,
    Parameter(help="What runs images; by default the first that is installed."),
]


@image.command(name="add")
def add_image(
    file: Path, /, *, algorithm: Of, by: By = "", warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Import a container image from an archive, such as `docker save NAME:TAG | gzip` writes.

    It has to hold one image, for amd64, whose user is not root.

    Example: `dicom-warehouse image add lung.tar.gz --algorithm lung`
    """
    made = opened(warehouse).algorithms.add_image(file, parent=algorithm, by=by)
    return _print_artifact(made, f"image {made.artifact_id}: {made.api_method}", as_json=as_json)


@model.command(name="add")
def add_model(
    file: Path,
    /,
    *,
    algorithm: Of,
    ground_truth: Annotated[
        bool, Parameter(negative="", help="It is the truth that a method of evaluation knows.")
    ] = False,
    by: By = "",
    warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:
    """Import weights from a `.tar.gz`; an algorithm finds them in `/opt/ml/model`.

    A method of evaluation finds its ground truth in `/opt/ml/input/data/ground_truth`.

    Example: `dicom-warehouse model add weights.tar.gz --algorithm lung`
    """
    algorithms = opened(warehouse).algorithms
    add = algorithms.add_ground_truth if ground_truth else algorithms.add_model
    made = add(file, parent=algorithm, by=by)
    return _print_artifact(made, f"{made.kind} {made.artifact_id}", as_json=as_json)


@image.command(name="list")
def list_images(
    *, warehouse: Root = DEFAULT_WAREHOUSE, form: Format = None, output: Output = None,
    force: Force = False,
) -> int:  # fmt: skip
    """List images and models with how their import ended.

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
    made = opened(warehouse).algorithms.mark_desired(artifact_id, by=by)
    text = f"{made.kind} {made.artifact_id} is desired of {made.parent}"
    return _print_artifact(made, text, as_json=as_json)


@image.command(name="remove")
def remove_image(
    artifact_id: Text, /, *, by: By = "", warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:  # fmt: skip
    """Delete the file of an image or model that is not in use; its row stays.

    What can go is listed by the macro artifact_housekeeping().

    Example: `dicom-warehouse image remove 0a1b2c`
    """
    made = opened(warehouse).algorithms.remove_artifact(artifact_id, by=by)
    text = f"the file of {made.kind} {made.artifact_id} is gone"
    return _print_artifact(made, text, as_json=as_json)


def _print_artifact(made: Artifact, text: str, *, as_json: bool) -> int:
    if as_json:
        names = ("artifact_id", "kind", "parent", "api_method", "is_marked", "is_removed")
        send_document({name: getattr(made, name) for name in names})
    else:
        console().print(text, highlight=False)
    return 0


@algorithm.command(name="create")
def create_algorithm(
    name: Text,
    /,
    *,
    interface: Annotated[
        list[Text], Parameter(help="As 'ct, age -> nodules, volume'; may be repeated.")
    ],
    match: Annotated[
        list[Text] | None,
        Parameter(
            negative="",
            help="For jobs of several series of a study: \"ct: Modality = 'CT'\", SQL over series "
            "that is true of one of a study; repeatable, outputs are about the first.",
        ),
    ] = None,
    image: Annotated[Text | None, Parameter(help="Id of the image; else the desired one.")] = None,
    model: Annotated[Text | None, Parameter(help="Id of the weights.")] = None,
    function: Annotated[
        Text | None, Parameter(help="Instead of an image: module:name or file.py:name.")
    ] = None,
    external: Annotated[
        bool, Parameter(negative="", help="Somebody outside executes it: see job claim.")
    ] = False,
    evaluation: Annotated[
        bool, Parameter(negative="", help="It is a method of evaluation.")
    ] = False,
    description: Text = "",
    time_limit: Annotated[int, Parameter(help="Seconds a job may take: 300 to 86400.")] = 3600,
    gpu: Annotated[Text, Parameter(help="Type of GPU it needs; see the view hardware.")] = "",
    memory: Annotated[int, Parameter(help="GiB that it needs: 4 to 32.")] = 8,
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
    made = opened(warehouse).algorithms.create(
        name, *interface, image=image, model=model, function=function,
        matching={slug.strip(): condition.strip() for slug, _, condition in pairs},
        api_method="external" if external else None,
        kind="evaluation" if evaluation else "algorithm", description=description,
        time_limit_s=time_limit, requires_gpu_type=gpu, requires_memory_gb=memory, by=by,
    )  # fmt: skip
    if as_json:
        names = ("algorithm", "version", "kind", "api_method")
        send_document({name: getattr(made, name) for name in names})
        return 0
    text = f"algorithm {made.algorithm}: version {made.version}, {made.api_method}"
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
        list[Text] | None, Parameter(negative="", help="Instead: a series; repeatable.")
    ] = None,
    of_set: Annotated[Text | None, Parameter(name="--set", help="Instead: items of a set.")] = None,
    all_series: Annotated[
        bool, Parameter(name="--all", negative="", help="Instead: every series.")
    ] = False,
    waiting: Annotated[
        bool, Parameter(negative="", help="Instead: jobs that were asked for and wait.")
    ] = False,
    jobs: Annotated[
        int | None, Parameter(help="At a time: by default one container, or a function per core.")
    ] = None,
    runner: Runner = None,
    scheduler: Annotated[Text | None, Parameter(help="Dask scheduler whose workers run.")] = None,
    again: Annotated[
        bool, Parameter(negative="", help="Try again what failed or was cancelled.")
    ] = False,
    seconds: Annotated[float | None, Parameter(help="Stop each job after so many.")] = None,
    by: By = "",
    strict: Annotated[bool, Parameter(negative="", help="Exit with 1 if a job failed.")] = False,
    as_json: AsJson = False,
    warehouse: Root = DEFAULT_WAREHOUSE,
) -> int:
    """Run an algorithm over a cohort: a job for each case, outputs become rows.

    What is done is not done again, so a run that was stopped goes on. Rows of what was found:
    `dicom-warehouse sql "from outputs('lung')"`

    Example: `dicom-warehouse run lung ct_thin_slice --jobs 2`

    Parameters
    ----------
    algorithm
        Its name; see `dicom-warehouse algorithm list`.
    cohort
        A cohort that was run, or one of its runs.
    """
    chosen = [cohort is not None, bool(series), of_set is not None, all_series, waiting]
    if sum(chosen) != 1:
        raise UsageError("name a cohort, or say one of --series, --set, --all and --waiting")
    algorithms = opened(warehouse).algorithms
    line = ProgressLine(enabled=not as_json)
    how: dict[str, Any] = {
        "workers": jobs,
        "runner": runner,
        "scheduler": scheduler,
        "seconds": seconds,
        "by": by,
    }
    if waiting:
        report = algorithms.run_waiting(algorithm, progress=line, **how)
    else:
        report = algorithms.run(
            algorithm, series or cohort, of_set=of_set, again=again, progress=line, **how
        )
    line.end()
    _print(report, as_json=as_json)
    return 1 if strict and report.failed else 0


class ProgressLine:
    """Shows how far a run is, on a terminal."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled and sys.stderr.isatty()

    def __call__(self, progress: Progress) -> None:
        """Write one line over the last."""
        if self._enabled:
            left = "" if progress.seconds_left is None else f", {progress.seconds_left:,.0f} s left"
            text = f"{progress.done:,} of {progress.total:,} jobs, {progress.failed:,} failed{left}"
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    def end(self) -> None:
        """Take the line away."""
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
        line = f"  {counted(len(report.unmatched), 'member')} that no interface takes: {first[1]}"
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
        Parameter(help="Who said the truth, by the same sockets; else the method has it."),
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
        An algorithm that was made with `--evaluation`.
    algorithm
        The algorithm whose outputs are evaluated.
    """
    found = opened(warehouse).algorithms.evaluate(
        method, algorithm, truth=truth, runner=runner, by=by
    )
    _print(found, as_json=as_json)
    return 1 if found.failed else 0
