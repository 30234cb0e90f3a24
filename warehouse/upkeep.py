"""What an operator does to a warehouse: ``Warehouse`` has these methods too."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from warehouse.cohorts.checked import check_runs
from warehouse.errors import UsageError
from warehouse.rebuild import Rebuilt, read_anew, rebuild
from warehouse.relocate import Relocated, relocate
from warehouse.repair import Repaired, repair
from warehouse.settings import IngestSettings, S3Access
from warehouse.store.audit import Entry, entries
from warehouse.store.compact import Compacted, compact
from warehouse.store.vacuum import RETENTION, Vacuumed, vacuum
from warehouse.store.verify import Verified, verify

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from warehouse.publishing import Action, Place

_Answer = TypeVar("_Answer")


class Upkeep:
    """The methods; ``Warehouse`` brings the rest."""

    _place: Place
    root: Path

    def _change(self, action: Action[_Answer], *, what: str, materialize: bool = True) -> _Answer:
        raise NotImplementedError

    def rebuild(self, *, from_sources: bool = False) -> Rebuilt:
        """Derive ``instances`` again from stored elements, or read every source file again."""
        return self._change(
            lambda _: (read_anew if from_sources else rebuild)(self.root), what="rebuild"
        )

    def compact(self) -> Compacted:
        """Merge the Parquet files of many small ingests; rows and their order stay."""
        return self._change(lambda _: compact(self.root), what="compact")

    def vacuum(self, retention: dt.timedelta = RETENTION, *, delete: bool = False) -> Vacuumed:
        """Count Parquet files that no version of the last days names; ``delete`` removes them."""
        if self._place.mirror:
            raise UsageError(
                "a warehouse in a bucket cannot be vacuumed: nobody knows who reads it"
            )
        return self._change(
            lambda _: vacuum(self.root, retention, delete=delete),
            what="vacuum" if delete else "", materialize=False,
        )  # fmt: skip

    def verify(self, *, deep: bool = False) -> Verified:
        """Compare the store with what was committed; nothing is changed.

        Parameters
        ----------
        deep
            Read every byte and every page, not only sizes, footers and numbers of rows.

        Returns
        -------
        Verified
            ``is_whole``; else ``damaged`` (what, why, what mends it), ``touched`` (source files)
            and ``series``.
        """
        found = verify(self.root, deep=deep)
        runs, forgotten, damaged = check_runs(self.root)
        return replace(
            found, runs=runs, runs_forgotten=forgotten, damaged=[*found.damaged, *damaged]
        )

    def repair(self, found: Verified) -> Repaired:
        """Read the source files of damaged parts again, in one transaction, if all are there."""
        if self._place.mirror:
            raise UsageError("delete the folder of this machine; the bucket is copied again")
        return self._change(lambda _: repair(self.root, found), what="repair")

    def relocate(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> Relocated:
        """Let every known file beneath ``old`` lie beneath ``new``, in one commit; none is read.

        For a folder, archive or bucket that was moved. An ingest of the new place finds out by
        itself, a file at a time; see ``IngestReport.moved``.
        """
        how = IngestSettings(workers=1, s3=S3Access.from_variables(os.environ))
        return self._change(lambda _: relocate(self.root, old, new, how), what="relocate")

    def audit(self) -> list[Entry]:
        """Return who changed the warehouse, when, how and to which version; the oldest first."""
        return entries(self.root)
