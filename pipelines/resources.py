"""Define the Dagster resource, which turns configuration into plain library objects.

Empty fields are read from environment variables when a run or a tick begins, never at import, so
that definitions load without configuration.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from pydantic import Field

import warehouse
from warehouse import Warehouse
from warehouse.dicom.objects import is_object
from warehouse.dicom.sources import day_folders
from warehouse.errors import UsageError
from warehouse.settings import PLANNED_FILES, IngestSettings, Limits, Mode, S3Access

ROOT = dg.EnvVar("DICOM_WAREHOUSE")
SOURCES = dg.EnvVar("DICOM_WAREHOUSE_SOURCES")
SCHEDULER = dg.EnvVar("DICOM_WAREHOUSE_SCHEDULER")
MODE = dg.EnvVar("DICOM_WAREHOUSE_MODE")
VANISHED = dg.EnvVar("DICOM_WAREHOUSE_VANISHED")
ALGORITHMS = dg.EnvVar("DICOM_WAREHOUSE_ALGORITHMS")


@dataclass(frozen=True, slots=True)
class Intake:
    """Sources, warehouse and settings of ingests."""

    root: Path
    """Folder of the warehouse."""
    sources: tuple[str, ...]
    """Files, folders and archives to look for new files in."""
    settings: IngestSettings
    vanished: str = "keep"
    """Policy for the rows of vanished files: keep or remove."""
    days: int = 0
    """Number of newest day folders to list in every source; 0 lists all of it."""
    algorithms: tuple[tuple[str, str], ...] = ()
    """Pairs of an algorithm and the cohort over whose new members it runs every night."""

    def warehouse(self) -> Warehouse:
        """Return the warehouse, which the first batch creates."""
        return warehouse.open(self.root, create=True)

    def looked_into(self) -> Sequence[str]:
        """Return the sources, or their folders of the newest days, to list."""
        return day_folders(self.sources, self.days) if self.days else self.sources


class IntakeResource(dg.ConfigurableResource[Intake]):
    """Sources, warehouse and settings of ingests, as Dagster configures them."""

    root: str = Field(
        default="",
        description="Folder of the warehouse; else $DICOM_WAREHOUSE, else ./warehouse-data.",
    )
    sources: list[str] = Field(
        default=[],
        description="Files, folders, zip archives and s3://bucket/prefix to watch; else those in "
        f"$DICOM_WAREHOUSE_SOURCES, separated by {os.pathsep!r} as in $PATH.",
    )
    days: int = Field(
        default=0,
        description="List only the subfolders YYYY/MM/DD of this number of newest days of every "
        "source; 0 lists all. 2 misses no file that arrives at midnight.",
    )
    vanished: str = Field(
        default="",
        description="Policy for the rows of files that vanished from the sources: keep or "
        "remove; else $DICOM_WAREHOUSE_VANISHED, else keep.",
    )
    algorithms: list[str] = Field(
        default=[],
        description="Algorithms to run over new members every night, as algorithm@cohort; else "
        "those in $DICOM_WAREHOUSE_ALGORITHMS, separated by commas.",
    )
    mode: str = Field(
        default="",
        description="minimal, normal or full; else $DICOM_WAREHOUSE_MODE, else full.",
    )
    patterns: list[str] = Field(
        default=[],
        description="Shell patterns that file names must match; without, all files are read.",
    )
    workers: int | None = Field(
        default=None, description="Processes that read in parallel; by default one per processor."
    )
    scheduler: str = Field(
        default="",
        description="Address of a Dask scheduler whose workers read, such as tcp://node1:8786; "
        "else $DICOM_WAREHOUSE_SCHEDULER; without one files are read on this machine.",
    )
    keep_blobs: bool = Field(
        default=True, description="Store binary values over 256 bytes in the table blobs."
    )
    limits: list[str] = Field(
        default=[],
        description="Limits of one file, such as rows=5000000; else those in "
        "$DICOM_WAREHOUSE_LIMITS, separated by commas. A file beyond a limit is rejected.",
    )
    batch_files: int = Field(default=PLANNED_FILES, description="Files per batch, and so per run.")

    def create_resource(self, context: dg.InitResourceContext) -> Intake:  # noqa: ARG002 - Dagster passes it
        """Return the intake that assets and sensors receive."""
        root = self.root or ROOT.get_value() or "warehouse-data"
        if is_object(root):
            raise UsageError(f"Dagster needs a warehouse in a folder, not {root}")
        vanished = self.vanished or VANISHED.get_value() or "keep"
        if vanished not in {"keep", "remove"}:
            raise UsageError(
                f"the policy for vanished files must be keep or remove, not {vanished!r}"
            )
        pairs = self.algorithms or (ALGORITHMS.get_value() or "").split(",")
        algorithms = [pair.strip().partition("@") for pair in pairs if pair.strip()]
        if any(not (name and cohort) for name, _, cohort in algorithms):
            raise UsageError("algorithms must be written as algorithm@cohort")
        # The colon of s3:// is not a separator.
        listed = re.split(f"{os.pathsep}(?!//)", SOURCES.get_value() or "")
        return Intake(
            root=Path(os.path.abspath(root)),
            sources=tuple(self.sources or filter(None, listed)),
            settings=IngestSettings(
                mode=Mode.parse(self.mode or MODE.get_value() or Mode.FULL),
                patterns=tuple(self.patterns),
                workers=self.workers,
                scheduler=self.scheduler or SCHEDULER.get_value() or None,
                s3=S3Access.from_variables(os.environ),
                keep_blobs=self.keep_blobs,
                batch_files=self.batch_files,
                limits=Limits.parse(self.limits)
                if self.limits
                else Limits.from_variables(os.environ),
            ),
            vanished=vanished,
            days=self.days,
            algorithms=tuple((name, cohort) for name, _, cohort in algorithms),
        )
