"""Exchange jobs with external executors by folders: write the inputs, read back the outputs.

In: a job of an external algorithm. Out: ``input``, ``output`` and ``job.json`` below a folder that
a pod, a batch system or another machine mounts; and the report when the job has ended. The key that
signs the report is in ``job.json``, outside of the two folders that the container mounts.
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
"""Name of the file with the id and signing key of a job."""


def claim_to(root: Path, job_id: str, folder: Path, *, by: str = "") -> Spec:
    """Claim a job of an external algorithm, and write its inputs to a folder.

    Parameters
    ----------
    root, job_id, by
        See ``claim``.
    folder
        New or empty folder. ``input`` is made readable and ``output`` writable by all users;
        ``job.json``, which contains the key, is readable by its owner only.

    Raises
    ------
    UnknownJob, TransitionRefused, JobRefused
    AlgorithmError
        The folder is not empty; or an input cannot be written, and the job has failed.
    WriteFailed
        The folder cannot be written. If this happens after the claim, the job has failed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise AlgorithmError(f"{folder} is not empty; name a new folder for the job")
        (folder / "output").mkdir()
        (folder / "output").chmod(0o777)
    except OSError as error:
        raise WriteFailed("the folder of a job", error) from error
    try:
        spec = claim(root, job_id, by=by)
    except BaseException:
        (folder / "output").rmdir()  # it stays a folder that can be claimed to
        raise
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
    """Record that a job has failed, if its executor cannot report it, such as a lost pod.

    Raises
    ------
    UnknownJob
    TransitionRefused
        The job is neither claimed nor queued.
    """
    full_id = jobs.find_job(root, job_id).job_id
    is_queued = jobs.states(root, [full_id])[full_id].status in {QUEUED, REQUEUED}
    what = "not provisioned" if is_queued else "reported failed"
    jobs.happen(root, full_id, what, by=by, runner="external", error_message=why)


def report_from(root: Path, folder: Path, *, return_code: int = 0, error: str = "") -> None:
    """Report a job that was claimed to a folder: store its outputs, or its failure.

    Raises
    ------
    OutputRefused, TransitionRefused
        See ``report``.
    AlgorithmError
        The folder is not one of a claimed job.
    """
    try:
        job = json.loads((folder / ABOUT).read_bytes())
        job_id, key = str(job["job_id"]), str(job["signing_key"])
        bytes.fromhex(key)
    except (OSError, ValueError, LookupError, TypeError):
        raise AlgorithmError(
            f"{folder} is not the folder of a job; create one: dicom-warehouse job claim --folder"
        ) from None
    result = {"pk": job_id, "return_code": return_code, "error_message": error}
    body = json.dumps(result).encode()
    report(root, job_id, body, signature_of(body, key), folder / "output")
