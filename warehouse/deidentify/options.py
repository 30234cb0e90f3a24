"""``Deidentify``: options of a de-identified export, and the export in any format."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warehouse.bids.export import FORMAT as BIDS
from warehouse.bids.export import Options, export_bids
from warehouse.cohorts.export_rows import ROW_FORMATS
from warehouse.cohorts.names import TEMPLATE
from warehouse.deidentify.export import FILE_FORMATS, export_deidentified
from warehouse.deidentify.key import Key, read_key
from warehouse.deidentify.pixels import PixelRules, rectangle
from warehouse.deidentify.profile import BASIC
from warehouse.deidentify.rows import export_rows_deidentified
from warehouse.errors import UsageError
from warehouse.given import options_of
from warehouse.settings import Limits, S3Access

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from warehouse.cohorts.runs import Run

_REFUSED = {
    "link": "a link leads to the original file, which identifies the patient",
    "s5cmd": "its commands copy the original files, which identify patients",
    "documents": "the text of a document is not de-identified",
}


@dataclass(frozen=True, slots=True)
class Deidentify:
    """A profile with its options; see ``warehouse.deidentify.export.export_deidentified``."""

    profile: str = BASIC
    retain: tuple[str, ...] = ()
    clean: tuple[str, ...] = ()
    key: Key | None = None
    mapping: Path | None = None
    pixels: PixelRules = field(default_factory=PixelRules)
    workers: int | None = None

    @classmethod
    def from_options(
        cls, profile: str, retain: str = "", clean: str = "", key: Path | None = None,
        mapping: Path | None = None, rectangles: Iterable[str] = (), *,
        accept_burned_in: bool = False,
    ) -> Deidentify:  # fmt: skip
        """Parse options of the command line: names separated by commas, and the path of a key.

        Raises
        ------
        UsageError, SourceNotFound
        """
        blacked_out = tuple(rectangle(text) for text in rectangles)
        return cls(
            profile, _names(retain), _names(clean), read_key(key) if key else None, mapping,
            PixelRules(blacked_out, accept_burned_in),
        )  # fmt: skip


def export_run_deidentified(
    root: Path, run: Run, target: Path, form: str, how: Deidentify | str, *,
    template: str = TEMPLATE, rows: str = "series", preset: str | None = None,
    spreadsheet: bool = False, force: bool = False, **data_set: Any,
) -> dict[str, Any]:  # fmt: skip
    """Write the de-identified members of a run.

    Parameters
    ----------
    root, run, target, form, template, rows, preset, spreadsheet, force
        As of ``Warehouse.export`` without de-identification.
    how
        Profile and options.
    data_set
        Options of ``bids``: identifiers, isotropic, allow_gaps, resample, as of ``export_bids``.

    Raises
    ------
    TargetExists, UsageError, ExportFailed
    """
    if isinstance(how, str):
        how = Deidentify(how)
    if form in _REFUSED:
        raise UsageError(f"{form} is not a format of de-identified exports: {_REFUSED[form]}")
    what = f"a de-identified export as {form}"
    if data_set and form != BIDS:
        raise UsageError(f"{what} takes no {', '.join(data_set)}")
    if template != TEMPLATE and (form == BIDS or form not in FILE_FORMATS):
        raise UsageError(f"{what} takes no template")
    bids = Options(**options_of(what, export_bids, data_set))
    if form in FILE_FORMATS:
        if rows != "series" or preset or spreadsheet:
            raise UsageError(f"{what} takes no rows, preset or spreadsheet: it writes files")
        return export_deidentified(
            root, run, target, form, name=how.profile, retain=how.retain, clean=how.clean,
            key=how.key, pixels=how.pixels, template=template, mapping_folder=how.mapping,
            data_set_options=bids, workers=how.workers,
            s3=S3Access.from_variables(os.environ), limits=Limits.from_variables(os.environ),
            force=force,
        )  # fmt: skip
    if form not in ROW_FORMATS:
        raise UsageError(
            f"unknown format {form!r}; choose one of: {', '.join(FILE_FORMATS)}, csv, parquet, "
            "arrow, jsonl, uids"
        )
    return export_rows_deidentified(
        root, run, target, form, how.profile, retain=how.retain, clean=how.clean, key=how.key,
        rows=rows, preset=preset, spreadsheet=spreadsheet, force=force,
    )  # fmt: skip


def _names(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
