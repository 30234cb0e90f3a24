"""Export the members of a run as rows, lists, files, documents or a BIDS data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.bids.export import FORMAT, export_bids
from warehouse.cohorts.export_documents import export_documents
from warehouse.cohorts.export_files import FILE_FORMATS, export_files
from warehouse.cohorts.export_rows import ROW_FORMATS, export_rows
from warehouse.cohorts.provenance import DOCUMENTS
from warehouse.deidentify.options import Deidentify, export_run_deidentified
from warehouse.errors import UsageError
from warehouse.given import checked, options_of
from warehouse.settings import S3Access

if TYPE_CHECKING:
    from warehouse.cohorts.runs import Run


@checked
def export_run(
    root: Path, run: Run, target: str | os.PathLike[str], form: str,
    deidentify: Deidentify | str | None = None, **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Write the members of a run to a file or folder.

    Parameters
    ----------
    root
        Folder of the warehouse.
    run
        The run.
    target
        File or folder to write.
    form
        csv, parquet, arrow, jsonl, uids, s5cmd (see ``export_rows``), zip, copy, link (see
        ``export_files``), bids (see ``export_bids``) or documents (see ``export_documents``).
    deidentify
        De-identify the export: ``Deidentify``, or the name of a profile.
    options
        Options of the chosen format.

    Returns
    -------
    dict
        The provenance, which is also written beside the target.
    """
    known = ", ".join((*ROW_FORMATS, *FILE_FORMATS, FORMAT, DOCUMENTS))
    if not form:
        raise UsageError(f"export() needs a format; choose one of: {known}")
    if deidentify is not None:
        return export_run_deidentified(root, run, Path(target), form, deidentify, **options)
    what = f"an export as {form}"
    if form == FORMAT:
        return export_bids(root, run, Path(target), **options_of(what, export_bids, options))
    s3 = {"s3": S3Access.from_variables(os.environ)}
    if form == DOCUMENTS:
        how = options_of(what, export_documents, options)
        return export_documents(root, run, Path(target), **s3 | how)
    if form in FILE_FORMATS:
        how = options_of(what, export_files, options)
        return export_files(root, run, Path(target), form, **s3 | how)
    if form not in ROW_FORMATS:
        raise UsageError(f"unknown format {form!r}; choose one of: {known}")
    return export_rows(root, run, Path(target), form, **options_of(what, export_rows, options))
