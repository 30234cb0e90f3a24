"""``Warehouse.batches``: plan batches, and read them one at a time in separate processes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse import ingest
from warehouse.given import checks_arguments
from warehouse.rebuild import mode_of_batch
from warehouse.settings import IngestSettings, Limits, Mode, S3Access

if TYPE_CHECKING:
    from warehouse.ingest_report import IngestReport
    from warehouse.publishing import Location
    from warehouse.survey import Progress


@checks_arguments
@dataclass(frozen=True, slots=True)
class Batches:
    """Batches of a warehouse, for job arrays and Dagster, which read one batch per process."""

    _place: Location

    def plan(
        self, *sources: str | os.PathLike[str], settings: IngestSettings | None = None
    ) -> list[str]:
        """List new and changed files and store the file list of each batch; read no DICOM file.

        A file of a waiting batch is planned again only if it has changed.

        Returns
        -------
        list of str
            Keys of the new batches.
        """
        root = self._place.root
        return self._place.publish(
            lambda _: ingest.plan(root, sources, settings), what="plan", materialize=lambda: False
        )

    def waiting(self) -> list[str]:
        """Return the keys of planned batches that are not yet read, in ascending order."""
        return ingest.planned_batches(self._place.root)

    def stored(self) -> list[str]:
        """Return the keys of batches with stored files, in ascending order."""
        return ingest.stored_batches(self._place.root)

    def settings(self, key: str) -> IngestSettings:
        """Return the default settings for a batch.

        The mode is that in which it was read before, else ``$DICOM_WAREHOUSE_MODE``, else full.
        """
        stated = os.environ.get("DICOM_WAREHOUSE_MODE") or Mode.FULL
        return IngestSettings(
            mode=mode_of_batch(self._place.root, key) or Mode.parse(stated),
            s3=S3Access.from_variables(os.environ), limits=Limits.from_variables(os.environ),
        )  # fmt: skip

    def run(
        self, key: str, *, settings: IngestSettings | None = None, progress: Progress | None = None
    ) -> IngestReport:
        """Read and commit one planned batch, or read the files of a stored batch again.

        Raises
        ------
        UsageError
            No batch with this key was ever planned or ingested.
        """
        root = self._place.root
        how = settings or self.settings(key)
        # While other batches wait, materialized views would be outdated after the next commit.
        report = self._place.publish(
            lambda _: ingest.run_batch(root, key, how, progress=progress),
            what="ingest",
            materialize=lambda: not self.waiting(),
        )
        self._place.changed()
        return report
