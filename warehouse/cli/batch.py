"""``batch``: plan batches and read them one at a time."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Annotated

from cyclopts import App, Parameter

from warehouse.cli.app import DEFAULT_WAREHOUSE, AsJson, Root, opened
from warehouse.cli.document import send_document
from warehouse.cli.intake import print_report, report_facts
from warehouse.cli.screen import Bar
from warehouse.escape import escaped
from warehouse.settings import PLANNED_FILES, IngestSettings, Limits, Mode, S3Access

batch = App(
    name="batch",
    help="Plan batches and read them one at a time: for job arrays, and to read one again.\n\n"
    "Example: `dicom-warehouse batch plan /data`\n\n"
    "Example: `dicom-warehouse batch run 000001`",
)


@batch.command
def plan(
    sources: Annotated[
        list[str],
        Parameter(help="Files, folders, zip archives and s3://bucket/prefix, in any mix."),
    ],
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    mode: Annotated[str, Parameter(env_var="DICOM_WAREHOUSE_MODE")] = "full",
    pattern: Annotated[list[str] | None, Parameter(negative="")] = None,
    batch_files: int = PLANNED_FILES,
    as_json: AsJson = False,
) -> int:
    """Find new and changed files, store them as planned batches, and print the keys of these.

    Example: `dicom-warehouse batch plan /data/archive --batch-files 50000`

    Parameters
    ----------
    mode
        Files read less completely than in this mode count as changed.
    pattern
        Plan only files whose name matches this shell pattern; may be repeated.
    batch_files
        Number of files per batch, which is one transaction.
    """
    settings = IngestSettings(
        mode=Mode.parse(mode), patterns=tuple(pattern or ()), batch_files=batch_files,
        s3=S3Access.from_variables(os.environ), limits=Limits.from_variables(os.environ),
    )  # fmt: skip
    keys = opened(warehouse).batches.plan(*sources, settings=settings)
    if as_json:
        send_document({"planned": keys})
        return 0
    for key in keys:
        print(key)
    return 0


@batch.command(name="list")
def list_(*, warehouse: Root = DEFAULT_WAREHOUSE, as_json: AsJson = False) -> int:
    """List the keys of waiting and stored batches.

    Example: `dicom-warehouse batch list`
    """
    batches = opened(warehouse).batches
    keys = {"waiting": batches.waiting(), "stored": batches.stored()}
    if as_json:
        send_document(keys)
    else:
        for state, keys_in_state in keys.items():
            for key in keys_in_state:
                print(escaped(f"{key}  {state}"))
    return 0


@batch.command
def run(
    keys: Annotated[list[str], Parameter(help="Keys of batches; leading zeros may be omitted.")],
    /,
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    mode: str | None = None,
    workers: int | None = None,
    scheduler: Annotated[str | None, Parameter(env_var="DICOM_WAREHOUSE_SCHEDULER")] = None,
    as_json: AsJson = False,
    quiet: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Read planned batches, or read stored batches again.

    Example: `dicom-warehouse batch run 000007 --workers 4`

    Parameters
    ----------
    mode
        minimal, normal or full; by default that of the last read of the batch, else
        $DICOM_WAREHOUSE_MODE, else full.
    workers
        Processes that read in parallel; by default one per processor.
    scheduler
        Read with the workers of the Dask scheduler at this address.
    quiet
        Print no report.
    """
    wh = opened(warehouse)
    done = []
    for key in (key.zfill(6) for key in keys):
        settings = wh.batches.settings(key)
        settings = replace(settings, workers=workers, scheduler=scheduler)
        settings = replace(settings, mode=Mode.parse(mode)) if mode else settings
        with Bar(enabled=not quiet) as bar:
            report = wh.batches.run(key, settings=settings, progress=bar)
        if as_json:
            done.append(report_facts(report) | {"batch": key})
        elif not quiet:
            print_report(report, wh.url)
    if as_json:
        send_document({"batches": done})
    return 0
