"""Dagster resources: turn configuration into plain library objects.

What is left empty is taken from the environment when a run or a tick begins, never at import, so
that definitions load with nothing set.
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
    """What becomes of what files held that are gone: keep or remove."""
    days: int = 0
    """Newest day folders to look into; 0 looks into all of every source."""
    algorithms: tuple[tuple[str, str], ...] = ()
    """Algorithm and cohort, over whose new members it runs every night."""

    def warehouse(self) -> Warehouse:
        """Return the warehouse; the first batch makes it."""
        return warehouse.open(self.root, create=True)

    def looked_into(self) -> Sequence[str]:
        """Return the sources, or their folders of the newest days."""
        return day_folders(self.sources, self.days) if self.days else self.sources


class IntakeResource(dg.ConfigurableResource[Intake]):
    """Sources, warehouse, and how to read."""

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
        description="Look only into the subfolders YYYY/MM/DD of so many newest days of every "
        "source; 0 looks into all. 2 misses nothing that comes at midnight.",
    )
    vanished: str = Field(
        default="",
        description="What becomes of what files held that are gone from the sources: keep or "
        "remove; else $DICOM_WAREHOUSE_VANISHED, else keep.",
    )
    algorithms: list[str] = Field(
        default=[],
        description="What runs over new members every night, as algorithm@cohort; else those in "
        "$DICOM_WAREHOUSE_ALGORITHMS, separated by commas.",
    )
    mode: str = Field(
        default="",
        description="minimal, normal or full; else $DICOM_WAREHOUSE_MODE, else full.",
    )
    patterns: list[str] = Field(
        default=[], description="Shell patterns that file names must match; none takes every file."
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
        description="What one file may cost, such as rows=5000000; else those in "
        "$DICOM_WAREHOUSE_LIMITS, separated by commas. Beyond, it is rejected with the number.",
    )
    batch_files: int = Field(
        default=PLANNED_FILES, description="Files of one batch, that is of one run."
    )

    def create_resource(self, context: dg.InitResourceContext) -> Intake:  # noqa: ARG002 - Dagster passes it
        """Return what assets and sensors receive."""
        root = self.root or ROOT.get_value() or "warehouse-data"
        if is_object(root):
            raise UsageError(f"Dagster needs a warehouse in a folder, not {root}")
        vanished = self.vanished or VANISHED.get_value() or "keep"
        if vanished not in {"keep", "remove"}:
            raise UsageError(f"what vanished is to be kept or removed, not {vanished!r}")
        pairs = self.algorithms or (ALGORITHMS.get_value() or "").split(",")
        algorithms = [pair.strip().partition("@") for pair in pairs if pair.strip()]
        if any(not (name and cohort) for name, _, cohort in algorithms):
            raise UsageError("what runs over a cohort is written as algorithm@cohort")
        # The colon of s3:// separates nothing.
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
