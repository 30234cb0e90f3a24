"""``job``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from warehouse.cli.answers import Format, list_rows
from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Force, Output, Root, Text, opened
from warehouse.cli.document import send_document
from warehouse.cli.screen import console, printed
from warehouse.errors import UnknownJobState, UsageError

if TYPE_CHECKING:
    from warehouse.algorithms.facade import Algorithms

job = App(
    name="job",
    help="Jobs: an algorithm on one case, with its state and outputs.\n\n"
    "Example: `dicom-warehouse job list --status Failed`",
)

By = Annotated[Text, Parameter(help="Name to record as the author.")]


@job.command(name="list")
def list_jobs(
    algorithm: Text | None = None,
    /,
    *,
    status: Annotated[
        Text | None, Parameter(help="Only jobs in this state, such as Failed.")
    ] = None,
    warehouse: Root = DEFAULT_WAREHOUSE,
    form: Format = None,
    output: Output = None,
    force: Force = False,
) -> int:
    """List jobs with their states.

    Example: `dicom-warehouse job list lung --status Failed`

    Parameters
    ----------
    algorithm
        Only jobs of this algorithm, or of one version of it: NAME@VERSION.
    """
    from warehouse.algorithms.states import statuses
    from warehouse.sqlfiles import statement

    wh = opened(warehouse)
    labels = [state.label for state in statuses().values()]
    if status is not None and status not in labels:
        raise UnknownJobState(status, labels)
    found = wh.algorithms.find(algorithm) if algorithm is not None else None
    version = found.version if found and "@" in str(algorithm) else None
    return list_rows(
        wh,
        statement("listed_jobs", "components"),
        form, output, force=force,
        values=[found and found.algorithm, version, status],
    )  # fmt: skip


@job.command
def show(job_id: Text, /, *, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    """Print a job as JSON: specification, inputs, outputs and history of states.

    Example: `dicom-warehouse job show 0a1b2c`

    Parameters
    ----------
    job_id
        Id of the job, or a unique prefix of it.
    """
    from warehouse.components.ledger import dictionaries

    wh = opened(warehouse)
    full_id = wh.algorithms.job(job_id).job_id
    connection = wh.catalog.connection
    (row,) = dictionaries(
        connection, "select * exclude (stdout, stderr) from jobs where job_id = $1", full_id
    )
    parts = {"inputs": "job_inputs", "outputs": "job_outputs", "states": "job_times"}
    for name, view in parts.items():
        query = f"select * exclude (job_id) from {view} where job_id = $1 order by 1"
        row[name] = dictionaries(connection, query, full_id)
    send_document(row, indented=not as_json)
    return 0


@job.command
def logs(job_id: Text, /, *, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    """Print the last 500 lines that a job wrote to stdout, and those it wrote to stderr to stderr.

    Example: `dicom-warehouse job logs 0a1b2c`
    """
    wh = opened(warehouse)
    full_id = wh.algorithms.job(job_id).job_id
    query = "select stdout, stderr from jobs where job_id = $1"
    ((stdout, stderr),) = wh.catalog.connection.execute(query, [full_id]).fetchall()
    if as_json:
        send_document({"job_id": full_id, "stdout": stdout, "stderr": stderr})
        return 0
    for stream, text in ((sys.stdout, stdout), (sys.stderr, stderr)):
        if text:
            stream.write("\n".join(map(printed, text.split("\n"))) + "\n")
    return 0


@job.command
def cancel(
    job_id: Text, /, *, by: By = "", warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False
) -> int:
    """Cancel a job; a container that runs it is stopped within seconds.

    Example: `dicom-warehouse job cancel 0a1b2c`
    """
    algorithms = opened(warehouse).algorithms
    algorithms.cancel(job_id, by=by)
    return _print(algorithms, job_id, "cancelled", as_json=as_json)


@job.command
def retry(
    job_id: Text, /, *, by: By = "", warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False
) -> int:
    """Queue a failed or cancelled job again for the next run.

    Example: `dicom-warehouse job retry 0a1b2c`
    """
    algorithms = opened(warehouse).algorithms
    algorithms.retry(job_id, by=by)
    text = "queued again; dicom-warehouse run executes it"
    return _print(algorithms, job_id, text, as_json=as_json)


@job.command
def claim(
    job_id: Text,
    /,
    *,
    folder: Annotated[
        Path | None,
        Parameter(help="New or empty folder for input, output and key; see job report --folder."),
    ] = None,
    by: By = "",
    warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:
    """Claim a job to execute it elsewhere; print the key that signs its result.

    Example: `dicom-warehouse job claim 0a1b2c --folder work`
    """
    spec = opened(warehouse).algorithms.claim(job_id, folder=folder, by=by)
    if folder is not None:
        text = f"job {spec.job_id}: its inputs are in {folder / 'input'}"
        if as_json:
            send_document({"job_id": spec.job_id, "folder": folder})
        else:
            console().print(text, highlight=False)
        return 0
    # Always JSON, as a program uses the key.
    facts = {"job_id": spec.job_id, "signing_key": spec.signing_key}
    send_document(facts, indented=not as_json)
    return 0


@job.command
def report(
    job_id: Text | None = None,
    result: Path | None = None,
    outputs: Path | None = None,
    /,
    *,
    signature: Text | None = None,
    folder: Annotated[
        Path | None, Parameter(help="Folder of job claim --folder, instead of other arguments.")
    ] = None,
    return_code: Annotated[int, Parameter(help="With --folder: exit code of the algorithm.")] = 0,
    error: Annotated[Text, Parameter(help="With --folder: why the algorithm failed.")] = "",
    warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: AsJson = False,
) -> int:
    """Upload the outputs of a claimed job, within a day.

    Example: `dicom-warehouse job report 0a1b2c result.json outputs/ --signature HEX`

    Parameters
    ----------
    job_id
        Id of the job, or a unique prefix of it.
    result
        JSON file with pk (the job), return_code, exec_duration and invoke_duration.
    outputs
        Folder with the outputs, as an algorithm writes them to /output.
    signature
        HMAC-SHA256 of the result with the key of the job, as hex digits.
    """
    algorithms = opened(warehouse).algorithms
    if folder is not None:
        if job_id or signature:
            raise UsageError("--folder names the job; leave out the other arguments")
        algorithms.report_from(folder, return_code=return_code, error=error)
        if as_json:
            send_document({"folder": folder, "done": "reported"})
        else:
            console().print("reported", highlight=False)
        return 0
    if job_id is None or result is None or outputs is None or signature is None:
        raise UsageError("use --folder, or give the job, its result, its outputs and --signature")
    try:
        body = result.read_bytes()
    except OSError:
        raise UsageError(f"{result} cannot be read") from None
    algorithms.report(job_id, body, signature, outputs)
    return _print(algorithms, job_id, "reported", as_json=as_json)


def _print(algorithms: Algorithms, job_id: str, text: str, *, as_json: bool) -> int:
    if as_json:
        send_document(
            {"job_id": algorithms.job(job_id).job_id, "done": text.split(";", maxsplit=1)[0]}
        )
    else:
        console().print(text, highlight=False)
    return 0
