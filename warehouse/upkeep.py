"""``Warehouse.upkeep``: what an operator does to a warehouse."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.cohorts.checked import check_runs
from warehouse.errors import UsageError
from warehouse.forget import allow, forget, receipts
from warehouse.given import checks_arguments
from warehouse.rebuild import Rebuilt, read_anew, rebuild
from warehouse.relocate import Relocated, relocate
from warehouse.repair import Repaired, repair
from warehouse.settings import IngestSettings, S3Access
from warehouse.store.audit import Entry, entries
from warehouse.store.compact import Compacted, compact
from warehouse.store.rules import Rule, add_rules, read_rules
from warehouse.store.vacuum import RETENTION, Vacuumed, vacuum
from warehouse.store.verify import Verified, verify

if TYPE_CHECKING:
    import datetime as dt

    from warehouse.publishing import Place
    from warehouse.store.tombstones import Receipt


def _one_of(**given: str | None) -> tuple[str, str]:
    """Return the level and identifier that were given."""
    found = [(level, name) for level, name in given.items() if name is not None]
    if len(found) != 1:
        raise UsageError("name one patient, study, series or instance")
    return found[0]


@checks_arguments
@dataclass(frozen=True, slots=True)
class Upkeep:
    """What keeps a warehouse in order, checks it, and says who changed it."""

    _place: Place

    def rebuild(self, *, from_sources: bool = False) -> Rebuilt:
        """Derive ``instances`` again from stored elements, or read every source file again."""
        root, how = self._place.root, IngestSettings.from_variables(os.environ)
        return self._place.change(
            lambda _: read_anew(root, how) if from_sources else rebuild(root), what="rebuild"
        )

    def compact(self) -> Compacted:
        """Merge the Parquet files of many small ingests; rows and their order stay."""
        return self._place.change(lambda _: compact(self._place.root), what="compact")

    def vacuum(self, retention: dt.timedelta = RETENTION, *, delete: bool = False) -> Vacuumed:
        """Count Parquet files that no version of the last days names; ``delete`` removes them."""
        if self._place.mirror:
            raise UsageError(
                "a warehouse in a bucket cannot be vacuumed: nobody knows who reads it"
            )
        return self._place.change(
            lambda _: vacuum(self._place.root, retention, delete=delete),
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
        found = verify(self._place.root, deep=deep)
        runs, forgotten, damaged = check_runs(self._place.root)
        return replace(
            found, runs=runs, runs_forgotten=forgotten, damaged=[*found.damaged, *damaged]
        )

    def repair(self, found: Verified) -> Repaired:
        """Read the source files of damaged parts again, in one transaction, if all are there."""
        if self._place.mirror:
            raise UsageError("delete the folder of this machine; the bucket is copied again")
        return self._place.change(lambda _: repair(self._place.root, found), what="repair")

    def relocate(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> Relocated:
        """Let every known file beneath ``old`` lie beneath ``new``, in one commit; none is read.

        For a folder, archive or bucket that was moved. An ingest of the new place finds out by
        itself, a file at a time; see ``IngestReport.moved``.
        """
        how = IngestSettings(workers=1, s3=S3Access.from_variables(os.environ))
        root = self._place.root
        return self._place.change(lambda _: relocate(root, old, new, how), what="relocate")

    def forget(
        self, *, patient: str | None = None, study: str | None = None, series: str | None = None,
        instance: str | None = None, delete: bool = False,
    ) -> Receipt:  # fmt: skip
        """Erase one patient, study, series or instance, older versions included, and keep it away.

        Parameters
        ----------
        patient, study, series, instance
            PatientID or UID of the one that is to be erased.
        delete
            Do so; otherwise it is only counted. It cannot be undone.

        Returns
        -------
        Receipt
            Rows by table, files and bytes, without identity. The next ingest of the same source
            counts its files as ``forgotten``; see ``allow``.

        Raises
        ------
        NothingToForget, WritersRunning, UsageError, WriteFailed

        Examples
        --------
        >>> wh.upkeep.forget(series=uid).entities
        {'patients': 1, 'studies': 1, 'series': 1, 'instances': 3}
        """
        level, name = _one_of(patient=patient, study=study, series=series, instance=instance)
        done = self._place.change(
            lambda _: forget(self._place.root, level, name, delete=delete),
            what="forget" if delete else "", materialize=delete,
        )  # fmt: skip
        if delete and self._place.mirror:
            self._place.mirror.delete_unnamed()
        return done

    def allow(
        self, *, patient: str | None = None, study: str | None = None, series: str | None = None,
        instance: str | None = None,
    ) -> Receipt:  # fmt: skip
        """Let the next ingest read again what was forgotten, by the name it was forgotten by."""
        level, name = _one_of(patient=patient, study=study, series=series, instance=instance)
        return self._place.change(
            lambda _: allow(self._place.root, level, name), what="allow", materialize=False
        )

    def receipts(self) -> list[Receipt]:
        """Return what was forgotten, without identity; the oldest first."""
        return receipts(self._place.root)

    def audit(self) -> list[Entry]:
        """Return who changed the warehouse, when, how and to which version; the oldest first."""
        return entries(self._place.root)

    def rules(self) -> list[Rule]:
        """Return the rules of `sequence_types` in the order in which they are tried."""
        return read_rules(self._place.root)

    def add_rules(self, path: str | os.PathLike[str]) -> int:
        """Add rules of `sequence_types` from a CSV file; one of the same name is replaced."""
        return self._place.change(lambda _: add_rules(self._place.root, Path(path)), what="rules")
