"""``Warehouse.upkeep``: maintenance operations."""

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
from warehouse.settings import IngestSettings
from warehouse.store.audit import Entry, entries
from warehouse.store.compact import Compacted, compact
from warehouse.store.rules import Rule, add_rules, read_rules
from warehouse.store.vacuum import RETENTION, Vacuumed, vacuum
from warehouse.store.verify import Verified, verify

if TYPE_CHECKING:
    import datetime as dt

    from warehouse.publishing import Location
    from warehouse.store.tombstones import Receipt


def _level_and_key(**given: str | None) -> tuple[str, str]:
    """Return the level and identifier that were given."""
    found = [(level, name) for level, name in given.items() if name is not None]
    if len(found) != 1:
        raise UsageError("name one patient, study, series or instance")
    return found[0]


@checks_arguments
@dataclass(frozen=True, slots=True)
class Upkeep:
    """Maintenance of a warehouse: rebuild, compact, vacuum, verify, repair, relocate, forget."""

    _place: Location

    def rebuild(self, *, from_sources: bool = False) -> Rebuilt:
        """Derive ``instances`` again from the stored elements, or read every source file again."""
        root, how = self._place.root, IngestSettings.from_variables(os.environ)
        return self._place.change(
            lambda _: read_anew(root, how) if from_sources else rebuild(root), what="rebuild"
        )

    def compact(self) -> Compacted:
        """Merge the Parquet files of many small ingests; no row changes."""
        return self._place.change(lambda _: compact(self._place.root), what="compact")

    def vacuum(self, retention: dt.timedelta = RETENTION, *, delete: bool = False) -> Vacuumed:
        """Count Parquet files that no recent version needs; with ``delete`` delete them.

        Parameters
        ----------
        retention
            Versions younger than this stay readable.
        delete
            Delete the files; otherwise they are only counted.

        Raises
        ------
        UsageError
            The warehouse is in a bucket, where other readers cannot be detected.
        """
        if self._place.mirror:
            raise UsageError(
                "a warehouse in a bucket cannot be vacuumed, as its readers are unknown"
            )
        return self._place.change(
            lambda _: vacuum(self._place.root, retention, delete=delete),
            what="vacuum" if delete else "", materialize=False,
        )  # fmt: skip

    def verify(self, *, deep: bool = False) -> Verified:
        """Check that the store has everything that was committed; change nothing.

        Parameters
        ----------
        deep
            Read every byte and decode every page; otherwise check sizes, footers and row counts.

        Returns
        -------
        Verified
            ``is_whole``; if it is false, also ``damaged`` (what, why, how to repair it),
            ``touched`` (the affected source files) and ``series``.
        """
        found = verify(self._place.root, deep=deep)
        runs, forgotten, damaged = check_runs(self._place.root)
        return replace(
            found, runs=runs, runs_forgotten=forgotten, damaged=[*found.damaged, *damaged]
        )

    def repair(self, found: Verified) -> Repaired:
        """Read the source files of damaged parts again, in one transaction, if all can be read.

        Parameters
        ----------
        found
            Result of ``verify``.

        Raises
        ------
        UsageError
            The warehouse is in a bucket.
        WriteFailed, WorkersLost
            Nothing was changed.
        """
        if self._place.mirror:
            raise UsageError("delete the folder of this machine; the bucket is copied again")
        root, how = self._place.root, IngestSettings.from_variables(os.environ, workers=1)
        return self._place.change(lambda _: repair(root, found, how), what="repair")

    def relocate(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> Relocated:
        """Replace the path prefix ``old`` by ``new`` for all known files below it.

        Use it after a folder, archive or bucket was moved. An ingest of the new path also
        recognizes moved files, one by one; see ``IngestReport.moved``.

        Parameters
        ----------
        old, new
            See ``warehouse.relocate.relocate``.

        Raises
        ------
        UsageError
            No known file is below ``old``.
        """
        how = IngestSettings.from_variables(os.environ, workers=1)
        root = self._place.root
        return self._place.change(lambda _: relocate(root, old, new, how), what="relocate")

    def forget(
        self, *, patient: str | None = None, study: str | None = None, series: str | None = None,
        instance: str | None = None, delete: bool = False,
    ) -> Receipt:  # fmt: skip
        """Erase a patient, study, series or instance from all versions, and do not ingest it again.

        Parameters
        ----------
        patient, study, series, instance
            PatientID or UID; exactly one of them must be given.
        delete
            Erase it, which cannot be undone; otherwise rows and files are only counted.

        Returns
        -------
        Receipt
            Rows by table, files and bytes, without identifiers. Later ingests count its files as
            ``forgotten`` until ``allow`` is called.

        Raises
        ------
        NothingToForget, WritersRunning, UsageError, WriteFailed

        Examples
        --------
        >>> wh.upkeep.forget(series=uid).entities
        {'patients': 1, 'studies': 1, 'series': 1, 'instances': 3}
        """
        level, name = _level_and_key(patient=patient, study=study, series=series, instance=instance)
        done = self._place.change(
            lambda _: forget(self._place.root, level, name, delete=delete),
            what="forget" if delete else "", materialize=delete,
        )  # fmt: skip
        if delete and self._place.mirror:
            self._place.mirror.delete_unnamed(forgotten=frozenset(done.deleted))
        return done

    def allow(
        self, *, patient: str | None = None, study: str | None = None, series: str | None = None,
        instance: str | None = None,
    ) -> Receipt:  # fmt: skip
        """Allow a forgotten identifier again; the next ingest reads its files.

        Raises
        ------
        NothingToForget
            It was not forgotten by this identifier.
        """
        level, name = _level_and_key(patient=patient, study=study, series=series, instance=instance)
        return self._place.change(
            lambda _: allow(self._place.root, level, name), what="allow", materialize=False
        )

    def receipts(self) -> list[Receipt]:
        """Return the receipts of all forgotten entities, oldest first."""
        return receipts(self._place.root)

    def audit(self) -> list[Entry]:
        """Return the audit log (who changed the warehouse, when and how), oldest entry first."""
        return entries(self._place.root)

    def rules(self) -> list[Rule]:
        """Return the rules of the view ``sequence_types``, in the order of evaluation."""
        return read_rules(self._place.root)

    def add_rules(self, path: str | os.PathLike[str]) -> int:
        """Add rules of the view ``sequence_types`` from a CSV file; return their number.

        A rule with the name of an existing one replaces it.
        """
        return self._place.change(lambda _: add_rules(self._place.root, Path(path)), what="rules")
