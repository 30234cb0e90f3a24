"""``job``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from warehouse.catalog.connect import ask
from warehouse.cli.answers import Format, answer_format, send_answer
from warehouse.cli.app import DEFAULT_WAREHOUSE, Force, Output, Root, Text, job, opened
from warehouse.cli.screen import console, printed
from warehouse.components.ledger import dictionaries
from warehouse.errors import UsageError

By = Annotated[Text, Parameter(help="Who does it.")]


@job.command(name="list")
def list_jobs(
    algorithm: Text | None = None,
    /,
    *,
    status: Annotated[Text | None, Parameter(help="Only those in a state, such as Failed.")] = None,
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
        Those of one algorithm.
    """
    chosen = answer_format(form, output, force=force)
    catalog = opened(warehouse).catalog
    found = ask(
        catalog,
        "select job_id, algorithm, series_key, item, label, attempt, exec_seconds, error_message "
        "from jobs where algorithm = coalesce($1, algorithm) and label = coalesce($2, label) "
        "order by created_at, job_id",
        [algorithm, status],
    )
    send_answer(catalog, found, chosen, output, force=force)
    return 0


@job.command
def show(job_id: Text, /, *, warehouse: Root = DEFAULT_WAREHOUSE) -> int:
    """Print a job as JSON: what it is to do, its inputs and outputs, and every state it was in.

    Example: `dicom-warehouse job show 0a1b2c`

    Parameters
    ----------
    job_id
        Its id, or how it begins.
    """
    wh = opened(warehouse)
    found = wh.algorithms.job(job_id).job_id
    ask_ = wh.catalog.connection
    (row,) = dictionaries(
        ask_, "select * exclude (stdout, stderr) from jobs where job_id = $1", found
    )
    parts = {"inputs": "job_inputs", "outputs": "job_outputs", "states": "job_times"}
    for name, view in parts.items():
        query = f"select * exclude (job_id) from {view} where job_id = $1 order by 1"
        row[name] = dictionaries(ask_, query, found)
    sys.stdout.write(json.dumps(row, ensure_ascii=False, indent=2, default=str) + "\n")
    return 0


@job.command
def logs(job_id: Text, /, *, warehouse: Root = DEFAULT_WAREHOUSE) -> int:
    """Print what a job printed: the last 500 lines of its output, and of its errors to stderr.

    Example: `dicom-warehouse job logs 0a1b2c`
    """
    wh = opened(warehouse)
    found = wh.algorithms.job(job_id).job_id
    query = "select stdout, stderr from jobs where job_id = $1"
    ((stdout, stderr),) = wh.catalog.connection.execute(query, [found]).fetchall()
    for stream, text in ((sys.stdout, stdout), (sys.stderr, stderr)):
        if text:
            stream.write("\n".join(map(printed, text.split("\n"))) + "\n")
    return 0


@job.command
def cancel(job_id: Text, /, *, by: By = "", warehouse: Root = DEFAULT_WAREHOUSE) -> int:
    """Cancel a job that has not ended; a container that runs it is stopped within seconds.

    Example: `dicom-warehouse job cancel 0a1b2c`
    """
    opened(warehouse).algorithms.cancel(job_id, by=by)
    console().print("cancelled", highlight=False)
    return 0


@job.command
def retry(job_id: Text, /, *, by: By = "", warehouse: Root = DEFAULT_WAREHOUSE) -> int:
    """Let a job that failed or was cancelled be executed again, by the next run.

    Example: `dicom-warehouse job retry 0a1b2c`
    """
    opened(warehouse).algorithms.retry(job_id, by=by)
    console().print("queued again; dicom-warehouse run executes it", highlight=False)
    return 0


@job.command
def claim(
    job_id: Text,
    /,
    *,
    folder: Annotated[
        Path | None,
        Parameter(help="New or empty: gets input, output and the key, as job report takes them."),
    ] = None,
    by: By = "",
    warehouse: Root = DEFAULT_WAREHOUSE,
) -> int:
    """Take a job that is executed outside, and print the key that signs its result.

    Example: `dicom-warehouse job claim 0a1b2c --folder work`
    """
    spec = opened(warehouse).algorithms.claim(job_id, folder=folder, by=by)
    if folder is not None:
        console().print(f"job {spec.job_id}: its inputs are in {folder / 'input'}", highlight=False)
        return 0
    print(json.dumps({"job_id": spec.job_id, "signing_key": spec.signing_key}))
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
        Path | None, Parameter(help="Instead of all that: the folder of job claim --folder.")
    ] = None,
    return_code: Annotated[int, Parameter(help="Of a folder: how the algorithm ended.")] = 0,
    error: Annotated[Text, Parameter(help="Of a folder: why it failed.")] = "",
    warehouse: Root = DEFAULT_WAREHOUSE,
) -> int:
    """Bring the outputs of a job that was claimed, within a day.

    Example: `dicom-warehouse job report 0a1b2c result.json outputs/ --signature HEX`

    Parameters
    ----------
    job_id
        The job.
    result
        JSON with pk (the job), return_code, exec_duration and invoke_duration.
    outputs
        Folder with the outputs, as an algorithm leaves them in /output.
    signature
        HMAC-SHA256 of the result with the key of the job, as hex digits.
    """
    algorithms = opened(warehouse).algorithms
    if folder is not None:
        if job_id or signature:
            raise UsageError("a folder says which job it is; leave the other arguments out")
        algorithms.report_from(folder, return_code=return_code, error=error)
        console().print("reported", highlight=False)
        return 0
    if job_id is None or result is None or outputs is None or signature is None:
        raise UsageError("say --folder, or the job, its result, its outputs and --signature")
    try:
        body = result.read_bytes()
    except OSError:
        raise UsageError(f"{result} cannot be read") from None
    algorithms.report(job_id, body, signature, outputs)
    console().print("reported", highlight=False)
    return 0
