"""Jobs that are executed elsewhere, as folders: inputs to take away, outputs to bring back.

In: a job of an external algorithm. Out: ``input``, ``output`` and ``job.json`` below a folder that
a pod, a batch system or another machine mounts; and, when it has ended, the report of it. The key
that signs the report lies beside the two folders of the container, where that does not see it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from warehouse.algorithms import jobs
from warehouse.algorithms.input_folder import InputRefused, write_inputs
from warehouse.algorithms.states import QUEUED, REQUEUED
from warehouse.algorithms.submitting import claim, report, signature_of, task_of
from warehouse.catalog.connect import open_catalog
from warehouse.errors import AlgorithmError, WriteFailed

if TYPE_CHECKING:
    from pathlib import Path

    from warehouse.algorithms.jobs import Spec

ABOUT = "job.json"


def claim_to(root: Path, job_id: str, folder: Path, *, by: str = "") -> Spec:
    """Take a job that is executed outside, and write what its container needs.

    Parameters
    ----------
    root, job_id, by
        As ``claim``.
    folder
        New or empty. It gets ``input``, which anybody may read, ``output``, which anybody may
        write, and ``job.json`` with the key, which nobody else may read.

    Raises
    ------
    UnknownJob, TransitionRefused, JobRefused
    AlgorithmError
        The folder is not empty, or an input cannot be written: the job has failed then.
    WriteFailed
        The folder cannot be written; the job was not taken.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise AlgorithmError(f"{folder} is not empty; name a new folder for the job")
        (folder / "output").mkdir()
        (folder / "output").chmod(0o777)
    except OSError as error:
        raise WriteFailed("the folder of a job", error) from error
    spec = claim(root, job_id, by=by)
    task = task_of(root, spec)
    try:
        write_inputs(task, open_catalog(root, task.version), folder / "input")
        descriptor = os.open(folder / ABOUT, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"job_id": spec.job_id, "signing_key": spec.signing_key}, file)
    except InputRefused as error:
        fields = {"error_message": f"an input cannot be written: {error.why}"}
        details = {error.title: error.why}
        jobs.happen(
            root, spec.job_id, "reported failed", by=by, **fields, detailed_error_message=details
        )
        raise AlgorithmError(f"the job has failed: {fields['error_message']}") from None
    except OSError as error:
        text = "the folder of the job cannot be written"
        jobs.happen(root, spec.job_id, "reported failed", by=by, error_message=text)
        raise WriteFailed("the folder of a job", error) from error
    return spec


def report_failed(root: Path, job_id: str, why: str, *, by: str = "") -> None:
    """Say that a job has failed, since who executes it cannot: its pod is gone, or never began.

    Raises
    ------
    UnknownJob
    TransitionRefused
        The job is neither claimed nor waiting.
    """
    found = jobs.find_job(root, job_id).job_id
    waits = jobs.states(root, [found])[found].status in {QUEUED, REQUEUED}
    what = "not provisioned" if waits else "reported failed"
    jobs.happen(root, found, what, by=by, runner="external", error_message=why)


def report_from(root: Path, folder: Path, *, return_code: int = 0, error: str = "") -> None:
    """Report a job that was claimed to a folder: its outputs, or that it failed.

    Raises
    ------
    OutputRefused, TransitionRefused
        As ``report``.
    AlgorithmError
        The folder is none of a job.
    """
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        job_id, key = str(about["job_id"]), str(about["signing_key"])
        bytes.fromhex(key)
    except (OSError, ValueError, LookupError, TypeError):
        raise AlgorithmError(
            f"{folder} is no folder of a job; dicom-warehouse job claim --folder makes one"
        ) from None
    found = {"pk": job_id, "return_code": return_code, "error_message": error}
    body = json.dumps(found).encode()
    report(root, job_id, body, signature_of(body, key), folder / "output")
